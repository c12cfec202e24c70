package golden

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// Options say what is tested.
type Options struct {
	Wasm   []byte
	Module plugin.Options // Config is the test's own
}

// Result is what a test came to.
type Result struct {
	Updates     int
	Differences []Difference
	text        []byte
}

// Text returns the test's file with its expectations as they came out.
func (r *Result) Text() []byte { return r.text }

// Run runs the test in a fold of its own. Differences are no error.
func (t *Test) Run(ctx context.Context, o Options) (r *Result, err error) {
	dir, err := os.MkdirTemp("", "foldrun-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	x := &run{test: t, bodies: map[int][]string{}, result: &Result{}}
	why, err := x.open(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.close(ctx)) }()
	if why != "" || t.has(sectionRefused) {
		err = x.refused(why)
	} else {
		err = x.parts(ctx)
	}
	if err != nil {
		return nil, err
	}
	x.result.text = x.text()
	return x.result, nil
}

// run is a test under way.
type run struct {
	test    *Test
	dir     *store.Dir
	feed    *runtime.Feed // nil when the config is refused
	indexes []string
	rows    []rowText // that stand, in the order of the indexes
	at      uint64    // the cursor
	bodies  map[int][]string
	result  *Result
}

// open opens the fold; why says why its config is refused.
func (x *run) open(ctx context.Context, dir string, o Options) (why string, err error) {
	m, _, err := abi.ReadManifest(o.Wasm)
	if err != nil {
		return "", err
	}
	fold := config.DefaultFold("test")
	fold.Config = x.test.config
	var problems *config.Problems
	if errors.As(fold.CheckConfig(m.ConfigSchema), &problems) {
		for i := range problems.All {
			why += strings.TrimPrefix(problems.All[i].Key, "fold.test.") + ": " + problems.All[i].Text + "\n"
		}
		return strings.TrimSuffix(why, "\n"), nil
	}
	if x.dir, err = store.OpenDir(dir, store.Options{Sync: store.SyncNever}); err != nil {
		return "", err
	}
	o.Module.Config = x.test.config
	x.feed, err = runtime.NewFeed(ctx, x.dir, runtime.FoldOptions{Name: "test", Wasm: o.Wasm, Module: o.Module, Workers: 1,
		Source: source.Options{Stream: streamName, KeyingMessage: x.test.byMessage}, Budget: &store.Budget{Share: 1}})
	if err != nil {
		return "", errors.Join(err, x.dir.Close())
	}
	if err := x.feed.Start(ctx); err != nil {
		why = err.Error()
		if inner := errors.Unwrap(err); inner != nil { // without the module's name
			why = inner.Error()
		}
		return why, nil
	}
	for _, s := range x.feed.Store().Indexes() {
		x.indexes = append(x.indexes, s.Name)
	}
	return "", nil
}

// close closes the fold. A store that disagrees with itself is an error of foldrun's.
func (x *run) close(ctx context.Context) (err error) {
	if x.feed != nil {
		var report *store.Report
		if report, err = x.feed.Store().Check(); err == nil && report.Found > 0 {
			err = fmt.Errorf("%s: the store is not what it should be: %v", x.test.Path, report.Problems[0])
		}
		err = errors.Join(err, x.feed.Close(ctx))
	}
	if x.dir != nil {
		err = errors.Join(err, x.dir.Close())
	}
	return err
}

// refused compares why a config is refused.
func (x *run) refused(why string) error {
	t := x.test
	i := slices.IndexFunc(t.sections, func(s section) bool { return s.at > 0 && s.name == sectionRefused })
	if i < 0 {
		return fault(t.Path, max(1, t.line(sectionConfig)), "the config is refused: %s", why)("mend the config, or expect it in a section refused, without updates")
	}
	s := &t.sections[i]
	var wants []want
	for n, l := range s.body {
		if strings.TrimSpace(l) != "" {
			wants = append(wants, want{entry: entry{at: s.at + 1 + n, raw: []string{l}}, text: l})
		}
	}
	var got []string
	if why != "" {
		got = strings.Split(why, "\n")
	}
	if body := x.compare(s.at, s.head, wants, got); len(got) > 0 {
		x.bodies[i] = body
	}
	return nil
}

func (x *run) differ(d Difference) { x.result.Differences = append(x.result.Differences, d) }

// parts runs the sections in their order.
func (x *run) parts(ctx context.Context) error {
	for i := range x.test.parts {
		p := &x.test.parts[i]
		if err := x.known(p); err != nil {
			return err
		}
		var body []string
		var got []string
		var err error
		s := &x.test.sections[p.section]
		switch s.name {
		case sectionUpdates:
			body, err = x.steps(ctx, p)
		case sectionRows:
			for _, r := range x.rows {
				got = append(got, r.listed())
			}
			body = x.compare(s.at, s.head, p.wants, got)
		case sectionQuarantine:
			if got, err = x.quarantine(); err == nil {
				body = x.compare(s.at, s.head, p.wants, got)
			}
		}
		if err != nil {
			return err
		}
		x.bodies[p.section] = append(body, p.tail...)
	}
	return nil
}

// known refuses rows of an index that the module does not have.
func (x *run) known(p *part) error {
	check := func(wants []want) error {
		for _, w := range wants {
			if w.index == "" || slices.Contains(x.indexes, w.index) {
				continue
			}
			mend := "the manifest has " + strings.Join(x.indexes, ", ")
			if near := config.Nearest(w.index, x.indexes); near != "" {
				mend = "the nearest is " + near
			}
			return fault(x.test.Path, w.at, "the module has no index %q", w.index)("%s", mend)
		}
		return nil
	}
	err := check(p.wants)
	for i := range p.steps {
		if err == nil {
			err = check(p.steps[i].wants)
		}
	}
	return err
}

// steps commits each update of a section, and compares what it changes.
func (x *run) steps(ctx context.Context, p *part) (body []string, err error) {
	for i := range p.steps {
		s := &p.steps[i]
		got, err := x.step(ctx, &s.update)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", x.test.Path, s.at, err)
		}
		body = append(append(body, s.lead...), s.raw...)
		body = append(body, x.compare(s.at, s.raw[0], s.wants, got)...)
	}
	return body, nil
}

// step commits an update and returns what it changed.
func (x *run) step(ctx context.Context, u *update) (got []string, err error) {
	if u.op != 0 {
		x.result.Updates++
	}
	if u.op != 0 && u.seq > x.at+1 { // no commit of an update spans a point of the store; one of the cursor alone may
		if err := x.feed.Commit(ctx, &source.Batch{From: x.at, Pos: u.position(u.seq - 1)}); err != nil {
			return nil, err
		}
	}
	if err := x.feed.Commit(ctx, u.batch(x.test.byMessage)); err != nil {
		return nil, err
	}
	x.at = u.seq
	before := x.rows
	if x.rows, err = x.stored(); err != nil {
		return nil, err
	}
	got = changes(before, x.rows, u.source(x.test.byMessage))
	if u.op == 0 {
		return got, nil
	}
	held, err := x.held(u)
	return append(got, held...), err
}

// changes writes what became of the rows: first what stands, then what is gone.
func changes(before, after []rowText, source string) (lines []string) {
	for _, r := range after {
		if !slices.Contains(before, r) {
			lines = append(lines, r.standing(source))
		}
	}
	for _, r := range before {
		if !slices.ContainsFunc(after, r.same) {
			lines = append(lines, r.gone(source))
		}
	}
	return lines
}

// same says whether two rows are the same one, whatever they hold.
func (r rowText) same(o rowText) bool {
	return r.index == o.index && r.key == o.key && r.source == o.source
}

// stored reads every row.
func (x *run) stored() (all []rowText, err error) {
	v, err := x.feed.Store().View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	for i, name := range x.indexes {
		err = errors.Join(err, v.Scan(i, store.Range{Claimants: true}, func(r store.Row) bool {
			all = append(all, rowText{name, word(r.Key), x.sourceText(r.Source), rest(r.Value), r.Expiry})
			return true
		}))
	}
	return all, err
}

// sourceText writes a source key.
func (x *run) sourceText(b []byte) string {
	if x.test.byMessage && len(b) == 8 {
		return strconv.FormatUint(binary.BigEndian.Uint64(b), 10)
	}
	return word(b)
}

// held writes why an update is in quarantine, if it is.
func (x *run) held(u *update) (lines []string, err error) {
	v, err := x.feed.Store().View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	b := u.batch(x.test.byMessage)
	key := b.Key(0)
	err = v.Quarantine(key, func(q store.Quarantined) bool {
		if bytes.Equal(q.Source, key) && q.Seq == u.seq {
			lines = append(lines, "! "+reason(&q.Failure))
		}
		return false
	})
	return lines, err
}

// quarantine writes all that is in quarantine.
func (x *run) quarantine() (lines []string, err error) {
	v, err := x.feed.Store().View()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	err = v.Quarantine(nil, func(q store.Quarantined) bool {
		lines = append(lines, x.sourceText(q.Source)+" "+reason(&q.Failure))
		return true
	})
	return lines, err
}
