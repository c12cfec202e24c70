package store

import (
	"bytes"
	"reflect"
	"testing"
)

// Stored values are decoded from whatever a disk gives back. Any bytes: no panic, nothing allocated that the bytes do
// not hold, and what can be decoded comes out the same when it is encoded and decoded again.

func FuzzLineage(f *testing.F) {
	f.Add((&lineage{}).append(nil))
	f.Add((&lineage{flags: lineageQuarantined, seq: 1 << 60, time: -1, expiry: 5, held: 300}).append(nil))
	f.Add((&lineage{flags: lineageQuarantined, seq: 9, kept: 7, held: 1, rows: []owned{{key: []byte("k")}}}).append(nil))
	f.Add((&lineage{seq: 7, rows: []owned{{key: []byte("k"), hash: Hash{1, 2}}, {index: 65535, key: []byte{}, expiry: 9}}}).append(nil))
	f.Add([]byte("\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l, again lineage
		if l.decode(b) != nil {
			return
		}
		if cap(l.rows)*minOwned > 4*len(b)+16*minOwned {
			t.Fatalf("%d rows allocated for %d bytes", cap(l.rows), len(b))
		}
		v := l.append(nil)
		if err := again.decode(v); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(v, again.append(nil)) || again.due() != l.due() || len(again.rows) != len(l.rows) {
			t.Fatalf("%x became %x", v, again.append(nil))
		}
	})
}

func FuzzState(f *testing.F) {
	s := State{Positions: []Position{{Stream: "S", Domain: "d", Seq: 9, Anchors: []Anchor{{1, 2, 3}}}}, Live: 300, Indexes: make([]IndexState, 3)}
	f.Add(s.append(nil))
	f.Add((&State{}).append(nil))
	f.Add([]byte("\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again State
		if s.decode(b) != nil {
			return
		}
		if err := again.decode(s.append(nil)); err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v became %+v: %v", s, again, err)
		}
	})
}

func FuzzPoint(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x01\x00\x00"), (&Point{Created: 1, Live: 2, Indexes: make([]IndexState, 2)}).append(nil))
	f.Fuzz(func(t *testing.T, seq, b []byte) {
		var p, again Point
		if p.decode(seq, b) != nil {
			return
		}
		if err := again.decode(seq, p.append(nil)); err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%+v became %+v: %v", p, again, err)
		}
	})
}

func FuzzQuarantined(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x04trap\x00\x01m\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var q, again Quarantined
		if q.decode(b) != nil {
			return
		}
		again.decode(appendFailure(nil, q.Seq, q.Time, &q.Failure))
		if !reflect.DeepEqual(q, again) {
			t.Fatalf("%+v became %+v", q, again)
		}
	})
}

func FuzzRowKey(f *testing.F) {
	f.Add(appendRowKey(nil, 3, []byte("k\x00\x01\xff"), []byte("s\x00")))
	f.Add([]byte{kindRow, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := prefixEnd(b)
		if n > len(b) || prefixEnd(b[:n]) != n {
			t.Fatalf("%x: prefix of %d", b, n)
		}
		index, key, source, ok := splitRowKey(b, nil)
		if ok && !bytes.Equal(appendRowKey(nil, index, key, source), b) {
			t.Fatalf("%x became %x", b, appendRowKey(nil, index, key, source))
		}
		if ok && !bytes.Equal(appendRowPrefix(nil, index, key), b[:n]) {
			t.Fatalf("%x: prefix %x", b, b[:n])
		}
	})
}

func FuzzRowValue(f *testing.F) {
	f.Add(appendRowValue(nil, []byte("v"), 5, 6, true))
	f.Fuzz(func(t *testing.T, b []byte) {
		value, expiry, seq, err := splitRowValue(b)
		if err != nil {
			return
		}
		v, e, s, err := splitRowValue(appendRowValue(nil, value, expiry, seq, b[0]&rowSeq != 0))
		if err != nil || !bytes.Equal(v, value) || e != expiry || s != seq {
			t.Fatalf("%x: %x %d %d became %x %d %d: %v", b, value, expiry, seq, v, e, s, err)
		}
	})
}
