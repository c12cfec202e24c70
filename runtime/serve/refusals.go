package serve

import "sync"

// Refusals counts the requests that were answered with an error, by door and code. The doors of a process share one, so that
// each of them has the metrics of all. Its zero value has counted none.
type Refusals struct {
	mu     sync.Mutex
	counts map[refusal]uint64
}

// A refusal names what is counted: a door, and a code of an error.
type refusal struct{ door, code string }

func (r *Refusals) add(door, code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[refusal]uint64{}
	}
	r.counts[refusal{door, code}]++
}

func (r *Refusals) each(f func(door, code string, n uint64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for x, n := range r.counts {
		f(x.door, x.code, n)
	}
}
