package store

import (
	"encoding/binary"
	"fmt"
)

// PointEvery is the distance, in seqs, of the points at which digests are kept for comparison. No commit that stores
// anything spans a multiple of it, so that replicas which cut their batches differently pass the same points.
const PointEvery = 65536

// KeptPoints is how many points are kept.
const KeptPoints = 64

// State is what a commit leaves: the cursor, and what is known of the rows without reading them.
type State struct {
	Positions   []Position // the cursor: one position a source, one source now
	ExpiredTo   int64      // what was due up to this time, ns since 1970, is gone
	Live        uint64     // source keys with a live record
	Quarantined uint64     // source keys whose update is in quarantine
	Held        uint64     // bytes that quarantine takes
	Kept        uint64     // of its source keys, those whose rows of an older record still stand
	Expiring    uint64     // source keys in the expiry queue
	MaxAge      int64      // the stream's, ns, as the last commit judged by it; 0 = none
	Aging       uint64     // source keys in the aging queue
	Swept       int64      // when the source keys were last compared with the stream's, ns since 1970
	Rewound     uint64     // a rewind left lineages with seqs up to here; 0 once the cursor has come as far
	Indexes     []IndexState
}

// IndexState counts the rows of one index.
type IndexState struct {
	Rows   uint64
	Digest Digest
}

// agedTo returns the time up to which the stream's MaxAge has ended records, -1 when it ends none.
func (s *State) agedTo() int64 {
	if s.MaxAge == 0 {
		return -1
	}
	return s.ExpiredTo - s.MaxAge
}

// Position returns the cursor of the only source.
func (s *State) Position() Position {
	if len(s.Positions) == 0 {
		return Position{}
	}
	return s.Positions[0]
}

func (s *State) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.Positions)))
	for i := range s.Positions {
		dst = s.Positions[i].append(dst)
	}
	dst = appendI64(appendI64(dst, s.ExpiredTo), s.Swept)
	for _, n := range []uint64{s.Live, s.Quarantined, s.Held, s.Kept, s.Expiring, uint64(s.MaxAge), s.Aging, s.Rewound} {
		dst = binary.AppendUvarint(dst, n)
	}
	return appendIndexStates(dst, s.Indexes)
}

func (s *State) decode(v []byte) error {
	r := reader{b: v}
	*s = State{}
	for n := r.count(minPosition); n > 0; n-- {
		s.Positions = append(s.Positions, r.position())
	}
	s.ExpiredTo, s.Swept = r.i64(), r.i64()
	s.Live, s.Quarantined, s.Held, s.Kept, s.Expiring = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	s.MaxAge, s.Aging, s.Rewound = int64(r.uvarint()), r.uvarint(), r.uvarint()
	s.Indexes = r.indexStates()
	if err := r.end(); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// clone returns a copy that shares nothing a commit changes.
func (s *State) clone() *State {
	c := *s
	c.Positions = append([]Position(nil), s.Positions...)
	c.Indexes = append([]IndexState(nil), s.Indexes...)
	return &c
}

func appendIndexStates(dst []byte, all []IndexState) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(all)))
	for _, x := range all {
		dst = appendHash(binary.AppendUvarint(dst, x.Rows), Hash(x.Digest))
	}
	return dst
}

func (r *reader) indexStates() (all []IndexState) {
	for n := r.count(1 + 16); n > 0; n-- {
		all = append(all, IndexState{Rows: r.uvarint(), Digest: Digest(r.hash())})
	}
	return all
}

const minPosition = 1 + 1 + 8 + 8 + 8 + 8 + 1

func (p *Position) append(dst []byte) []byte {
	dst = appendString(appendString(dst, p.Stream), p.Domain)
	dst = appendI64(appendU64(appendI64(dst, p.Created), p.Seq), p.Time)
	dst = appendI64(dst, p.CaughtUp)
	dst = binary.AppendUvarint(dst, uint64(len(p.Anchors)))
	for _, a := range p.Anchors {
		dst = appendU64(appendI64(appendU64(dst, a.Seq), a.Time), a.Subject)
	}
	return dst
}

func (r *reader) position() Position {
	p := Position{Stream: r.string(), Domain: r.string(), Created: r.i64(), Seq: r.u64(), Time: r.i64(), CaughtUp: r.i64()}
	for n := r.count(24); n > 0; n-- {
		p.Anchors = append(p.Anchors, Anchor{Seq: r.u64(), Time: r.i64(), Subject: r.u64()})
	}
	return p
}

// A Point is what the indexes were at a multiple of PointEvery. Two stores of one identity that passed the same point
// of the same stream, swept alike (equal ExpiredTo and MaxAge), have equal digests, unless one of them keeps rows of older
// records.
type Point struct {
	Seq       uint64
	Created   int64 // the stream's incarnation
	ExpiredTo int64
	MaxAge    int64 // the stream's, ns, by which records were ended; 0 = none
	Live      uint64
	Kept      uint64 // source keys that keep rows of an older record: what they hold is no function of the stream
	Indexes   []IndexState
}

func (p *Point) append(dst []byte) []byte {
	dst = appendI64(appendI64(dst, p.Created), p.ExpiredTo)
	dst = binary.AppendUvarint(binary.AppendUvarint(appendI64(dst, p.MaxAge), p.Live), p.Kept)
	return appendIndexStates(dst, p.Indexes)
}

func (p *Point) decode(seq, v []byte) error {
	if len(seq) != 8 {
		return fmt.Errorf("point key of %d bytes", len(seq))
	}
	p.Seq = binary.BigEndian.Uint64(seq)
	r := reader{b: v}
	p.Created, p.ExpiredTo, p.MaxAge = r.i64(), r.i64(), r.i64()
	p.Live, p.Kept, p.Indexes = r.uvarint(), r.uvarint(), r.indexStates()
	return r.end()
}
