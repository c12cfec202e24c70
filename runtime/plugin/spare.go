package plugin

import (
	"context"
	"sync"
)

// spare is one instance of a module that has started and waits for a worker whose own has failed: to start takes some
// ten microseconds in C and some milliseconds in Go, and records wait for it. There is none until the first failure. It
// belongs to the module, which waits for the goroutine that makes it.
type spare struct {
	mu     sync.Mutex
	ready  *instance
	making bool
	closed bool
	done   sync.WaitGroup
}

// another returns a fresh instance in place of one that failed, and has the next one made.
func (m *Module) another(ctx context.Context) (*instance, error) {
	s := &m.spare
	s.mu.Lock()
	in := s.ready
	s.ready = nil
	if !s.making && !s.closed {
		s.making = true
		s.done.Add(1)
		go m.makeSpare()
	}
	s.mu.Unlock()
	if in != nil {
		return in, nil
	}
	return m.start(ctx)
}

// makeSpare starts an instance. Where that fails there is none: whoever needs one starts it and has the error.
func (m *Module) makeSpare() {
	s := &m.spare
	defer s.done.Done()
	ctx := context.Background()
	in, err := m.start(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.making = false
	switch {
	case err != nil:
	case s.closed:
		in.close(ctx)
	default:
		s.ready = in
	}
}

func (s *spare) close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	if s.ready != nil {
		s.ready.close(ctx)
		s.ready = nil
	}
	s.mu.Unlock()
	s.done.Wait()
}
