package store

// advance moves the cursor of state to pos and stages the points that it passes.
func (db *DB) advance(b *Batch, state *State, pos Position) {
	was := state.Position()
	if b.Copy != nil {
		b.Copy.advance(state)
		db.commit.stage.dropPoints = b.Copy.Last
		return
	}
	state.Positions = []Position{pos}
	if b.Rewind {
		state.Rewound = max(state.Rewound, was.Seq)
		db.commit.stage.dropPoints = true
		return
	}
	from := max(was.Seq, state.Rewound) // until then what the rewind left stands beside what was folded again
	if pos.Seq >= state.Rewound {
		state.Rewound = 0
	}
	db.commit.stage.notePoints(state, from)
}

// notePoints keeps the digests at each multiple of PointEvery that the cursor of state, coming from a seq, reaches or,
// storing nothing, passes.
func (s *staged) notePoints(state *State, from uint64) {
	pos := state.Position()
	was, last := from/PointEvery*PointEvery, pos.Seq/PointEvery*PointEvery
	if last <= was {
		return
	}
	first, kept := was+PointEvery, uint64(KeptPoints-1)*PointEvery
	if last-first > kept {
		first = last - kept
	}
	for old := was - min(was, kept); old <= was; old += PointEvery {
		if old > 0 && old+kept < last {
			at := s.mark()
			s.slab = appendPointKey(s.slab, old)
			s.delete(listPoint, at)
		}
	}
	p := Point{Created: pos.Created, ExpiredTo: state.ExpiredTo, MaxAge: state.MaxAge, Live: state.Live, Kept: state.Kept, Indexes: state.Indexes}
	for p.Seq = first; p.Seq <= last; p.Seq += PointEvery {
		at := s.mark()
		s.slab = appendPointKey(s.slab, p.Seq)
		mid := s.mark()
		s.slab = p.append(s.slab)
		s.set(listPoint, at, mid)
	}
}
