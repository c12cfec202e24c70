package runtime

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
)

// Builds that may not begin, and generations that may not serve.

// TestKeepDiverged: with on_evict = "keep" a generation that is made of kept records does not lose them to another history of the
// stream that shows up meanwhile, until an operator accepts that.
func TestKeepDiverged(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "EV", MaxMsgs: 4})
	k.opt.OnEvict, k.opt.KeepSource = evictKeep, true
	k.run()
	k.r.reach(k.keys("a", "b"))
	for _, key := range []string{"c", "d", "e", "f"} { // before the stream forgets them
		k.r.reach(k.keys(key))
	}
	first := k.r.Status().Generation
	k.away(func() {
		another(&k.opt, 1)
		k.anew()
		k.keys("a", "b", "c", "z")
	})
	k.r.await("a stop, or a switch", func(st Status) bool {
		return st.Code == source.CodeRecreated && (st.State == StateStopped || st.State == StateHeld) || st.Generation != first && st.Generation != ""
	})
	if n := len(k.standing()); n != 6 || k.r.Status().Generation != first {
		t.Errorf("%d rows: %+v", n, k.r.Status())
	}
	k.accept()
	k.settle(nil, false)
	k.halt()
}

// TestKeepUnreadable: with on_evict = "keep" a build of kept records that cannot be read does not become one of the stream, whoever
// asked for it.
func TestKeepUnreadable(t *testing.T) {
	for _, onEvict := range []string{evictKeep, "remove"} {
		c := newClinic(t, 1, func(o *FoldOptions) { o.OnEvict, o.KeepSource = onEvict, true })
		c.run()
		c.fine(c.put("k", "ax=1"))
		c.end()
		<-c.done
		s := &supervisor{Fold: c.Fold}
		check(t, s.open(t.Context()))
		check(t, s.fromSource(errRecords))
		if keeps := onEvict == evictKeep; s.want == keeps || keeps != (s.held != nil && strings.Contains(HintOf(s.held), "--accept-loss")) {
			t.Errorf("on_evict = %q: a build is to begin: %v; held: %v", onEvict, s.want, s.held)
		}
		s.end()
		c.close()
	}
}
