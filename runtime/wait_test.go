package runtime

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/foldrun/foldrun/store"
)

// TestWaitHistories has a stream turn out to hold another history, and puts: no reader that demands the put's seq is shown
// the old rows, though they stand at a higher one.
func TestWaitHistories(t *testing.T) {
	for _, policy := range []Divergence{DivergedRebuild, DivergedReconcile} {
		for _, h := range histories {
			t.Run(fmt.Sprintf("%s/%s", policy, h.name), func(t *testing.T) {
				t.Parallel()
				s, k := h.begin(t, FoldOptions{OnDiverged: policy})
				was := AtLeast{Seq: 1, Created: k.r.Store().State().Position().Created}
				h.do(s, k)
				const value = "V of the other history"
				k.shows(k.say("w", value), value, was, h.held)
				k.halt()
			})
		}
	}
}

// shows demands a seq until it gets it, and what was put to w with it. An operator accepts what is held, if it stays so; until then
// not even a reader of the incarnation that was is answered.
func (k *keeper) shows(seq uint64, value string, was AtLeast, held bool) {
	k.t.Helper()
	refused, accepted := 0, false
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for late := time.Now().Add(patience); ; <-again.C {
		_, v, err := k.r.ViewAt(k.t.Context(), AtLeast{Seq: seq, Wait: time.Second})
		if err == nil {
			if got := valueOf(k.t, v, k.prefix+"w"); got != value {
				k.t.Errorf("at seq %d, demanded was %d: %q", v.State().Position().Seq, seq, got)
			}
			v.Close()
			k.t.Logf("refused %d times", refused)
			return
		}
		var why *Refusal
		if !errors.As(err, &why) || !isDivergence(why.Code) && why.Code != CodeBehind && why.Code != CodeUnconfirmed || time.Now().After(late) {
			k.t.Fatalf("%v; %+v", err, k.r.Status())
		}
		refused++
		if st := k.r.Status(); (held || st.State == StateStopped) && !accepted && st.Code == CodeHeld {
			if _, v, err := k.r.ViewAt(k.t.Context(), was); err == nil {
				k.t.Error("what is held is answered")
				v.Close()
			} else if !errors.As(err, &why) || !isDivergence(why.Code) {
				k.t.Errorf("what is held is refused with %v", err)
			}
			k.accept()
			accepted = true
		}
	}
}

// valueOf returns the value of the row that a source key owns in the first index.
func valueOf(t testing.TB, v *store.View, source string) (value string) {
	t.Helper()
	check(t, v.Scan(0, store.Range{}, func(row store.Row) bool {
		if string(row.Source) == source {
			value = string(row.Value)
		}
		return true
	}))
	return value
}
