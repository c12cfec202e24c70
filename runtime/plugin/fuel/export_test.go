package fuel

import (
	"fmt"
	"math/rand/v2"
)

// Walk takes random ways through every function of a module and counts what they run against what the checks on them
// charge. It returns how many instructions' cost the ways ran, and how much was charged, or an error where a way ran
// more than was charged for it.
func Walk(wasm []byte, l Limits, rnd *rand.Rand, ways int) (ran, charged int64, err error) {
	l.defaults()
	m, err := decode(wasm, l)
	if err != nil || m.section[secCode].b == nil {
		return 0, 0, err
	}
	if err := m.analyse(); err != nil {
		return 0, 0, err
	}
	var b body
	for i := range m.nodes {
		entry := m.scanAgain(i, &b)
		w := walker{b: &b, rnd: rnd, ends: make([]int, len(b.blocks)), begins: make([]int, len(b.blocks)), elses: make([]int, len(b.blocks))}
		w.index()
		for range ways {
			if err := w.walk(entry); err != nil {
				return 0, 0, fmt.Errorf("function %d: %w", i, err)
			}
		}
		ran += w.ran
		charged += w.charged
	}
	return ran, charged, nil
}

type walker struct {
	b                   *body
	rnd                 *rand.Rand
	ends, begins, elses []int
	ran, charged        int64
	left                int64 // charged and not yet run
}

func (w *walker) index() {
	for i := range w.b.events {
		e := &w.b.events[i]
		switch {
		case e.stays():
		case e.op == 0x0b:
			w.ends[e.block] = i
		case e.op == 0x03:
			w.begins[e.block] = i
		case e.op == 0x05:
			w.elses[e.block] = i
		}
	}
}

func (w *walker) pay(n int64) { w.ran += n; w.left -= n }

// check is a check on the way; a full one charges all that follows, so what was left before must not help.
func (w *walker) check(n int64, full bool) {
	if full {
		w.left = 0
	}
	w.left += n
	w.charged += n
}

// label goes to where a block's label is, and returns the event after it, -1 for the function's end.
func (w *walker) label(id int32) int {
	k := &w.b.blocks[id]
	if k.op == 0x03 {
		i := w.begins[id]
		w.check(w.b.events[i].charge, true)
		w.pay(k.merge)
		return i + 1
	}
	w.pay(k.merge)
	if id == 0 {
		return -1
	}
	i := w.ends[id]
	if charge := w.b.events[i].charge; charge != 0 {
		w.check(charge, true)
	}
	return i + 1
}

func (w *walker) walk(entry int64) error {
	w.left = 0
	w.check(entry, true)
	i := 0
	for steps := 0; i >= 0 && steps < 2000; steps++ {
		e := &w.b.events[i]
		w.pay(e.straight)
		if w.left < 0 {
			return fmt.Errorf("at byte %#x, %d more was run than charged", e.at, -w.left)
		}
		i = w.step(i, e)
	}
	return nil
}

func (w *walker) step(i int, e *event) int {
	if e.site > 0 {
		w.check(e.site, false)
		w.pay(e.site)
	}
	if e.stays() {
		return i + 1
	}
	k := &w.b.blocks[0]
	if e.op != 0x0e {
		k = &w.b.blocks[e.block]
	}
	flip := w.rnd.IntN(2) == 0
	switch {
	case e.op == 0x0b && k.op == 0x03:
	case e.op == 0x0b, e.op == 0x05, e.op == 0x0c, e.op == 0x0d && flip, e.op == 0x04 && flip && !k.hasElse:
		return w.label(e.block)
	case e.op == 0x04 && flip:
		i = w.elses[e.block]
		w.check(w.b.events[i].charge, false)
	case e.op == 0x04, e.op == 0x0d:
		w.check(e.charge, false)
	case e.op == 0x03 && k.targeted:
		w.check(e.charge, true)
		w.pay(k.merge)
	case e.op == 0x0e:
		return w.label(w.b.labels[e.block+w.rnd.Int32N(e.labels)])
	case e.op == 0x0f, e.op == 0x00:
		return -1
	}
	return i + 1
}
