package store

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// sabotaged is the history whose store the sabotages break: rows of both indexes, a collision, a failure, an expiry.
var sabotaged = []step{{
	pos: Position{Stream: "S", Seq: 10, Time: 100}, now: 100,
	events: []event{
		{source: "s1", seq: 1, time: 91, entries: []entry{{0, "k", "v1", 0}, {0, "later", "v2", 500}, {1, "k", "w1", 0}}},
		{source: "s2", seq: 2, time: 92, entries: []entry{{0, "k", "v3", 0}, {1, "k", "w2", 0}}},
		{source: "s3", seq: 3, time: 93, kind: changeFail},
		{source: "s4", seq: 4, time: 94, expiry: 900},
	},
}}

// A breaker changes a store behind its back.
type breaker struct {
	t *testing.T
	p *pebble.DB
}

func (b breaker) get(key []byte) []byte {
	v, c, err := b.p.Get(key)
	if err != nil {
		b.t.Fatalf("%x: %v", key, err)
	}
	defer c.Close()
	return append([]byte(nil), v...)
}

func (b breaker) set(key, value []byte) {
	if err := b.p.Set(key, value, pebble.Sync); err != nil {
		b.t.Fatal(err)
	}
}

func (b breaker) del(key []byte) {
	b.get(key)
	if err := b.p.Delete(key, pebble.Sync); err != nil {
		b.t.Fatal(err)
	}
}

// lineage changes the lineage of a source key.
func (b breaker) lineage(source string, f func(*lineage)) {
	var l lineage
	key := appendLineageKey(nil, []byte(source))
	if err := l.decode(b.get(key)); err != nil {
		b.t.Fatal(err)
	}
	f(&l)
	b.set(key, l.append(nil))
}

// state changes the state.
func (b breaker) state(f func(*State)) {
	var s State
	if err := s.decode(b.get(keyState)); err != nil {
		b.t.Fatal(err)
	}
	f(&s)
	b.set(keyState, s.append(nil))
}

func rowKey(index uint16, key, source string) []byte {
	return appendRowKey(nil, index, []byte(key), []byte(source))
}

func lineageKey(source string) []byte    { return appendLineageKey(nil, []byte(source)) }
func quarantineKey(source string) []byte { return appendQuarantineKey(nil, []byte(source)) }

func expiryKey(at int64, source string) []byte {
	return appendQueueKey(nil, kindExpiry, at, []byte(source))
}

// A wreck is a way to break a store, and what Check finds then.
type wreck struct {
	name  string
	wreck func(b breaker)
	want  string // starts of problems, one a line
}

// wrecks are all the ways to break the store of sabotaged.
var wrecks = []wreck{
	{"nothing", func(b breaker) {}, ""},
	{"row missing", func(b breaker) { b.del(rowKey(0, "k", "s1")) }, `
		state: index a has 2 rows
		row a "k" of source key "s1": its lineage owns it and it is not there`},
	{"row too many", func(b breaker) { b.set(rowKey(0, "x", "s1"), []byte("\x00v")) }, `
		state: index a has 4 rows
		row a "x" of source key "s1": its lineage does not own it`},
	{"row of nobody", func(b breaker) { b.set(rowKey(0, "x", "s9"), []byte("\x00v")) }, `
		state: index a has 4 rows
		row a "x" of source key "s9": its source key has no lineage`},
	{"row moved to another index", func(b breaker) {
		b.set(rowKey(1, "later", "s1"), appendRowValue(nil, []byte("v2"), 500, 1, true))
		b.del(rowKey(0, "later", "s1"))
	}, `
		state: index a has 2 rows
		state: index b has 3 rows
		row b "later" of source key "s1": its lineage does not own it
		row a "later" of source key "s1": its lineage owns it and it is not there`},
	{"value changed", func(b breaker) { b.set(rowKey(0, "k", "s2"), []byte("\x00v4")) }, `
		state: index a has 3 rows with digest
		row a "k" of source key "s2": its content is not what its lineage says`},
	{"expiry of a row changed", func(b breaker) {
		b.set(rowKey(0, "later", "s1"), appendRowValue(nil, []byte("v2"), 501, 0, false))
	}, `
		state: index a has 3 rows with digest
		row a "later" of source key "s1": its content is not what its lineage says`},
	{"row stands after its time", func(b breaker) {
		b.set(rowKey(0, "later", "s1"), appendRowValue(nil, []byte("v2"), 50, 0, false))
	}, `
		row a "later" of source key "s1": stands although it expired
		state: index a has 3 rows with digest
		row a "later" of source key "s1": its content is not what its lineage says`},
	{"seq of a row changed", func(b breaker) {
		b.set(rowKey(1, "k", "s1"), appendRowValue(nil, []byte("w1"), 0, 7, true))
	}, `
		row b "k" of source key "s1": it carries seq 7, its lineage 1`},
	{"row with unknown flags", func(b breaker) { b.set(rowKey(0, "k", "s1"), []byte("\x80v1")) }, `
		row a "k" of source key "s1": value has unknown flags
		state: index a has 2 rows`},
	{"row without its seq", func(b breaker) { b.set(rowKey(1, "k", "s1"), []byte("\x00w1")) }, `
		row b "k" of source key "s1": value has unknown flags
		state: index b has 1 rows`},
	{"row cut off", func(b breaker) { b.set(rowKey(1, "k", "s1"), []byte{rowSeq, 1, 2}) }, `
		row b "k" of source key "s1": value ends early
		state: index b has 1 rows`},
	{"empty row value", func(b breaker) { b.set(rowKey(0, "k", "s1"), nil) }, `
		row a "k" of source key "s1": value ends early
		state: index a has 2 rows`},
	{"hash in a lineage changed", func(b breaker) { b.lineage("s1", func(l *lineage) { l.rows[0].hash.Lo++ }) }, `
		row a "k" of source key "s1": its content is not what its lineage says`},
	{"key in a lineage changed", func(b breaker) { b.lineage("s2", func(l *lineage) { l.rows[0].key = []byte("l") }) }, `
		row a "k" of source key "s2": its lineage does not own it
		row a "l" of source key "s2": its lineage owns it and it is not there`},
	{"seq of a lineage changed", func(b breaker) { b.lineage("s2", func(l *lineage) { l.seq = 9 }) }, `
		row b "k" of source key "s2": it carries seq 2, its lineage 9`},
	{"seq of a lineage beyond the cursor", func(b breaker) { b.lineage("s4", func(l *lineage) { l.seq = 11 }) }, `
		lineage of source key "s4": seq 11 is beyond the cursor 10`},
	{"index in a lineage unknown", func(b breaker) { b.lineage("s1", func(l *lineage) { l.rows[2].index = 7 }) }, `
		lineage of source key "s1": its rows are out of order or of no index
		row b "k" of source key "s1": its lineage does not own it`},
	{"rows of a lineage out of order", func(b breaker) {
		b.lineage("s1", func(l *lineage) { l.rows[0], l.rows[1] = l.rows[1], l.rows[0] })
	}, `lineage of source key "s1": its rows are out of order or of no index`},
	{"lineage missing", func(b breaker) { b.del(lineageKey("s2")) }, `
		state: 3 live source keys, the state says 4
		row a "k" of source key "s2": its source key has no lineage
		row b "k" of source key "s2": its source key has no lineage`},
	{"lineage too many", func(b breaker) { b.set(lineageKey("s9"), (&lineage{seq: 5}).append(nil)) },
		`state: 5 live source keys, the state says 4`},
	{"lineage cut off", func(b breaker) { v := b.get(lineageKey("s2")); b.set(lineageKey("s2"), v[:len(v)-1]) }, `
		lineage of source key "s2": value ends early
		state: 3 live source keys, the state says 4
		row a "k" of source key "s2": its source key has no lineage that can be read
		row b "k" of source key "s2": its source key has no lineage that can be read`},
	{"digest off", func(b breaker) { b.state(func(s *State) { s.Indexes[1].Digest.Hi++ }) }, `state: index b has 2 rows with digest`},
	{"row count off", func(b breaker) { b.state(func(s *State) { s.Indexes[0].Rows++ }) }, `state: index a has 3 rows`},
	{"live count off", func(b breaker) { b.state(func(s *State) { s.Live-- }) }, `state: 4 live source keys, the state says 3`},
	{"quarantine count off", func(b breaker) { b.state(func(s *State) { s.Quarantined++ }) }, `state: 1 source keys in quarantine, the state says 2`},
	{"expiry count off", func(b breaker) { b.state(func(s *State) { s.Expiring = 0 }) }, `state: 2 source keys in the expiry queue, the state says 0`},
	{"an index too few", func(b breaker) { b.state(func(s *State) { s.Indexes = s.Indexes[:1] }) }, `state: the fold has 2 indexes, the state says 1`},
	{"quarantine key missing", func(b breaker) { b.del(quarantineKey("s3")) }, `
		state: 0 source keys in quarantine, the state says 1
		state: 0 bytes in quarantine, the state says 33
		quarantine of source key "s3": its lineage says that its update is held, and it is not there`},
	{"quarantine key too many", func(b breaker) { b.set(quarantineKey("s1"), b.get(quarantineKey("s3"))) }, `
		state: 2 source keys in quarantine, the state says 1
		state: 66 bytes in quarantine, the state says 33
		quarantine of source key "s1": its update 3 is held, its lineage does not say so`},
	{"quarantine key of another source", func(b breaker) {
		b.set(quarantineKey("s4"), b.get(quarantineKey("s3")))
		b.del(quarantineKey("s3"))
	}, `
		quarantine of source key "s4": its update 3 is held, its lineage does not say so
		quarantine of source key "s3": its lineage says that its update is held, and it is not there`},
	{"mark of quarantine gone", func(b breaker) { b.lineage("s3", func(l *lineage) { l.flags = 0 }) },
		`quarantine of source key "s3": its update 3 is held, its lineage does not say so`},
	{"quarantine cut off", func(b breaker) { b.set(quarantineKey("s3"), []byte{1}) }, `
		quarantine of source key "s3": quarantine: value ends early
		state: 0 source keys in quarantine, the state says 1
		state: 0 bytes in quarantine, the state says 33`},
	{"quarantine of another time", func(b breaker) {
		v := b.get(quarantineKey("s3"))
		v[8]++
		b.set(quarantineKey("s3"), v)
	}, `quarantine of source key "s3": its update 3 is held, its lineage does not say so`},
	{"held update grew", func(b breaker) {
		v := b.get(quarantineKey("s3"))
		v[len(v)-3]++
		b.set(quarantineKey("s3"), append(v, 'x'))
	}, `
		state: 34 bytes in quarantine, the state says 33
		quarantine of source key "s3": it takes 34 bytes, its lineage says 33`},
	{"bytes of quarantine off", func(b breaker) { b.state(func(s *State) { s.Held++ }) }, `state: 33 bytes in quarantine, the state says 34`},
	{"expiry key missing", func(b breaker) { b.del(expiryKey(500, "s1")) }, `
		state: 1 source keys in the expiry queue, the state says 2
		expiry of source key "s1": its lineage expires at 500, and it is not queued`},
	{"expiry key too many", func(b breaker) { b.set(expiryKey(600, "s1"), nil) }, `
		state: 3 source keys in the expiry queue, the state says 2
		expiry of source key "s1": it is queued at 600, its lineage does not say so`},
	{"expiry key at another time", func(b breaker) { b.set(expiryKey(600, "s4"), nil); b.del(expiryKey(900, "s4")) }, `
		expiry of source key "s4": it is queued at 600, its lineage does not say so
		expiry of source key "s4": its lineage expires at 900, and it is not queued`},
	{"expiry key that was due", func(b breaker) { b.set(expiryKey(100, "s2"), nil) }, `
		expiry of source key "s2": was due and is still queued
		state: 3 source keys in the expiry queue, the state says 2
		expiry of source key "s2": it is queued at 100, its lineage does not say so`},
	{"aging key too many", func(b breaker) { b.set(appendQueueKey(nil, kindAging, 600, []byte("s1")), nil) }, `
		state: 1 source keys in the aging queue, the state says 0
		aging of source key "s1": it is queued at 600, its lineage does not say so`},
	{"aging key missing", func(b breaker) { b.lineage("s1", func(l *lineage) { l.flags |= lineageAges }) }, `
		aging of source key "s1": its lineage`},
	{"aging key missing, of no time", func(b breaker) { b.lineage("s1", func(l *lineage) { l.flags, l.time = lineageAges, 0 }) }, `
		state: lineages and what they own sum up differently`},
	{"a record that is in no queue", func(b breaker) {
		b.state(func(s *State) { s.MaxAge = 50 })
		for _, source := range []string{"s1", "s3", "s4"} {
			b.lineage(source, func(l *lineage) { l.flags |= lineageStays })
		}
	}, `
		lineage of source key "s2": the stream has a MaxAge, and it neither ages nor stays`},
	{"kinds that are not", func(b breaker) {
		for _, k := range []string{"\x00", "\x03x", "\x11", "\x41", "\xff\xff", "\x01x"} {
			b.set([]byte(k), nil)
		}
	}, `
		key: 00 is of no kind
		key: 0378 is of no kind
		key: 11 is of no kind
		key: 41 is of no kind
		key: ffff is of no kind
		key: 0178 is of no kind`},
	{"keys that are malformed", func(b breaker) {
		for _, k := range []string{"\x10", "\x10\x00\x00k", "\x10\x00\x00k\x00\x02s", "\x10\x00\x07k\x00\x01s", "\x40short"} {
			b.set([]byte(k), []byte{0})
		}
	}, `
		key: row key 10 is malformed
		key: row key 1000006b is malformed
		key: row key 1000006b000273 is malformed
		key: row key 1000076b000173 is malformed
		key: expiry key 4073686f7274 is malformed`},
	{"point of nowhere", func(b breaker) { b.set(appendPointKey(nil, PointEvery), (&Point{}).append(nil)) },
		`state: point 0000000000010000: it is of no place that the cursor passed`},
	{"point cut off", func(b breaker) { b.set(appendPointKey(nil, PointEvery), []byte{1}) },
		`state: point 0000000000010000: value ends early`},
}

func TestCheckFinds(t *testing.T) { checkFinds(t, sabotaged, wrecks) }

func checkFinds(t *testing.T, history []step, wrecks []wreck) {
	open := func(t *testing.T) *DB { return openBroken(t, options(vfs.NewMem()), twoIndexes...) }
	checkFindsIn(t, open, history, wrecks)
}

func checkFindsIn(t *testing.T, open func(*testing.T) *DB, history []step, wrecks []wreck) {
	for _, c := range wrecks {
		t.Run(c.name, func(t *testing.T) {
			db := open(t)
			for _, s := range history {
				if _, err := commitStep(db, s); err != nil {
					t.Fatal(err)
				}
			}
			check(t, db)
			c.wreck(breaker{t, db.pebble})
			r, err := db.Check()
			if err != nil {
				t.Fatal(err)
			}
			wants := strings.FieldsFunc(c.want, func(r rune) bool { return r == '\n' })
			for i := range wants {
				wants[i] = strings.TrimSpace(wants[i])
			}
			if len(wants) > 0 && wants[0] == "" {
				wants = wants[1:]
			}
			for i := range max(len(wants), len(r.Problems)) {
				if i >= len(wants) || i >= len(r.Problems) || !strings.HasPrefix(r.Problems[i].String(), wants[i]) {
					t.Fatalf("found %d:\n%v\nwant %d:\n%s", r.Found, r.Problems, len(wants), c.want)
				}
			}
		})
	}
}

// TestCheckBounded lists no more than MaxProblems and counts them all.
func TestCheckBounded(t *testing.T) {
	db := openBroken(t, options(vfs.NewMem()), twoIndexes...)
	for i := range 3 * MaxProblems {
		if err := db.pebble.Set([]byte{0x77, byte(i), byte(i >> 8)}, nil, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	r, err := db.Check()
	if err != nil || r.Found != 3*MaxProblems || len(r.Problems) != MaxProblems {
		t.Errorf("found %d, listed %d: %v", r.Found, len(r.Problems), err)
	}
}
