package runtime

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
)

// A restorable site is one whose server can be stopped, and its streams put back to an older copy.
type restorable struct {
	*site
	older string // the copy
}

// restart stops the server, does something to what it holds, starts it, and waits until the client is back.
func (s *restorable) restart(do func() error) {
	s.t.Helper()
	status := s.nc.StatusChanged(nats.CONNECTED)
	defer s.nc.RemoveStatusListener(status)
	s.Stop()
	check(s.t, do())
	s.again()
	<-status
	for s.Health() != nil {
		check(s.t, s.nc.FlushTimeout(patience)) // a round trip
	}
}

// copy keeps a copy of what the server holds.
func (s *restorable) copy() {
	s.t.Helper()
	s.restart(func() error { return os.CopyFS(s.older, os.DirFS(s.dir)) })
}

// restore puts the copy back.
func (s *restorable) restore() {
	s.t.Helper()
	s.restart(func() error {
		if err := os.RemoveAll(s.dir); err != nil {
			return err
		}
		return os.CopyFS(s.dir, os.DirFS(s.older))
	})
}

// anew deletes the stream and makes it again.
func (k *keeper) anew() {
	k.t.Helper()
	c := k.stream().CachedInfo().Config
	check(k.t, k.js.DeleteStream(k.t.Context(), k.name))
	check(k.t, k.freed(func() error {
		_, err := k.js.CreateStream(k.t.Context(), c)
		return err
	}))
}

// A history is one way in which a stream turns out to hold another history than the one that was folded: the keys a to
// d, of which b and c were written twice, e, and the deletion of a.
type history struct {
	name string
	do   func(s *restorable, k *keeper)
	code string
	live []source.Guard // which notice it, alone, while the fold follows; it may look before the stream has its new messages
	away []source.Guard // and while it does not
	mend bool           // in place, whatever the policy
	held bool           // it loses too much

	settle time.Duration // the source's, if not shortSettle
}

// shortSettle is how long the source lets a stream end before the cursor.
const shortSettle = 500 * time.Millisecond

var histories = []history{
	{name: "made anew", code: source.CodeRecreated, live: created, away: created, do: func(s *restorable, k *keeper) {
		k.anew()
		k.keys("b", "x", "y")
	}},
	{name: "made anew, and longer", code: source.CodeRecreated, live: created, away: created, do: func(s *restorable, k *keeper) {
		k.anew()
		for range 5 {
			k.keys("b", "x", "y", "z")
		}
	}},
	{name: "made anew, and empty", code: source.CodeRecreated, live: created, away: created, held: true, do: func(s *restorable, k *keeper) { k.anew() }},
	{name: "made anew, and emptier", code: source.CodeRecreated, live: created, away: created, held: true, do: func(s *restorable, k *keeper) {
		k.anew()
		for range 20 {
			k.keys("b")
		}
	}},
	{name: "tail lost", code: source.CodeRewound, live: end, away: end, mend: true, do: func(s *restorable, k *keeper) { s.restore() }},
	{name: "restored, and written since", code: source.CodeDiverged, live: []source.Guard{source.GuardEnd, source.GuardAnchors}, away: anchors, settle: patience / 3, do: func(s *restorable, k *keeper) {
		s.restore() // until it is written to it ends before the cursor
		k.keys("v", "w", "x", "y", "z")
	}},
}

var (
	created        = []source.Guard{source.GuardCreated}
	anchors        = []source.Guard{source.GuardAnchors}
	end            = []source.Guard{source.GuardEnd}
	identityGuards = slices.Concat(created, anchors, end)
)

// begin folds what a history contradicts.
func (h *history) begin(t *testing.T, o FoldOptions) (*restorable, *keeper) {
	t.Helper()
	s := &restorable{newSite(t), filepath.Join(t.TempDir(), "older")}
	k := s.newKeeper(jetstream.StreamConfig{Name: "E", MaxMsgsPerSubject: 1})
	k.opt.Source.Settle = max(h.settle, shortSettle)
	k.opt.OnDiverged, k.opt.OnEvict, k.opt.Source.Off = o.OnDiverged, o.OnEvict, o.Source.Off
	k.run()
	k.keys("a", "b", "c", "d", "b")
	k.r.reach(5)
	s.copy()
	k.keys("c", "e")
	purge(jetstream.WithPurgeSubject(k.prefix + "a"))(k)
	k.r.reach(7)
	k.r.sweep(true)
	k.agree(4)
	return s, k
}

// TestHistories has a stream turn out to hold another history, while the fold follows it and while it is away. What is
// read meanwhile is the old rows or the new ones, never a mixture.
func TestHistories(t *testing.T) {
	told := newTable(t)
	for _, policy := range []Divergence{DivergedRebuild, DivergedReconcile} {
		for _, away := range []bool{false, true} {
			for _, h := range histories {
				t.Run(fmt.Sprintf("%s/%s/away %v", policy, h.name, away), func(t *testing.T) {
					t.Parallel()
					told.row(t, h.name, fmt.Sprintf("%s, away %v", policy, away))
					h.try(t, policy, away)
				})
			}
		}
	}
}

func (h *history) try(t *testing.T, policy Divergence, away bool) {
	s, k := h.begin(t, FoldOptions{OnDiverged: policy})
	was, generation := k.standing(), k.r.Store().Generation()
	if away {
		k.away(func() { h.do(s, k) })
	} else {
		h.do(s, k)
	}
	inPlace := h.mend || policy == DivergedReconcile
	if h.held {
		k.r.await("a hold", func(st Status) bool { return st.Code == CodeHeld })
		if st := k.r.Status(); !strings.Contains(st.Hint, "--accept-loss") || !maps.Equal(k.standing(), was) {
			t.Errorf("held: %+v; the rows are %q", st, k.standing())
		}
		k.accept()
	}
	k.settle(was, !inPlace)
	if is := k.r.Store().Generation(); (is == generation) != inPlace {
		t.Errorf("generation %s became %s", generation, is)
	}
	if n := len(must(k.r.dir.Generations("f"))(t)); n != 1 && inPlace {
		t.Errorf("%d generations are there", n)
	}
	k.keys("after")
	k.agree(len(k.retained()))
	k.halt()
	if all := must(os.ReadDir(filepath.Join(k.path, "folds", "f")))(t); len(all) != 2 {
		t.Errorf("left behind: %v", all)
	}
}

// TestHistoryGuards tries each history with nothing but the guards of its row, which must notice it, and with those off
// too, when nothing must.
func TestHistoryGuards(t *testing.T) {
	told := newTable(t)
	for _, away := range []bool{false, true} {
		for _, h := range histories {
			for _, on := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/away %v/noticed %v", h.name, away, on), func(t *testing.T) {
					t.Parallel()
					told.row(t, h.name, fmt.Sprintf("away %v: noticed %v", away, on))
					h.guarded(t, away, on)
				})
			}
		}
	}
}

func (h *history) guarded(t *testing.T, away, on bool) {
	guards := h.live
	if away {
		guards = h.away
	}
	off := map[source.Guard]bool{}
	for _, g := range identityGuards {
		off[g] = !on || !slices.Contains(guards, g)
	}
	s, k := h.begin(t, FoldOptions{Source: source.Options{Off: off}})
	k.off = map[guard]bool{}
	for _, g := range allGuards {
		k.off[g] = true
	}
	k.away(func() {
		if away {
			h.do(s, k)
		}
	})
	if !away {
		k.r.sweep(false) // it follows
		h.do(s, k)
	}
	switch {
	case on && h.held:
		k.r.await("a hold", func(st Status) bool { return st.Code == CodeHeld })
	case on:
		k.agree(-1)
	case k.agrees(-1, 1500*time.Millisecond):
		t.Errorf("noticed all the same: %+v", k.r.Status())
	}
	k.halt()
}

// accept accepts what is lost, as an operator does, and runs the fold again if it stopped.
func (k *keeper) accept() {
	k.t.Helper()
	if k.r.Status().State != StateStopped {
		check(k.t, k.r.Resume(k.t.Context(), true))
		return
	}
	k.r.grant(k.r.wait(), true) // it says that it stopped before it has ended
	k.r = k.r.rerun()
}

// settle waits until the rows are those of the stream. With whole, what is read until then is all the old rows.
func (k *keeper) settle(was map[string]string, whole bool) {
	k.t.Helper()
	want := k.retained()
	early := false // it looked before the stream had its new messages, and stopped
	for ok := false; !ok; ok = !early {
		k.r.await("the new rows", func(st Status) bool {
			if early = st.State == StateStopped && st.Code == CodeHeld; early || k.r.Store() == nil {
				return early
			}
			is := k.standing()
			if whole && !maps.Equal(is, was) && !maps.Equal(is, want) {
				k.t.Errorf("read %q, which is neither %q nor %q", is, was, want)
			}
			return maps.Equal(is, want)
		})
		if early {
			k.accept()
		}
	}
	k.agree(len(want))
}

// TestHalt has folds whose policy is to halt, or to keep what is evicted, stop until an operator accepts the loss.
func TestHalt(t *testing.T) {
	for _, o := range []FoldOptions{{OnDiverged: DivergedHalt}, {OnEvict: "keep"}} {
		for _, h := range histories {
			t.Run(fmt.Sprintf("%s%s/%s", o.OnDiverged, o.OnEvict, h.name), func(t *testing.T) {
				t.Parallel()
				s, k := h.begin(t, o)
				was := k.standing()
				h.do(s, k)
				err := k.r.wait()
				if code, _ := Describe(err); code != h.code || !strings.Contains(HintOf(err), "--accept-loss") {
					t.Errorf("stopped by %v; hint %q", err, HintOf(err))
				}
				if !maps.Equal(k.standing(), was) {
					t.Errorf("the rows are %q, they were %q", k.standing(), was)
				}
				k.accept()
				k.settle(was, false)
				k.halt()
			})
		}
	}
}

// TestHistoryTable compares docs/source.md with what is tried.
func TestHistoryTable(t *testing.T) {
	b := must(os.ReadFile("../docs/source.md"))(t)
	for _, h := range histories {
		row := fmt.Sprintf("\n| %s | %s | %s | `%s` |", h.name, quoted(h.live), quoted(h.away), h.code)
		if !strings.Contains(string(b), row) {
			t.Errorf("docs/source.md has no row %q", row)
		}
	}
	for _, g := range identityGuards {
		if !strings.Contains(string(b), fmt.Sprintf("\n| `%s` |", g)) {
			t.Errorf("docs/source.md does not tell of the guard %s", g)
		}
	}
}

func quoted(all []source.Guard) string {
	var s []string
	for _, g := range all {
		s = append(s, fmt.Sprintf("`%s`", g))
	}
	return strings.Join(s, ", ")
}

// TestAcceptedLoss accepts what a stream made anew loses, while it is made anew once more: that is another loss.
func TestAcceptedLoss(t *testing.T) {
	for _, policy := range []Divergence{DivergedHalt, DivergedReconcile} {
		k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E", MaxMsgsPerSubject: 1})
		k.opt.OnDiverged = policy
		k.run()
		k.keys("a", "b", "c", "d")
		k.agree(4)
		was := k.standing()
		k.anew()
		k.keys("a")
		first := k.r.wait()
		k.anew()
		k.keys("b")
		k.r.grant(first, true)
		k.r = k.r.rerun()
		if err := k.r.wait(); foundCreated(err) == foundCreated(first) || !maps.Equal(k.standing(), was) {
			t.Errorf("%s: it ended by %v, with %q", policy, err, k.standing())
		}
		k.accept()
		k.agree(1)
		k.halt()
	}
}

// TestSpoiltFiles spoils the files that say which generation serves and which is built: a start serves what it can, and
// builds what it cannot.
func TestSpoiltFiles(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E", MaxMsgsPerSubject: 1})
	k.run()
	k.keys("a", "b")
	k.agree(2)
	for _, x := range []struct{ file, text string }{{"NEXT", "junk\n"}, {"NEXT", ""}, {"CURRENT", "garbage\n"}, {"CURRENT", "../../etc\n"}, {"NEXT", "a b c"}} {
		k.halt()
		name := filepath.Join(k.path, "folds", "f", x.file)
		check(t, os.WriteFile(name, []byte(x.text), 0o644))
		for range 2 {
			k.run()
			k.r.await("a store that serves", func(st Status) bool { return k.r.Store() != nil && st.Build == nil && st.Code == "" })
			k.agree(2)
			k.halt()
		}
		if b, err := os.ReadFile(filepath.Join(k.path, "folds", "f", "NEXT")); !os.IsNotExist(err) {
			t.Errorf("%s was %q: NEXT is %q: %v", x.file, x.text, b, err)
		}
		k.run()
	}
	k.halt()
}
