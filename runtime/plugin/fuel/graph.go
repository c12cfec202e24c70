package fuel

import "math"

// A node is what is known of one of the module's own functions when its callers are metered.
type node struct {
	frame    int64  // bytes that a call needs on the stack
	calls    []call // of own functions
	indirect bool   // it calls by a table, and goes on
	referred bool   // it is called by more than its callers: exported, referred to, the start
	seen     bool
	rank     int   // those that it calls come first, but where they call it
	climbs   bool  // its end tests whether much stack was given back: on each cycle one does
	chain    int64 // bytes that a call needs with those that do not test
	tree     int64 // bounded: bytes that a call needs with all that it calls; else 0
	covered  bool  // its callers charge its entry, which has no check
	cost     int64 // of that
	silent   bool  // it neither tests nor charges
	sited    bool  // it charges calls of covered functions where they stand
}

// call is a call of an own function. After the last there is an unreachable: it does not come back.
type call struct {
	callee uint32 // among the module's own
	last   bool
}

// coveredCost is what a call of a covered function costs at most. Where two ways differ by less, the dearer is charged anyway.
const coveredCost = slack

// coveredCosts is what the calls in one body may cost in all: it is charged at once, and runs without a yield.
const coveredCosts = 1 << 14

// analyse scans all functions, checks their limits, and finds which are bounded and which are covered.
func (m *module) analyse() error {
	r := m.section[secCode]
	n := 0
	if r.b != nil {
		n = r.count("functions")
	}
	if defined := len(m.funcs) - m.imported.funcs; r.err == nil && n != defined {
		r.fail("%d functions have code, %d are declared", n, defined)
	}
	nodes := make([]node, len(m.funcs)-m.imported.funcs)
	m.bodies = make([]reader, len(nodes))
	var b body
	frames, code := int64(0), int64(len(r.b)-r.at)
	for i := 0; i < len(nodes) && r.err == nil; i++ {
		if err := m.readBody(i, &b, &r); err != nil {
			return err
		}
		nodes[i] = node{frame: b.frame(), calls: append([]call(nil), b.direct...), indirect: b.indirect}
		if frames += b.frame(); frames > framesPerByte*code+framesAlways {
			return m.refuse(i, m.bodies[i].at, "with this function the module has %d bytes of frames for %d bytes of code: it would take too long to compile", frames, code)
		}
	}
	if r.err == nil && r.more() {
		r.fail("%d bytes after the end of the section", len(r.b)-r.at)
	}
	if r.err != nil {
		return &Error{Function: -1, Offset: r.bad, Err: r.err}
	}
	for i := range m.referred {
		if i >= uint32(m.imported.funcs) {
			nodes[i-uint32(m.imported.funcs)].referred = true
		}
	}
	m.nodes = nodes
	m.cover(&b)
	return nil
}

// readBody finds and scans the next function.
func (m *module) readBody(i int, b *body, r *reader) error {
	at, size := r.at, r.u32()
	f := r.part(size)
	if uint64(size) > uint64(m.limits.FunctionBytes) {
		r.failAt(at, "a body of %d bytes, the limit is %d", size, m.limits.FunctionBytes)
	}
	if r.err != nil {
		return &Error{Function: m.imported.funcs + i, Offset: r.bad, Err: r.err}
	}
	m.bodies[i] = f
	b.scan(m, m.typeOf(i), &f)
	if f.err != nil {
		return &Error{Function: m.imported.funcs + i, Offset: f.bad, Err: f.err}
	}
	if b.frame() > int64(m.limits.FrameBytes) {
		return m.refuse(i, m.bodies[i].at, "a call may need %d bytes of stack, the limit is %d", b.frame(), m.limits.FrameBytes)
	}
	return nil
}

func (m *module) typeOf(i int) *funcType { return &m.types[m.funcs[m.imported.funcs+i]] }

// scanAgain scans function i with what is known of those that it calls, and works out its charges and that of its entry.
func (m *module) scanAgain(i int, b *body) (entry int64) {
	n := &m.nodes[i]
	for {
		b.sited, b.bounded, b.rank = n.sited, n.tree > 0, n.rank
		r := m.bodies[i]
		b.scan(m, m.typeOf(i), &r)
		if b.called <= coveredCosts || n.sited {
			break
		}
		n.sited = true
	}
	apart := int64(slack)
	if n.covered {
		apart = math.MaxInt64
	}
	return b.charge(apart) + int64(b.locals)/movesPerFuel
}

// cover finds the bounded functions, then, callees first, those that are covered.
func (m *module) cover(b *body) {
	var order []int
	for i := range m.nodes {
		order = m.bound(i, order)
	}
	for i := range m.nodes {
		for _, c := range m.nodes[i].calls {
			if callee := &m.nodes[c.callee]; callee.rank >= m.nodes[i].rank {
				callee.referred = true // on a cycle
			}
		}
	}
	for _, i := range order {
		n := &m.nodes[i]
		m.deepest = max(m.deepest, n.tree)
		if n.tree == 0 || n.referred {
			continue
		}
		n.covered = true
		n.cost = m.scanAgain(i, b)
		n.covered = n.cost <= coveredCost
		n.silent = n.covered && !b.checks()
	}
}

// bound works out whether a function is bounded, after those that it calls, and appends them to order. One that is in hand
// already is on a cycle.
func (m *module) bound(i int, order []int) []int {
	n := &m.nodes[i]
	if n.seen {
		return order
	}
	n.seen, n.climbs = true, n.indirect
	most, bounded := int64(0), !n.indirect
	for _, c := range n.calls {
		order = m.bound(int(c.callee), order)
		callee := &m.nodes[c.callee]
		callee.climbs = callee.climbs || callee.rank == 0
		bounded = bounded && (callee.tree > 0 || c.last)
		most = max(most, callee.tree)
		if !callee.climbs {
			n.chain = max(n.chain, callee.chain)
		}
	}
	n.chain += n.frame
	n.climbs = n.climbs || n.chain > int64(m.limits.FrameBytes)
	if bounded && n.frame+most <= int64(m.limits.FrameBytes) {
		n.tree = n.frame + most
	}
	n.rank = len(order) + 1
	return append(order, i)
}

// headed reports whether the function begins with a loop whose check does for its entry too, and then has that charge what
// the entry costs, in each turn.
func (b *body) headed(entry int64) bool {
	e := &b.events[0]
	if e.op != 0x03 || e.bulk || !b.blocks[e.block].wrapped() || entry > headedCost || b.first != 0 && b.first < e.at {
		return false
	}
	e.charge += entry
	return true
}

const headedCost = 32

// checks reports whether some code of the body tests or charges.
func (b *body) checks() bool {
	for i := range b.blocks {
		if k := &b.blocks[i]; k.op == 0x03 && k.targeted {
			return true
		}
	}
	for i := range b.events {
		if e := &b.events[i]; e.stays() || e.charge != 0 {
			return true
		}
	}
	return b.calls
}

// ownCall takes a call of an own function into account.
func (b *body) ownCall(m *module, r *reader, at int, i uint32) {
	last := b.isLast(r)
	b.direct = append(b.direct, call{i, last})
	if m.nodes == nil {
		b.calledAt(!last)
		return
	}
	n := &m.nodes[i]
	e := (*event)(nil)
	switch {
	case n.covered && b.sited:
		e = b.event(at, r.at, 0x10, 0)
		e.site = n.cost + checkCost
	case n.covered:
		b.run += n.cost
	}
	if n.covered {
		b.called += n.cost
	}
	if last && !n.silent {
		if e == nil {
			e = b.event(at, r.at, 0x10, 0)
		}
		e.last, e.deep = true, b.bounded && (n.tree == 0 || n.rank >= b.rank)
	}
	b.calledAt(!last && !n.silent)
}

// tableCall takes a call by a table into account.
func (b *body) tableCall(m *module, r *reader, at int) {
	last := b.isLast(r)
	b.indirect = b.indirect || !last
	if m.nodes != nil && last {
		e := b.event(at, r.at, 0x11, 0)
		e.last, e.deep = true, b.bounded
	}
	b.calledAt(!last)
}

// isLast reports whether an unreachable follows: the call does not come back.
func (b *body) isLast(r *reader) bool { return r.at < len(r.b) && r.b[r.at] == 0x00 }

// calledAt notes a call after which the fuel may be another.
func (b *body) calledAt(calls bool) {
	b.calls = b.calls || calls
	top := &b.blocks[b.open[len(b.open)-1]]
	top.calls = top.calls || calls
}
