//go:build linux

package serve_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	goruntime "runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
)

// openDoor runs a door and returns its address. When the test ends the door has ended too.
func openDoor(t *testing.T, o serve.Options) string {
	t.Helper()
	l, err := serve.Listen("127.0.0.1:0", false)
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve.New(o).Run(ctx, l) }()
	t.Cleanup(func() {
		stop()
		check(t, <-done)
	})
	return l.Addr().String()
}

// usage is what the process holds.
type usage struct {
	goroutines, files int
	heap              uint64
}

func measure(t *testing.T) usage {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return usage{goruntime.NumGoroutine(), len(files), m.HeapInuse}
}

// until polls until done says so.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// returns waits until the process holds what it held before.
func (before usage) returns(t *testing.T) {
	t.Helper()
	var now usage
	defer func() {
		if t.Failed() {
			t.Errorf("%+v, before %+v", now, before)
		}
	}()
	until(t, "what was held is held still", func() bool {
		now = measure(t)
		return now.goroutines <= before.goroutines && now.files <= before.files && now.heap <= before.heap+8<<20
	})
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	check(t, err)
	check(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// answer makes one request on a connection of its own.
func answer(t *testing.T, address, path string) int {
	t.Helper()
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := h.Get("http://" + address + path)
	check(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

// asked makes requests until one is answered: one that came late, on a busy machine, is cut as a slow client's is.
func asked(t *testing.T, address, path string) (status int) {
	t.Helper()
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	until(t, "no request is answered", func() bool {
		resp, err := h.Get("http://" + address + path)
		if err != nil {
			return false
		}
		resp.Body.Close()
		status = resp.StatusCode
		return true
	})
	return status
}

// TestSlowHeaders: clients that send a byte now and then are cut, and all that they held is given back.
func TestSlowHeaders(t *testing.T) {
	address := openDoor(t, serve.Options{Limits: serve.Limits{Header: 200 * time.Millisecond}})
	asked(t, address, "/healthz")
	before := measure(t)
	var clients sync.WaitGroup
	for i := range 50 {
		c := dial(t, address)
		clients.Go(func() {
			defer c.Close()
			head := "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
			if i%2 == 0 {
				head = "" // not even a first byte
			}
			io.WriteString(c, head)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a slow client is not cut")
				}
			}()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-gone:
					return
				case <-tick.C:
					if head != "" {
						io.WriteString(c, "x")
					}
				}
			}
		})
	}
	clients.Wait()
	before.returns(t)
}

// TestHugeHeaders: a header or a path without end is refused before it fills the memory.
func TestHugeHeaders(t *testing.T) {
	address := openDoor(t, serve.Options{})
	answer(t, address, "/healthz")
	before := measure(t)
	for _, head := range []string{"GET /", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"} {
		c := dial(t, address)
		sent := 0
		io.WriteString(c, head)
		filler := strings.Repeat("X: "+strings.Repeat("x", 1020)+"\r\n", 64)
		if !strings.HasSuffix(head, "\n") {
			filler = strings.Repeat("x", 64<<10)
		}
		for sent < 64<<20 {
			n, err := io.WriteString(c, filler)
			sent += n
			if err != nil {
				break // the other end had enough
			}
		}
		if sent >= 64<<20 {
			t.Errorf("%.20q: %d bytes were taken", head, sent)
		}
		c.Close()
	}
	c := dial(t, address)
	fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 270<<10))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	check(t, err)
	resp.Body.Close()
	c.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d", resp.StatusCode)
	}
	before.returns(t)
}

// TestManyConnections opens 2,000 connections, none of which asks anything: one that asks is answered all the same, and then
// everything is given back. How many have a place at once is what TestDescriptors counts.
func TestManyConnections(t *testing.T) {
	const many, limit = 2000, 64
	var files syscall.Rlimit
	check(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	if files.Cur < many+500 {
		t.Skipf("%d open files are too few", files.Cur)
	}
	address := openDoor(t, serve.Options{Limits: serve.Limits{Connections: limit, Header: 50 * time.Millisecond}})
	asked(t, address, "/healthz")
	before := measure(t)
	conns := make([]net.Conn, many)
	var dialing sync.WaitGroup
	for i := range 16 {
		dialing.Go(func() {
			for j := i; j < many; j += 16 {
				conns[j], _ = net.DialTimeout("tcp", address, patience) // the kernel's queue may be shorter than that
			}
		})
	}
	dialing.Wait()
	if n := asked(t, address, "/healthz"); n != 200 {
		t.Errorf("%d among many", n)
	}
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
	before.returns(t)
}

// TestDescriptors: connections beyond the limit take no descriptor, and those that wait are let in when others go.
func TestDescriptors(t *testing.T) {
	const limit = 4
	address := openDoor(t, serve.Options{Limits: serve.Limits{Connections: limit, Header: patience}})
	answer(t, address, "/healthz")
	before := measure(t)
	var held []net.Conn
	for range 10 * limit {
		held = append(held, dial(t, address))
	}
	until(t, "the door is full", func() bool { return measure(t).files >= before.files+len(held)+limit+1 })
	for range 20 {
		if n := measure(t).files - before.files - len(held); n > limit+1 { // one is accepted, and waits for a place
			t.Fatalf("%d descriptors at the door, which has place for %d", n, limit)
		}
	}
	for _, c := range held[:len(held)-1] {
		c.Close()
	}
	last := held[len(held)-1]
	io.WriteString(last, "GET /healthz HTTP/1.0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(last), nil)
	check(t, err)
	resp.Body.Close()
	last.Close()
	before.returns(t)
}

// TestIdleMakesRoom: a connection between two requests gives its place to one that asks. Which of two that is depends on
// which the server knows to be idle by then.
func TestIdleMakesRoom(t *testing.T) {
	address := openDoor(t, serve.Options{Limits: serve.Limits{Connections: 2, Header: patience, Idle: time.Hour}})
	ended := make(chan error, 2)
	for range cap(ended) {
		c := dial(t, address)
		defer c.Close()
		io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		check(t, err)
		io.Copy(io.Discard, resp.Body)
		go func() {
			_, err := r.ReadByte()
			ended <- err
		}()
	}
	if n := answer(t, address, "/healthz"); n != 200 {
		t.Error(n)
	}
	if err := <-ended; err != io.EOF {
		t.Errorf("a connection that was idle: %v", err)
	}
}

// A slow fold has a status that is told when the test says so.
type slow struct {
	told
	entered, leave chan struct{}
}

func (f *slow) Status() runtime.Status {
	f.entered <- struct{}{}
	<-f.leave
	return f.told.status
}

// TestRequests: requests beyond the limit are told to come again; the health of the process is told all the same.
func TestRequests(t *testing.T) {
	f := &slow{told{runtime.Status{Name: "f"}}, make(chan struct{}), make(chan struct{})}
	address := openDoor(t, serve.Options{Folds: []serve.Fold{f}, Limits: serve.Limits{Requests: 2}})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			if resp, err := http.Get("http://" + address + "/v1/status"); err != nil || resp.StatusCode != 200 {
				t.Errorf("%v %v", resp, err)
			} else {
				resp.Body.Close()
			}
		})
		<-f.entered
	}
	impatient := http.Client{Timeout: patience}
	resp, err := impatient.Get("http://" + address + "/v1/status")
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if n := answer(t, address, "/healthz"); n != 200 {
		t.Errorf("health: %d", n)
	}
	close(f.leave)
	asking.Wait()
	go func() { <-f.entered }()
	if n := answer(t, address, "/v1/status"); n != 200 {
		t.Errorf("afterwards: %d", n)
	}
}

// TestStalledReaders: clients that ask for much and read nothing are cut, and all that they held is given back.
func TestStalledReaders(t *testing.T) {
	f := newFold(t)
	f.commit(entry{"s", 0, "k", strings.Repeat("v", 8<<20), 0})
	address := openDoor(t, serve.Options{Folds: []serve.Fold{f}, Limits: serve.Limits{Reply: time.Second}})
	asked(t, address, "/healthz")
	before := measure(t)
	var held []net.Conn
	for range 4 {
		c := dial(t, address)
		check(t, c.(*net.TCPConn).SetReadBuffer(256<<10)) // what the kernel would take for it; less, and it gives it out by the packet
		io.WriteString(c, "GET /v1/folds/f/indexes/all/get?key=k HTTP/1.1\r\nHost: localhost\r\n\r\n")
		held = append(held, c)
	}
	for _, c := range held {
		c.Read(make([]byte, 1)) // the reply began, or was cut already
	}
	until(t, "the replies are cut", func() bool {
		now := measure(t)
		return now.files <= before.files+len(held) && now.goroutines <= before.goroutines && now.heap <= before.heap+8<<20
	})
	for _, c := range held {
		n, err := io.Copy(io.Discard, c)
		if n >= 8<<20 {
			t.Errorf("%d bytes, %v: the reply was whole", n, err)
		}
		c.Close()
	}
	before.returns(t)
}

// TestReplacedAgain replaces tokens and certificate under requests: nothing is kept of those that were.
func TestReplacedAgain(t *testing.T) {
	g, s := newGuarded(t, "r read a"), newSecured(t)
	round := func(i int) {
		token := tokenFile(t, g.path, fmt.Sprintf("r%d read a", i))[fmt.Sprintf("r%d", i)]
		if n, _, _ := as(t, token, "GET", g.URL+"/v1/status"); n != 200 {
			t.Fatal(n)
		}
		s.replace(t, int64(i))
		if n := s.serial(t); n != int64(i) {
			t.Fatalf("certificate %d, not %d", n, i)
		}
	}
	round(1)
	before := measure(t)
	for i := range 20 {
		round(i + 2)
	}
	for i := range 1000 { // of folds of their own each: what is shown to a token is made for it
		token := tokenFile(t, g.path, fmt.Sprintf("r read a,x%d", i))["r"]
		if n, _, _ := as(t, token, "GET", g.URL+"/v1/status"); n != 200 {
			t.Fatal(n)
		}
	}
	before.returns(t)
}

// TestSeldom: what strangers cause is logged once in a second, with how often it was not.
func TestSeldom(t *testing.T) {
	g := newGuarded(t, "r read *")
	synctest.Test(t, func(t *testing.T) {
		d := serve.New(g.options)
		stranger := func() {
			d.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/folds/a%0Amsg=forged/verify?key=secret", nil))
		}
		for range 100 {
			stranger()
		}
		<-time.After(2 * time.Second)
		stranger()
	})
	lines := strings.Split(strings.TrimSpace(g.journal.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "unsaid=0") || !strings.Contains(lines[1], "unsaid=99") {
		t.Errorf("%d lines:\n%s", len(lines), g.journal)
	}
	if strings.Contains(g.journal.String(), "secret") || !strings.Contains(lines[0], `path="/v1/folds/a\nmsg=forged/verify"`) {
		t.Errorf("the line is not what it should be: %s", lines[0])
	}
}
