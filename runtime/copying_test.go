package runtime

import (
	"bytes"
	"context"
	"crypto/sha512"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// TestRecord encodes records and decodes them again.
func TestRecord(t *testing.T) {
	var b, is source.Batch
	text := func(u *abi.Updates, i int) (s string) {
		r := &u.Records[i]
		for _, h := range u.Headers[r.Header : r.Header+r.Headers] {
			s += fmt.Sprintf(" %q=%q", u.At(h.Name), u.At(h.Value))
		}
		return fmt.Sprintf("%d %d %d %q %q %q%s", r.Op, r.Seq, r.Time, u.At(r.Key), u.At(r.Subject), u.At(r.Value), s)
	}
	add := func(op abi.Op, key, subject, value string, headers ...string) {
		u := abi.Update{Seq: uint64(b.Len()) + 1, Time: 7, Op: op, Header: uint32(len(b.Headers)), Headers: uint32(len(headers)) / 2}
		u.Key, u.Subject, u.Value = b.AppendString(key), b.AppendString(subject), b.AppendString(value)
		for i := 0; i < len(headers); i += 2 {
			b.Headers = append(b.Headers, abi.Header{Name: b.AppendString(headers[i]), Value: b.AppendString(headers[i+1])})
		}
		b.Records = append(b.Records, u)
	}
	add(abi.OpPut, "k", "$KV.b.k", "v")
	add(abi.OpPut, "", "", "")
	add(abi.OpPut, "s", "s", strings.Repeat("x", 300), "A", "1", "A", "", "B", strings.Repeat("y", 200))
	add(abi.OpDelete, "\x00\x00\x00\x00\x00\x00\x00\x04", "ev.a", "", "KV-Operation", "DEL")
	add(abi.OpPurge, "long", "ng", "v")
	for i := range b.Records {
		r := store.Record{Source: b.Key(i), Seq: b.Records[i].Seq, Time: 7, Expiry: int64(i), Bytes: appendRecord(nil, &b.Updates, i)}
		check(t, decodeRecord(&is, &r))
		if got, want := text(&is.Updates, i), text(&b.Updates, i); got != want || is.Expiry(i) != int64(i) {
			t.Errorf("%s, going at %d; want %s", got, is.Expiry(i), want)
		}
		for n := range r.Bytes { // cut off, or of no op
			cut := r
			cut.Bytes = bytes.Clone(r.Bytes[:n])
			var junk source.Batch
			if err := decodeRecord(&junk, &cut); err == nil && n < len(r.Bytes)-len(b.Value(i)) {
				t.Errorf("record %d cut at %d is decoded", i, n)
			}
		}
	}
	if err := decodeRecord(&is, &store.Record{Bytes: []byte{9, 0, 0}}); err == nil {
		t.Error("a record of no op is decoded")
	}
}

// another makes o the options of another generation, which has the same rows.
func another(o *FoldOptions, n int) { o.Module.Config = fmt.Appendf(nil, `{"n":%d}`, n) }

// TestKeepSourceModel changes keys and the configuration at random, and stops and kills the fold: whichever generation
// serves is what the source makes it, and those that were made of kept records are as those that were made of the stream.
func TestKeepSourceModel(t *testing.T) {
	x := newTrial(t, seeded(t), 1)
	n, copied := 0, 0
	x.option = func(o *FoldOptions) {
		o.KeepSource = true
		if x.rng.IntN(3) == 0 {
			n++
		}
		another(o, n)
	}
	for round := 0; round < 15 || copied == 0 && round < 200; round++ {
		if d := x.round(); len(d) > 0 {
			t.Fatalf("round %d: %q", round, d)
		}
		if peek(t, x.path).Built.Copied {
			copied++
		}
	}
	t.Logf("%d configurations, after %d rounds what serves was made of kept records", n, copied)
	if copied == 0 {
		t.Error("nothing was made of kept records")
	}
}

func peek(t *testing.T, path string) store.Peek {
	t.Helper()
	return must(store.PeekAt(path, "f"))(t)
}

// TestKeepSourceAway builds another generation while NATS is away: it is what the old one was, at its position, and serves.
// Then NATS comes back.
func TestKeepSourceAway(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.KeepSource = true })
	c.run()
	for i := range 50 {
		c.put(fmt.Sprint("k", i), "ax=1;bx=2")
	}
	check(t, c.kv.Delete(t.Context(), "k7"))
	c.put("broken", "T")
	c.fine(c.put("filtered", "F"))
	was := c.Status()
	c.s.Stop()
	another(&c.o, 1)
	c.configure()
	c.await("the other generation", func(st Status) bool { return st.Generation != was.Generation })
	is := c.Status()
	if is.Seq != was.Seq || is.Created != was.Created || is.Live != was.Live || is.Quarantined != 1 || !is.Ready {
		t.Errorf("it is %+v, was %+v", is, was)
	}
	for i, x := range is.Indexes {
		if x != was.Indexes[i] {
			t.Errorf("index %+v, was %+v", x, was.Indexes[i])
		}
	}
	whole(t, c.Store())
	c.s.again()
	c.fine(c.put("k51", "ax=1"))
	c.stop()
}

// TestKeepSourceChanges configures one generation after another: each reads the records that the one before keeps if these are
// all that it needs, else the stream.
func TestKeepSourceChanges(t *testing.T) {
	c := newClinic(t, 1, func(*FoldOptions) {})
	c.run()
	last := c.put("k", "ax=1")
	check(t, c.kv.Delete(t.Context(), "l"))
	c.fine(last)
	for i, x := range []struct {
		change func(o *FoldOptions)
		copied bool
	}{
		{func(o *FoldOptions) { another(o, 1) }, false},
		{func(o *FoldOptions) { o.KeepSource = true }, false}, // what it needs was not kept
		{func(o *FoldOptions) { another(o, 2) }, true},
		{func(o *FoldOptions) { o.Wasm = testModule(t, "echo"); o.Collisions = nil }, true},
		{func(o *FoldOptions) { o.Wasm = testModule(t, "wants-delete") }, false}, // markers were not kept
		{func(o *FoldOptions) { another(o, 3) }, true},
		{func(o *FoldOptions) { o.Wasm = testModule(t, "echo") }, true},
		{func(o *FoldOptions) { o.Source.Filter = "*" }, false},
		{func(o *FoldOptions) { o.OnEvict = evictKeep }, true},
		{func(o *FoldOptions) { another(o, 4) }, true},
		{func(o *FoldOptions) { o.OnEvict = "remove" }, false}, // the old one holds what the stream does not
		{func(o *FoldOptions) { o.Module.Memory = 1 << 20 }, true},
		{func(o *FoldOptions) { o.KeepSource = false }, true},
		{func(o *FoldOptions) { another(o, 5) }, false},
	} {
		was := c.Status().Generation
		x.change(&c.o)
		p := must(PlanFold(t.Context(), peek(t, c.path), c.o))(t)
		if p.Kept != x.copied {
			t.Errorf("change %d: the plan says %v", i, p.Kept)
		}
		c.configure()
		c.await("another generation", func(st Status) bool { return st.Generation != was && st.State == StateFollowing })
		if built := peek(t, c.path).Built; built.Copied != x.copied {
			t.Errorf("change %d: %+v, want %v", i, built, x.copied)
		}
		c.fine(c.put("m", fmt.Sprintf("ax=%d", i)))
	}
	c.stop()
}

// TestKeepSourceInterrupted ends foldrun while a generation is made of kept records: the next start goes on with it, and what
// changed meanwhile is in it. Where the records cannot be had any more, it begins anew, with the stream.
func TestKeepSourceInterrupted(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		t.Run(fmt.Sprintf("damaged %v", damaged), func(t *testing.T) {
			c := newClinic(t, 1, func(o *FoldOptions) { o.KeepSource, o.Source.BatchRecords = true, 10 })
			c.run()
			last := uint64(0)
			for i := range 200 {
				noise := sha512.Sum512([]byte{byte(i)})
				last = c.put(fmt.Sprintf("k%03d", i), "ax="+strings.Repeat(fmt.Sprintf("%x", noise), 30))
			}
			for range 3 { // what the log holds is moved into a table file
				c.fine(last)
				c.stop()
				c.run()
			}
			c.fine(last)
			first := c.Status().Generation
			c.stop()
			another(&c.o, 1)
			c.interrupt(first)
			if next := c.partial(); !next {
				t.Fatal("nothing was copied, or all of it")
			}
			check(t, c.kv.Delete(t.Context(), "k003"))
			c.put("k005", "bx=2")
			if damaged {
				c.spoil(first)
			}
			c.run()
			last = c.put("z", "ax=1")
			c.await("the other generation", func(st Status) bool { return c.id.Has(st.Generation) && st.Seq >= last })
			if st := c.Status(); st.Live != 200 || st.Indexes[0].Rows != 199 || st.Indexes[1].Rows != 1 {
				t.Errorf("%+v", st)
			}
			whole(t, c.Store())
			if built := peek(t, c.path).Built; damaged == (c.Store().CopiedFrom() == first) || damaged == (built.Updates == 0) {
				t.Errorf("damaged %v: built %+v of the records of %q", damaged, built, c.Store().CopiedFrom())
			}
			c.stop()
		})
	}
}

// spoil flips a byte in each sixteenth of each table file of a generation, but the first and the last: rows and records take
// about the same.
func (c *clinic) spoil(generation string) {
	t := c.s.t
	tables := must(filepath.Glob(filepath.Join(c.path, "folds", "f", generation, "*.sst")))(t)
	for _, name := range tables {
		b := must(os.ReadFile(name))(t)
		for i := 1; i < 15; i++ {
			b[len(b)*i/16] ^= 1
		}
		check(t, os.WriteFile(name, b, 0o600))
	}
	if len(tables) == 0 {
		t.Fatal("there is no table file")
	}
}

// interrupt runs the clinic's fold until something of a generation is copied, and ends it there.
func (c *clinic) interrupt(first string) {
	t := c.s.t
	t.Helper()
	dir := openDir(t, c.path, store.Options{})
	f := must(NewFold(t.Context(), dir, c.o))(t)
	r := &runner{}
	reached, over := make(chan struct{}), make(chan struct{})
	batches := 0
	f.tamper = func(b *source.Batch) {
		if len(b.Expires) == 0 {
			return
		}
		if batches++; batches == 3 {
			close(reached)
			<-over // nothing more is handed on until the fold is told to end
		}
	}
	r = run(t, dir, f)
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatal("nothing is copied")
	}
	r.end()
	close(over)
	check(t, r.wait())
	if st := r.Status(); st.Generation != first {
		t.Fatalf("what was interrupted serves: %+v", st)
	}
	r.close()
}

// partial says whether the generation that is being built holds part of what is copied.
func (c *clinic) partial() bool {
	t := c.s.t
	dir := openDir(t, c.path, store.Options{})
	defer dir.Close()
	db := must(dir.Open("f", must(dir.Next("f"))(t).Generation))(t)
	defer db.Close()
	whole(t, db)
	return db.Partial()
}

// TestKeepSourceEvicted: with on_evict = "keep" a fold that keeps its source is built anew unasked, with the rows that its stream
// has forgotten: those that it forgot before, and those that it forgets while the other generation is being built.
func TestKeepSourceEvicted(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "EV", MaxMsgs: 4})
	k.opt.OnEvict, k.opt.KeepSource = evictKeep, true
	k.run()
	fold := func(keys ...string) { // before the stream forgets them
		for _, key := range keys {
			k.r.reach(k.keys(key))
		}
	}
	fold("a", "b", "c", "d", "e", "f")
	for i := range 2 {
		k.away(func() { another(&k.opt, i) })
		k.r.await("another generation", func(st Status) bool { return k.r.id.Has(st.Generation) && st.Build == nil })
		if n := len(k.standing()); n != 6+5*i {
			t.Errorf("%d rows", n)
		}
		fold("g", "h", "i", "j", "k")
	}
	k.r.stop()

	another(&k.opt, 7)
	dir := openDir(t, k.path, store.Options{})
	f := must(NewFold(t.Context(), dir, k.opt))(t)
	reached, over := make(chan struct{}), make(chan struct{})
	var copies atomic.Int32
	f.tamper = func(b *source.Batch) {
		if len(b.Expires) > 0 && copies.Add(1) == 1 {
			close(reached)
			<-over // the stream forgets meanwhile
		}
	}
	k.r = run(t, dir, f)
	<-reached
	fold("l", "m", "n", "o", "p", "q")
	close(over)
	k.r.await("the third", func(st Status) bool { return k.r.id.Has(st.Generation) && st.Build == nil })
	if is := slices.Sorted(maps.Keys(k.standing())); len(is) != 17 {
		t.Errorf("the rows are %q", is)
	}
	if built := peek(t, k.path).Built; !built.Copied { // though it was brought up to what served meanwhile
		t.Errorf("%+v", built)
	}
	k.halt()
}

// TestKeepSourceCompared: while what was built is compared with what serves, which may take long, the fold does what operators ask
// for; and so does its end.
func TestKeepSourceCompared(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "EV", MaxMsgs: 4})
	k.opt.OnEvict, k.opt.KeepSource = evictKeep, true
	k.run()
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} { // before the stream forgets it
		k.r.reach(k.keys(key))
	}
	first := k.r.Status().Generation
	k.r.stop()
	another(&k.opt, 1)
	dir := openDir(t, k.path, store.Options{})
	f := must(NewFold(t.Context(), dir, k.opt))(t)
	reached, over := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(reached) })
	f.compares = func() { once(); <-over }
	k.r = run(t, dir, f)
	<-reached
	soon, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := k.r.Resume(soon, false); err == nil || !strings.Contains(err.Error(), "is not stopped") {
		t.Errorf("asked of a fold that compares: %v", err)
	}
	k.r.reach(k.keys("g"))
	if st := k.r.Status(); st.Generation != first || st.Build == nil {
		t.Errorf("%+v", st)
	}
	close(over)
	k.r.await("the other", func(st Status) bool { return k.r.id.Has(st.Generation) && st.Build == nil })
	if n := len(k.standing()); n != 7 {
		t.Errorf("%d rows", n)
	}
	k.halt()
}
