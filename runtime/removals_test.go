package runtime

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
)

// guardMessage is that a delete, a purge, or a server's marker retracts: see keeper.run.
const guardMessage guard = "message"

var allGuards = []guard{guardMessage, guardTTL, guardMaxAge, guardClock, guardFewer, guardHorizon, guardHead, guardUnknown, guardRaised, guardEvery}

// A removal is one way in which records leave a stream. The stream holds the keys a, b, c and d, and the fold has
// folded them, when do removes; it leaves so many live records, -1 for some. The fold must notice with nothing but the guards
// of the row, and must not with any one of them off.
type removal struct {
	name      string
	config    jetstream.StreamConfig
	byMessage bool
	every     time.Duration // Options.SweepEvery
	before    func(k *keeper)
	do        func(k *keeper)
	left      int
	live      []guard // while the fold follows; nil: it does not happen so
	away      []guard // while it does not
	code      string  // of the sweep that noticed, "" if none did
}

var kvConfig = jetstream.StreamConfig{Name: "KV_B"}

func purge(opts ...jetstream.StreamPurgeOpt) func(k *keeper) {
	return func(k *keeper) {
		k.t.Helper()
		check(k.t, k.stream().Purge(k.t.Context(), opts...))
	}
}

func (k *keeper) purgeKey(key string, opts ...jetstream.StreamPurgeOpt) {
	k.t.Helper()
	purge(append(opts, jetstream.WithPurgeSubject(k.prefix+key))...)(k)
}

func (k *keeper) kv() jetstream.KeyValue {
	k.t.Helper()
	return must(k.js.KeyValue(k.t.Context(), k.opt.Source.Bucket))(k.t)
}

// gone waits until the server has removed all but n messages.
func (k *keeper) gone(n uint64) {
	k.t.Helper()
	eventually(k.t, "end of what the server is to remove", func() bool { return k.stream().CachedInfo().State.Msgs <= n })
}

var removals = []removal{
	{name: "DEL", config: kvConfig, left: 3, live: []guard{guardMessage}, away: []guard{guardMessage},
		do: func(k *keeper) { check(k.t, k.kv().Delete(k.t.Context(), "b")) }},
	{name: "PURGE", config: kvConfig, left: 3, live: []guard{guardMessage}, away: []guard{guardMessage},
		do: func(k *keeper) { check(k.t, k.kv().Purge(k.t.Context(), "b")) }},
	{name: "PurgeDeletes", config: kvConfig, left: 3, away: []guard{guardFewer}, code: SweepFewer, do: purgeDeletes},
	{name: "PurgeDeletes, and new keys", config: jetstream.StreamConfig{Name: "KV_B", AllowMsgTTL: true}, left: 5, away: []guard{guardHorizon},
		code: source.DoubtHorizon,
		do: func(k *keeper) {
			purgeDeletes(k)
			k.keys("e", "f")
		}},
	{name: "MaxAge", config: jetstream.StreamConfig{MaxAge: 2 * time.Second}, live: []guard{guardMaxAge, guardClock}, away: []guard{guardMaxAge, guardClock},
		do: func(k *keeper) { k.gone(0) }},
	{name: "MaxAge, on a busy stream", config: jetstream.StreamConfig{MaxAge: 2 * time.Second, AllowMsgTTL: true}, left: 1, live: []guard{guardMaxAge}, away: []guard{guardMaxAge},
		do: func(k *keeper) {
			k.gone(0)
			k.say("e", "V of e", "Nats-TTL", "never") // it is there however late it is looked at
		}},
	{name: "MaxAge, and a marker", config: jetstream.StreamConfig{Name: "KV_B", MaxAge: 2 * time.Second, AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Hour},
		live: []guard{guardMessage}, away: []guard{guardMessage}, do: func(k *keeper) {}},
	{name: "MaxAge lowered", config: jetstream.StreamConfig{MaxAge: time.Hour}, live: []guard{guardMaxAge, guardClock}, away: []guard{guardMaxAge, guardClock},
		do: func(k *keeper) { k.change(func(c *jetstream.StreamConfig) { c.MaxAge = time.Second }) }},
	{name: "MaxAge, keying message", config: jetstream.StreamConfig{MaxAge: 2 * time.Second}, byMessage: true,
		live: []guard{guardMaxAge, guardClock}, away: []guard{guardMaxAge, guardClock}, do: func(k *keeper) { k.gone(0) }},
	{name: "TTL", config: jetstream.StreamConfig{AllowMsgTTL: true}, left: 4, live: []guard{guardTTL, guardClock}, away: []guard{guardTTL, guardClock},
		before: func(k *keeper) { k.say("ttl", "Vttl", "Nats-TTL", "2") }, do: func(k *keeper) { k.gone(4) }},
	{name: "TTL, and a marker", config: jetstream.StreamConfig{Name: "KV_B", AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Hour}, left: 4,
		live: []guard{guardMessage}, away: []guard{guardMessage},
		before: func(k *keeper) { k.say("ttl", "Vttl", "Nats-TTL", "1") }, do: func(k *keeper) {}},
	{name: "MaxMsgs", config: jetstream.StreamConfig{MaxMsgs: 4}, left: 4, live: []guard{guardFewer}, away: []guard{guardFewer}, code: SweepFewer,
		do: func(k *keeper) { k.keys("e", "f") }},
	{name: "MaxMsgs, after a while", config: jetstream.StreamConfig{MaxMsgs: 4}, left: 4, away: []guard{guardHorizon}, code: source.DoubtHorizon,
		do: func(k *keeper) { k.keys("e", "f") }},
	{name: "MaxBytes", config: jetstream.StreamConfig{MaxBytes: 300}, left: -1, live: []guard{guardFewer}, away: []guard{guardFewer}, code: SweepFewer,
		do: func(k *keeper) {
			for i := range 4 {
				k.say(fmt.Sprint("e", i), "V"+strings.Repeat("x", 24))
			}
		}},
	{name: "MaxMsgs, keying message", config: jetstream.StreamConfig{MaxMsgs: 4}, byMessage: true, left: 4, live: []guard{guardHead}, away: []guard{guardHead},
		do: func(k *keeper) { k.keys("a", "b") }},
	{name: "purge all", left: 0, live: []guard{guardFewer}, away: []guard{guardFewer}, code: SweepFewer, do: purge()},
	{name: "purge all, and new keys", left: 8, live: []guard{guardFewer}, away: []guard{guardUnknown},
		do: func(k *keeper) {
			purge()(k)
			k.keys("e", "f", "g", "h", "i", "j", "k", "l")
		}},
	{name: "purge by subject", config: kvConfig, left: 3, live: []guard{guardFewer}, away: []guard{guardFewer}, code: SweepFewer,
		do: func(k *keeper) { k.purgeKey("b") }},
	{name: "purge by seq", left: 2, live: []guard{guardFewer}, away: []guard{guardFewer}, code: SweepFewer, do: purge(jetstream.WithPurgeSequence(3))},
	{name: "purge beyond the cursor", left: 1, away: []guard{guardHead}, code: source.DoubtHead,
		do: func(k *keeper) {
			k.keys("e", "f", "g")
			purge(jetstream.WithPurgeSequence(7))(k)
		}},
	{name: "purge, keep some", config: jetstream.StreamConfig{MaxMsgsPerSubject: 5}, left: 4, live: []guard{}, away: []guard{},
		do: func(k *keeper) {
			k.keys("b", "b")
			k.purgeKey("b", jetstream.WithPurgeKeep(1))
		}},
	{name: "purge by seq, keying message", byMessage: true, left: 2, live: []guard{guardHead}, away: []guard{guardHead}, do: purge(jetstream.WithPurgeSequence(3))},
	{name: "rollup of all", config: jetstream.StreamConfig{AllowRollup: true}, left: 1, live: []guard{guardFewer}, away: []guard{guardFewer}, code: SweepFewer,
		do: func(k *keeper) { k.say("e", "V", "Nats-Rollup", "all") }},
	{name: "message delete", left: 3, live: []guard{guardFewer}, away: []guard{guardFewer}, code: SweepFewer,
		do: func(k *keeper) { check(k.t, k.stream().DeleteMsg(k.t.Context(), 2)) }},
	{name: "message delete, keying message", byMessage: true, left: 3, live: []guard{guardFewer}, away: []guard{guardFewer}, code: SweepFewer,
		do: func(k *keeper) { check(k.t, k.stream().SecureDeleteMsg(k.t.Context(), 2)) }},
	{name: "message delete, behind a marker", left: 2, live: []guard{guardEvery}, away: []guard{guardEvery}, every: 300 * time.Millisecond, code: SweepEvery,
		before: func(k *keeper) { k.say("a", "", "KV-Operation", "DEL") },
		do:     func(k *keeper) { check(k.t, k.stream().DeleteMsg(k.t.Context(), 2)) }},
	{name: "delete of the newest, history", config: jetstream.StreamConfig{MaxMsgsPerSubject: 3}, left: 4, live: []guard{guardEvery}, away: []guard{guardEvery},
		every: 300 * time.Millisecond, code: SweepEvery,
		before: func(k *keeper) { k.say("b", "Vnewer") },
		do:     func(k *keeper) { check(k.t, k.stream().DeleteMsg(k.t.Context(), 5)) }},
}

func purgeDeletes(k *keeper) {
	k.t.Helper()
	check(k.t, k.kv().Delete(k.t.Context(), "b"))
	check(k.t, k.kv().PurgeDeletes(k.t.Context(), jetstream.DeleteMarkersOlderThan(-1)))
}

// TestRemovals tries each removal while the fold follows and while it is away: with the guards of its row, and with
// each of them off.
func TestRemovals(t *testing.T) {
	s, told := newSite(t), newTable(t)
	some := make(chan struct{}, 6) // more at once would have the folds take silence for a fault
	for i, x := range removals {
		for _, away := range []bool{false, true} {
			guards, how := x.live, "live"
			if away {
				guards, how = x.away, "away"
			}
			if guards == nil {
				continue
			}
			for j := -1; j < len(guards); j++ {
				how := how + ": noticed"
				if j >= 0 {
					how = fmt.Sprintf("%s, without %s: unnoticed", strings.TrimSuffix(how, ": noticed"), guards[j])
				}
				t.Run(x.name+"/"+how, func(t *testing.T) {
					t.Parallel()
					some <- struct{}{}
					defer func() { <-some }()
					told.row(t, x.name, how)
					x.try(s.on(t), fmt.Sprintf("%s%d%v%d", orElse(x.config.Name, "E"), i, away, j+1), away, guards, j)
				})
			}
		}
	}
}

// TestRemovalTable compares docs/source.md with what is tried.
func TestRemovalTable(t *testing.T) {
	b := must(os.ReadFile("../docs/source.md"))(t)
	rows := map[string][]string{}
	for _, line := range strings.Split(string(b), "\n") {
		if cells := strings.Split(line, " | "); len(cells) == 4 {
			rows[strings.TrimPrefix(cells[0], "| ")] = cells
		}
	}
	for _, x := range removals {
		cells := rows[x.name]
		if cells == nil {
			t.Errorf("docs/source.md has no row %q", x.name)
			continue
		}
		for _, g := range x.live {
			if !strings.Contains(cells[1], "`"+string(g)+"`") {
				t.Errorf("%s, live: %s is not named in %q", x.name, g, cells[1])
			}
		}
		for _, g := range x.away {
			if !strings.Contains(cells[2], "`"+string(g)+"`") {
				t.Errorf("%s, away: %s is not named in %q", x.name, g, cells[2])
			}
		}
		if x.code != "" && !strings.Contains(cells[3], "`"+x.code+"`") {
			t.Errorf("%s: %s is not named in %q", x.name, x.code, cells[3])
		}
	}
	for _, g := range allGuards {
		if !strings.Contains(string(b), "\n| `"+string(g)+"` |") {
			t.Errorf("docs/source.md does not tell of the guard %s", g)
		}
	}
}

// try tries the removal with the guards of the row but the i'th of them.
func (x *removal) try(s *site, stream string, away bool, on []guard, i int) {
	c := x.config
	c.Name, c.Storage = stream, jetstream.MemoryStorage
	if c.MaxMsgsPerSubject == 0 && !x.byMessage && c.MaxBytes == 0 && c.MaxMsgs == 0 {
		c.MaxMsgsPerSubject = 1
	}
	if c.MaxAge > 0 || c.MaxMsgs > 0 {
		c.Duplicates = 100 * time.Millisecond
	}
	k := s.newKeeper(c)
	k.opt.Conn = must(source.Connect(source.Target{URL: s.URL()}, nil))(s.t)
	s.t.Cleanup(k.opt.Conn.Close)
	k.opt.Source.KeyingMessage, k.opt.SweepEvery = x.byMessage, x.every
	k.off = guards{}
	for _, g := range allGuards {
		k.off[g] = !slices.Contains(on, g) || i >= 0 && g == on[i]
	}
	if i < 0 && len(on) == 0 {
		k.off = nil
	}
	k.run()
	x.fold(k)
	if away {
		k.away(func() { x.do(k) })
	} else {
		x.do(k)
	}
	if i < 0 {
		k.agree(x.left)
		if x.code != "" && !k.sweptFor(x.code) {
			k.t.Errorf("noticed by %+v, want %s", k.r.Status().Sweep, x.code)
		}
	} else if k.agrees(x.left, 1500*time.Millisecond) && maps.Equal(k.retained(), k.standing()) {
		k.t.Errorf("noticed all the same: %+v", k.r.Status().Sweep)
	}
	k.halt()
}

// fold has the fold hold the keys a, b, c and d, and what before stores; where the server ends them by itself, once more if the fold
// was so late that it has not got all of them.
func (x *removal) fold(k *keeper) {
	k.t.Helper()
	ends, rows := x.config.MaxAge > 0, 4
	if x.config.AllowMsgTTL && x.before != nil {
		ends, rows = true, 5
	}
	for {
		last := k.keys("a", "b", "c", "d")
		if x.before != nil {
			x.before(k)
			last++
		}
		k.r.reach(last)
		if !ends || len(k.standing()) >= rows {
			return
		}
	}
}
