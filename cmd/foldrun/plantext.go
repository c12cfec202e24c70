package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime"
)

// text is the plan of a fold for people.
func (f *foldPlan) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", f.Fold, f.acts())
	if f.Paused != "" {
		fmt.Fprintf(&b, "  paused since %s: nothing of this until foldrun resume %s\n", f.Paused, f.Fold)
	}
	for _, c := range f.Changes {
		if c.Field == "manifest" { // its indexes are told, and it is the module's
			continue
		}
		was, is := plainJSON(c.Was), plainJSON(c.Is)
		if c.Field == "module" {
			was, is = moduleText(f.old, was), moduleText(f.new, is)
		}
		fmt.Fprintf(&b, "  %s: %s -> %s\n", c.Field, was, is)
	}
	for _, c := range f.Policies {
		fmt.Fprintf(&b, "  in place, %s: %s -> %s\n", c.Field, policyText(c.Was), policyText(c.Is))
	}
	for _, line := range append(f.costs(), f.notes()...) {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}

// acts says what a start does.
func (f *foldPlan) acts() string {
	switch f.act {
	case runtime.ActNothing:
		return fmt.Sprintf("nothing to do: generation %s serves; what else is configured is applied in place", f.Current)
	case runtime.ActFirst:
		return fmt.Sprintf("first build: generation %s, which serves from the start", f.Next)
	case runtime.ActAdopt:
		return fmt.Sprintf("adopt raised limits: generation %s goes on serving, and what had failed is tried again", f.Current)
	case runtime.ActBuild:
		return fmt.Sprintf("build generation %s beside %s, which serves until the new one has caught up", f.Next, f.Current)
	case runtime.ActReturn:
		return fmt.Sprintf("go back to generation %s, which is kept until %s: it serves in the place of %s once it has caught up",
			f.Next, f.until.UTC().Format(time.RFC3339), f.Current)
	case runtime.ActContinue:
		return fmt.Sprintf("go on building generation %s beside %s, which serves until that has caught up", f.Next, f.Current)
	case runtime.ActWait:
		return fmt.Sprintf("wait: upgrade = \"manual\": generation %s goes on serving until foldrun apply %s has %s built", f.Current, f.Fold, f.Next)
	case runtime.ActRolledBack:
		return fmt.Sprintf("stay rolled back: generation %s goes on serving until foldrun apply %s, or another configuration", f.Current, f.Fold)
	case runtime.ActRefuse:
		return fmt.Sprintf("refuse: the fold stops, no read is answered, and nothing is changed: %s; %s", f.Why, f.mend)
	case runtime.ActStop:
		return fmt.Sprintf("hold: on_evict = \"keep\": generation %s goes on serving; foldrun resume %s --accept-loss has %s built, without the rows of what the stream holds no more",
			f.Current, f.Fold, f.Next)
	}
	return string(f.act)
}

// costs says about how long a build takes and how much disk.
func (f *foldPlan) costs() (lines []string) {
	switch f.act {
	case runtime.ActNothing, runtime.ActAdopt, runtime.ActReturn, runtime.ActRolledBack, runtime.ActRefuse:
		return nil
	}
	if f.Reads == readsKept {
		lines = append(lines, fmt.Sprintf("made of the records that %s keeps, and of what the stream holds after them", f.Current))
	}
	n, one, many := f.Messages, "message", "messages"
	if f.Records != nil {
		n, one, many = f.Records, "record", "records"
	}
	switch {
	case n == nil:
		lines = append(lines, "how many messages the stream holds is not known: NATS, or the stream, does not answer")
	case f.Seconds > 0:
		about, last := "about", "the last build"
		if f.Reads == readsKept && !f.built.Copied {
			about, last = "at most", "the last build, of the stream"
		}
		lines = append(lines, fmt.Sprintf("%s %s for %s, as fast as %s, %s in %s", about, shortTime(f.Seconds),
			counted(*n, one, many), last, counted(f.built.Updates, "update", "updates"), shortTime(f.built.Took.Seconds())))
	default:
		lines = append(lines, fmt.Sprintf("%s to fold; how long that takes is not known: no build was timed", counted(*n, one, many)))
	}
	disk := ""
	if f.Bytes > 0 {
		disk = fmt.Sprintf("about %s of disk more while both are there, as much as %s holds", sizeText(f.Bytes), f.Current)
	}
	if f.Free != nil && disk != "" {
		disk += fmt.Sprintf("; %s are free", sizeText(*f.Free))
	}
	if disk != "" {
		lines = append(lines, disk)
	}
	return lines
}

func shortTime(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// sizeText writes bytes as people say them.
func sizeText(n int64) string {
	if n < mib {
		return fmt.Sprintf("%d KiB", (n+1023)/1024)
	}
	return fmt.Sprintf("%d MiB", n/mib)
}

// moduleText names a module by what its manifest says and its digest.
func moduleText(m abi.Manifest, digest string) string {
	digest = digest[:min(12, len(digest))]
	if m.Name == "" {
		return digest
	}
	return fmt.Sprintf("%s (%s)", strings.TrimSpace(m.Name+" "+m.Version), digest)
}

// policyText is a policy as a configuration has it.
func policyText(s string) string {
	if strings.HasPrefix(s, "{") {
		return s
	}
	return strconv.Quote(s)
}

// plainJSON writes a JSON string as it is, and anything else as JSON.
func plainJSON(text string) string {
	var s string
	if json.Unmarshal([]byte(text), &s) == nil {
		return s
	}
	return text
}
