package embedded

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

func TestStart(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(Options{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") {
		t.Errorf("URL is %q", s.URL())
	}
	s.Stop()
	if err := s.Health(); err == nil {
		t.Error("a server that has ended is healthy")
	}
	if s, err = Start(Options{StoreDir: dir, Port: spare(t), LameDuck: time.Second}); err != nil {
		t.Fatalf("second start: %v", err)
	}
	if err := s.Health(); err != nil {
		t.Error(err)
	}
	s.LameDuck()
	if c, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "nats://")); err == nil {
		c.Close()
		t.Error("a server that has ended listens")
	}
}

// spare returns a port that nobody listens on, of those that systems do not give away by themselves: nobody else has it soon.
func spare(t *testing.T) int {
	t.Helper()
	for {
		port := 10_000 + rand.IntN(20_000)
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			l.Close()
			return port
		}
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := Start(Options{}); err == nil {
		t.Error("started without a store directory")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = Start(Options{StoreDir: t.TempDir(), Port: taken.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "listening") {
		t.Errorf("a port in use gave %v", err)
	}
}
