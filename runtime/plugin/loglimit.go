package plugin

import (
	"sync"
	"time"
)

// linesPerSecond is how many log lines of one module are kept in a second.
const linesPerSecond = 100

// lineLimit counts a module's log lines by the second. All its workers share it.
type lineLimit struct {
	mu     sync.Mutex
	second int64
	used   int
}

// allow reports whether one more line may be written now.
func (l *lineLimit) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.used = s, 0
	}
	l.used++
	return l.used <= linesPerSecond
}
