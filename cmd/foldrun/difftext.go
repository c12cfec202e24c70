package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime"
)

// diffText writes what differs for people.
func diffText(r *runtime.DiffReport) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s -> %s\n", counted(r.Records, "record", "records"), moduleText(r.Old, r.OldModule), moduleText(r.New, r.NewModule))
	for _, x := range r.Indexes {
		fmt.Fprintf(&b, "index %s: %d appear, %d disappear, %d change; %s -> %d\n", x.Name, x.Appear, x.Disappear, x.Change,
			counted(x.OldRows, "row", "rows"), x.NewRows)
		for _, s := range x.Samples[runtime.DiffAppear] {
			fmt.Fprintf(&b, "  + %s\n", sampleText(&s, s.New, s.NewExpiry))
		}
		for _, s := range x.Samples[runtime.DiffDisappear] {
			fmt.Fprintf(&b, "  - %s\n", sampleText(&s, s.Old, s.OldExpiry))
		}
		for _, s := range x.Samples[runtime.DiffChange] {
			fmt.Fprintf(&b, "  < %s\n  > %s\n", sampleText(&s, s.Old, s.OldExpiry), sampleText(&s, s.New, s.NewExpiry))
		}
	}
	fmt.Fprintf(&b, "failing: %d -> %d; %d newly, %d no longer\n", r.OldFailed, r.NewFailed, r.NewlyFail.Records, r.NoLonger.Records)
	for _, f := range []struct {
		sign string
		runtime.Failing
	}{{"!", r.NewlyFail}, {"ok", r.NoLonger}} {
		for _, s := range f.Samples {
			fmt.Fprintf(&b, "  %s %s, seq %d: %s\n", f.sign, printable(string(s.Source)), s.Seq, printable(shortened(s.Reason)))
		}
	}
	if err := r.Fewer(); err != nil {
		fmt.Fprintf(&b, "the switch would be held: %v\n", err)
	}
	return b.String()
}

func sampleText(s *runtime.RowSample, value []byte, expiry int64) string {
	text := fmt.Sprintf("%s\t%s\t%s", printable(string(s.Key)), printable(string(s.Source)), printable(shortened(string(value))))
	if expiry != 0 {
		text += "\texpires " + time.Unix(0, expiry).UTC().Format(time.RFC3339)
	}
	return text
}

// What diff prints as JSON.
type (
	diffReply struct {
		Same    bool        `json:"same"`
		Records uint64      `json:"records"`
		Old     diffModule  `json:"old"`
		New     diffModule  `json:"new"`
		Indexes []diffIndex `json:"indexes"`
		Newly   diffFailing `json:"newly_fail"`
		NoMore  diffFailing `json:"no_longer_fail"`
		Held    string      `json:"switch_held,omitempty"`
	}
	diffModule struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
		Digest  string `json:"digest"`
		Failed  uint64 `json:"failed"`
	}
	diffIndex struct {
		Name      string    `json:"name"`
		OldRows   uint64    `json:"old_rows"`
		NewRows   uint64    `json:"new_rows"`
		Appear    uint64    `json:"appear"`
		Disappear uint64    `json:"disappear"`
		Change    uint64    `json:"change"`
		Samples   []diffRow `json:"samples"`
	}
	diffRow struct {
		Kind      string        `json:"kind"`
		Key       client.Bytes  `json:"key"`
		Source    client.Bytes  `json:"source"`
		Seq       uint64        `json:"seq"`
		Old       *client.Bytes `json:"old,omitempty"`
		New       *client.Bytes `json:"new,omitempty"`
		OldExpiry int64         `json:"old_expires,omitempty"` // ns since 1970
		NewExpiry int64         `json:"new_expires,omitempty"`
	}
	diffFailing struct {
		Records uint64        `json:"records"`
		Samples []diffFailure `json:"samples"`
	}
	diffFailure struct {
		Source client.Bytes `json:"source"`
		Seq    uint64       `json:"seq"`
		Reason string       `json:"reason"`
	}
)

func diffJSON(r *runtime.DiffReport) diffReply {
	reply := diffReply{Same: r.Same(), Records: r.Records, Indexes: []diffIndex{}, Newly: failingJSON(r.NewlyFail), NoMore: failingJSON(r.NoLonger),
		Old: diffModule{r.Old.Name, r.Old.Version, r.OldModule, r.OldFailed}, New: diffModule{r.New.Name, r.New.Version, r.NewModule, r.NewFailed}}
	for _, x := range r.Indexes {
		i := diffIndex{x.Name, x.OldRows, x.NewRows, x.Appear, x.Disappear, x.Change, []diffRow{}}
		for kind, samples := range x.Samples {
			for _, s := range samples {
				row := diffRow{Kind: [...]string{"appear", "disappear", "change"}[kind], Key: s.Key, Source: s.Source, Seq: s.Seq, OldExpiry: s.OldExpiry, NewExpiry: s.NewExpiry}
				if kind != runtime.DiffAppear {
					row.Old = (*client.Bytes)(&s.Old)
				}
				if kind != runtime.DiffDisappear {
					row.New = (*client.Bytes)(&s.New)
				}
				i.Samples = append(i.Samples, row)
			}
		}
		reply.Indexes = append(reply.Indexes, i)
	}
	if err := r.Fewer(); err != nil {
		reply.Held = err.Error()
	}
	return reply
}

func failingJSON(f runtime.Failing) diffFailing {
	all := diffFailing{f.Records, []diffFailure{}}
	for _, s := range f.Samples {
		all.Samples = append(all.Samples, diffFailure{s.Source, s.Seq, s.Reason})
	}
	return all
}
