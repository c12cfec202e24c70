package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// An eviction is one way in which a stream drops records by itself: with on_evict = "keep" their rows stay.
type eviction struct {
	name      string
	config    jetstream.StreamConfig
	byMessage bool
	before    func(k *keeper) // stores one more key
	do        func(k *keeper) // after the keys a, b, c and d
}

// aged has the server end what is older than a second: only now, when the fold has it, however late that was.
func aged(k *keeper) {
	k.change(func(c *jetstream.StreamConfig) { c.MaxAge = time.Second })
	k.gone(0)
}

var evictions = []eviction{
	{name: "MaxAge", config: jetstream.StreamConfig{MaxAge: time.Hour}, do: aged},
	{name: "MaxAge, keying message", config: jetstream.StreamConfig{MaxAge: time.Hour}, byMessage: true, do: aged},
	{name: "MaxAge, and a marker", config: jetstream.StreamConfig{MaxAge: time.Hour, AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Hour},
		do: func(k *keeper) {
			k.change(func(c *jetstream.StreamConfig) { c.MaxAge = time.Second })
			for len(k.retained()) > 0 {
				<-time.After(20 * time.Millisecond)
			}
		}},
	{name: "TTL", config: jetstream.StreamConfig{AllowMsgTTL: true}, before: func(k *keeper) { k.say("ttl", "Vttl", "Nats-TTL", "4") },
		do: func(k *keeper) { k.gone(4) }},
	{name: "MaxMsgs", config: jetstream.StreamConfig{MaxMsgs: 4}, do: func(k *keeper) { k.keys("e", "f") }},
	{name: "MaxBytes", config: jetstream.StreamConfig{MaxBytes: 300}, do: func(k *keeper) {
		for i := range 4 {
			k.say(fmt.Sprint("e", i), "V"+strings.Repeat("x", 24))
		}
	}},
}

// TestEvictKeep tries each eviction while the fold follows and while it is away: what was folded stays, through a sweep,
// a restart and another sweep. What is deleted goes.
func TestEvictKeep(t *testing.T) {
	s := newSite(t)
	for i, x := range evictions {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/away %v", x.name, away), func(t *testing.T) {
				t.Parallel()
				c := x.config
				c.Name, c.Storage, c.Duplicates = fmt.Sprintf("E%d%v", i, away), jetstream.MemoryStorage, 100*time.Millisecond
				if !x.byMessage && c.MaxMsgs == 0 && c.MaxBytes == 0 {
					c.MaxMsgsPerSubject = 1
				}
				x.try(s.on(t).newKeeper(c), away)
			})
		}
	}
}

func (x *eviction) try(k *keeper, away bool) {
	k.opt.OnEvict, k.opt.Source.KeyingMessage = "keep", x.byMessage
	k.run()
	last := k.keys("a", "b", "c", "d")
	if x.before != nil {
		x.before(k)
		last++
	}
	k.r.reach(last)
	was := k.standing()
	if len(was) != int(last) {
		k.t.Fatalf("the rows are %q", was)
	}
	if away {
		k.away(func() { x.do(k) })
	} else {
		x.do(k)
	}
	last = k.keys("z")
	k.r.reach(last)
	for range 2 {
		report := k.r.sweep(true)
		if report.Stale > 0 || report.Kept == 0 {
			k.t.Errorf("a sweep: %+v", report)
		}
		is := k.standing()
		for source, value := range was {
			if is[source] != value {
				k.t.Errorf("evicted, and gone: %q; the rows are %q", source, is)
			}
		}
		k.away(func() {})
		k.r.reach(last)
	}
	k.halt()
}

// TestDeleteBesideKeep deletes what was written, in each way: that no eviction explains goes all the same.
func TestDeleteBesideKeep(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "KV_B", MaxAge: time.Hour})
	k.opt.OnEvict, k.off = "keep", noSweeps // but those that are asked for
	k.run()
	k.keys("a", "b", "c", "d", "e", "f")
	check(k.t, k.kv().Delete(t.Context(), "a"))
	check(k.t, k.kv().Purge(t.Context(), "b"))
	k.agree(4)
	k.purgeKey("c")
	if n := k.r.sweep(true).Stale; n != 1 {
		t.Errorf("a sweep found %d", n)
	}
	k.agree(3)
	k.away(func() { k.purgeKey("d") })
	k.keys("g")
	k.r.sweep(true)
	k.agree(3)
	if want := []string{"e", "f", "g"}; !slices.Equal(slices.Sorted(maps.Keys(k.standing())), want) {
		t.Errorf("the rows are %q", k.standing())
	}
	k.halt()
}
