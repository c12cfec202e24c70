package runtime

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// A clinic is a bucket and one fold of it, run as a daemon runs it: again after each stop that an operator ends.
type clinic struct {
	*runner
	s    *site
	kv   jetstream.KeyValue
	path string
	o    FoldOptions
	seen error // the last stop that was awaited
}

func newClinic(t *testing.T, history uint8, change func(*FoldOptions)) *clinic {
	s := newSite(t)
	c := &clinic{s: s, kv: s.bucket("edge", history), path: t.TempDir(), o: s.modelFold("edge")}
	change(&c.o)
	return c
}

func (c *clinic) run() {
	t := c.s.t
	t.Helper()
	dir := openDir(t, c.path, store.Options{})
	f := must(NewFold(t.Context(), dir, c.o))(t)
	ctx, end := context.WithCancel(t.Context())
	c.runner = &runner{Fold: f, t: t, dir: dir, done: make(chan struct{}), end: end}
	go func() {
		f.keep(ctx)
		close(c.done)
	}()
}

func (c *clinic) put(key, value string) uint64 { return c.s.put(c.kv, key, []byte(value)) }

// awaitStop waits until the fold stopped, another time than before, with a code.
func (c *clinic) awaitStop(code string) Status {
	c.t.Helper()
	c.await(code, func(Status) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.stopped == nil || c.stopped == c.seen {
			return false
		}
		c.seen = c.stopped
		return true
	})
	st := c.Status()
	if st.Code != code || st.State != StateStopped {
		c.t.Fatalf("stopped with another code than %s: %+v", code, st)
	}
	return st
}

// fine waits until the fold has folded seq and follows, and checks the store.
func (c *clinic) fine(seq uint64) {
	c.t.Helper()
	c.await(fmt.Sprint("seq ", seq), func(st Status) bool { return st.Seq >= seq && st.Code == "" })
	whole(c.t, c.Store())
}

// renew deletes the clinic's bucket and makes it again, with one key.
func (c *clinic) renew() uint64 {
	c.t.Helper()
	check(c.t, c.s.js.DeleteKeyValue(c.t.Context(), "edge"))
	c.kv = c.s.bucket("edge", 1)
	return c.put("one", "ax=1")
}

// halt ends the foldrun of a fold that stands still.
func (c *clinic) halt() {
	c.t.Helper()
	c.end()
	<-c.done
	c.close()
}

// supervisor ends the fold, and returns a supervisor of it that begins with nothing left to be closed.
func (c *clinic) supervisor() *supervisor {
	c.end()
	<-c.done
	c.retire()
	return &supervisor{Fold: c.Fold}
}

// configure has the clinic's fold become what its options say.
func (c *clinic) configure() {
	c.t.Helper()
	check(c.t, c.Configure(c.t.Context(), must(Prepare(c.t.Context(), c.dir, c.o))(c.t)))
}

// upgraded runs a fold, upgrades it, and returns both generations.
func (c *clinic) upgraded() (first, second string) {
	c.s.t.Helper()
	c.run()
	c.fine(c.put("k", "ax=1"))
	first = c.Status().Generation
	c.o.Collisions = nil
	c.configure()
	c.await("the upgrade", func(st Status) bool {
		return st.Generation != first && st.Previous != nil && st.State == StateFollowing
	})
	return first, c.Status().Generation
}
