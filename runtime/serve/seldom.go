package serve

import (
	"bytes"
	"log/slog"
	"sync"
	"time"
)

// seldom logs what strangers can cause, at most once in a second: they must not fill the log.
type seldom struct {
	log    *slog.Logger
	mu     sync.Mutex
	next   time.Time
	unsaid int // since the last line
}

const seldomEvery = time.Second

func (s *seldom) warn(message string, attrs ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Before(s.next) {
		s.unsaid++
		return
	}
	s.log.Warn(message, append(attrs, "unsaid", s.unsaid)...)
	s.next, s.unsaid = now.Add(seldomEvery), 0
}

// Write takes a line of net/http: a handshake that failed, an accept that did.
func (s *seldom) Write(line []byte) (int, error) {
	s.warn("connection", "problem", string(bytes.TrimSpace(line)))
	return len(line), nil
}
