package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A tally counts what occurred, by kind and name.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

const (
	tallyOp       = "operation"
	tallyFault    = "fault"
	tallyDecision = "decision"
)

func (x *tally) add(kind, name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.n[kind+"  "+name]++
}

// missing returns those of some names that never occurred.
func (x *tally) missing(kind string, names []string) (all []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, name := range names {
		if x.n[kind+"  "+name] == 0 {
			all = append(all, kind+" "+name)
		}
	}
	return all
}

func (x *tally) sum(kind string) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, k := range x.n {
		if strings.HasPrefix(name, kind+"  ") {
			n += k
		}
	}
	return n
}

// report prints the table.
func (x *tally) report(t testing.TB) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var lines []string
	for name, n := range x.n {
		lines = append(lines, fmt.Sprintf("%-44s %8d", name, n))
	}
	slices.Sort(lines)
	t.Logf("\n%s", strings.Join(lines, "\n"))
}

// A witness reads what one fold logs: that is where its decisions are told.
type witness struct {
	*tally
	mu     sync.Mutex
	lines  []string // the last of them
	missed []string // sweeps that found what was never folded, though no other history of the stream explains it
	doubt  bool     // the stream got another history, and nothing was reconciled with it since
	codes  []string // why the fold stopped
}

const witnessLines = 60

// decisions are the messages that tell of one, and the attribute that says which.
var decisions = map[string]string{
	"stream has another creation time, but holds what was folded: adopted":    "adopted",
	"stream begins after the cursor: what it dropped in between was not read": "head_lost",
	"reconciling with another history of the stream":                          "to reconcile: @code",
	"building anew": "to build: @code",
	"switch held":   "held",
	"switched":      "switched",
	"reconciled":    "reconciled",
	"swept":         "sweep: @reason",
	"session ended": "reset: @reason",
	"stream proved": "proved: @anchors",
	"build stopped": "build stopped: @code",
	"connection is up but answers nothing: connecting anew": "connected anew",
}

// Handle is part of slog.Handler.
func (w *witness) Handle(_ context.Context, r slog.Record) error {
	attrs, line := map[string]string{}, r.Time.Format("05.000 ")+r.Message
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.String()
		line += " " + a.String()
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Level > slog.LevelDebug || r.Message == "stream proved" || r.Message == "session ended" {
		w.lines = append(w.lines[max(0, len(w.lines)-witnessLines):], line)
	}
	switch {
	case r.Message == "stream proved" && attrs["cursor"] == "0":
		return nil // nothing to prove
	case r.Message == "fold stopped" && attrs["code"] != "":
		w.codes = append(w.codes, attrs["code"])
		w.add(tallyDecision, "stopped: "+attrs["code"])
	case r.Message == "reconciled":
		w.doubt = false
	case r.Message == "swept" && attrs["missed"] != "0" && !w.doubt:
		w.missed = append(w.missed, line)
	}
	if name, ok := decisions[r.Message]; ok {
		stem, attr, _ := strings.Cut(name, "@")
		w.add(tallyDecision, stem+attrs[attr])
	}
	return nil
}

// Enabled is part of slog.Handler.
func (w *witness) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs is part of slog.Handler.
func (w *witness) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup is part of slog.Handler.
func (w *witness) WithGroup(string) slog.Handler { return w }

// told returns the last lines of the log.
func (w *witness) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

// setDoubt notes that the stream got another history, or that the fold was found to agree with the one that it holds.
func (w *witness) setDoubt(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doubt = on
}

// takeMissed returns the sweeps that found what was never folded, once.
func (w *witness) takeMissed() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.missed
	w.missed = nil
	return all
}

// takeCodes returns why the fold stopped since this was last asked.
func (w *witness) takeCodes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.codes
	w.codes = nil
	return all
}
