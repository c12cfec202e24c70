package runtime

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
)

// TestSweepAwaitsProof has a sweep due all the time while the stream turns out to be another one, which ends before the
// cursor or after it: nothing is swept before the stream is proved, or what decides on another history would come too
// late, or never.
func TestSweepAwaitsProof(t *testing.T) {
	for _, more := range []bool{false, true} {
		t.Run(fmt.Sprint("more ", more), func(t *testing.T) {
			k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E"})
			k.opt.OnDiverged, k.opt.SweepEvery = DivergedHalt, time.Millisecond
			k.run()
			k.r.reach(k.keys("a", "b", "c", "d"))
			k.agree(4)
			was := k.standing()
			k.away(func() {
				k.anew()
				k.keys("x", "a")
				for range 10 {
					if more {
						k.keys("x")
					}
				}
			})
			if code, _ := Describe(k.r.wait()); code != source.CodeRecreated || !maps.Equal(k.standing(), was) {
				t.Errorf("%s, and the rows %q became %q", code, was, k.standing())
			}
			k.opt.OnDiverged = DivergedReconcile
			k.r.close()
			k.run()
			k.agree(-1)
			k.halt()
		})
	}
}

// TestSweepNeedsProof sweeps after the source has found that its stream is another one.
func TestSweepNeedsProof(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E"})
	k.opt.OnDiverged = DivergedHalt
	k.run()
	k.r.reach(k.keys("a", "b"))
	k.agree(2)
	was, s := k.standing(), k.r.following()
	k.anew()
	k.keys("x", "y", "z")
	k.r.wait()
	if _, err := s.sweep(t.Context(), SweepAsked, true); !errors.Is(err, errUnproved) || !maps.Equal(k.standing(), was) {
		t.Errorf("swept: %v; the rows %q became %q", err, was, k.standing())
	}
	k.r.close()
	k.r = nil
}

// TestSweepBegunIsOwed has a sweep for a doubt end early: it is made again, since the doubt does not come back.
func TestSweepBegunIsOwed(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "KV_B", AllowMsgTTL: true, MaxConsumers: 2})
	k.off = guards{guardFewer: true}
	k.run()
	k.r.reach(k.keys("a", "b"))
	k.agree(2)
	var other jetstream.Consumer
	k.away(func() {
		k.purgeKey("a")
		other = must(k.stream().CreateConsumer(t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Hour}))(t)
	})
	k.r.await("a sweep that ends early", func(st Status) bool { return st.Sweep != nil && st.Sweep.Error != "" })
	check(t, k.stream().DeleteConsumer(t.Context(), other.CachedInfo().Name))
	k.agree(1)
	if !k.sweptFor(source.DoubtHorizon) {
		t.Errorf("mended by %+v", k.r.Status().Sweep)
	}
	k.halt()
}
