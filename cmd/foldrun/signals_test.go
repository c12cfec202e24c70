package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
)

// daemon is a `foldrun run` in a process of its own.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *bufio.Scanner
	dir  string // where foldrun.toml is
	conn *source.Conn
}

// newDaemon prepares one with a server and a bucket, keys k0 to kn-1.
func newDaemon(t *testing.T, n int) *daemon {
	if testing.Short() {
		t.Skip("runs servers")
	}
	d := &daemon{t: t, dir: t.TempDir()}
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir()})
	check(t, err)
	t.Cleanup(server.Stop)
	d.conn, err = source.Connect(source.Target{URL: server.URL()}, nil)
	check(t, err)
	t.Cleanup(d.conn.Close)
	_, err = d.conn.Request("$JS.API.STREAM.CREATE.KV_b", []byte(`{"name":"KV_b","subjects":["$KV.b.>"],"max_msgs_per_subject":1}`), patience)
	check(t, err)
	d.put(0, n)
	wasm, err := filepath.Abs("../../testdata/modules/rekey.wasm")
	check(t, err)
	text := fmt.Sprintf("data_dir = \"data\"\nhttp.listen = \"127.0.0.1:0\"\nnats.default.url = %q\n[fold.f]\nsource.bucket = \"b\"\nmodule.path = %q\n", server.URL(), wasm)
	check(t, os.WriteFile(filepath.Join(d.dir, "foldrun.toml"), []byte(text), 0o644))
	return d
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) put(from, to int) {
	for i := from; i < to; i++ {
		check(d.t, d.conn.Publish(fmt.Sprintf("$KV.b.k%d", i), fmt.Appendf(nil, "%08d", i)))
	}
	check(d.t, d.conn.FlushTimeout(patience))
}

// start starts it and waits until it answers.
func (d *daemon) start() *client.Client {
	d.cmd = exec.Command("foldrun", "run")
	d.cmd.Dir = d.dir
	stderr, err := d.cmd.StderrPipe()
	check(d.t, err)
	d.log = bufio.NewScanner(stderr)
	check(d.t, d.cmd.Start())
	d.t.Cleanup(func() { d.cmd.Process.Kill() })
	line := d.waitLog("foldrun started")
	_, url, _ := strings.Cut(line, "url=")
	url, _, _ = strings.Cut(url, " ")
	return client.New(url)
}

// waitLog reads the log up to a line with text.
func (d *daemon) waitLog(text string) string {
	d.t.Helper()
	for d.log.Scan() {
		if strings.Contains(d.log.Text(), text) {
			return d.log.Text()
		}
	}
	d.t.Fatalf("the log ends without %q", text)
	return ""
}

func (d *daemon) signal() { check(d.t, d.cmd.Process.Signal(syscall.SIGTERM)) }

// end waits for the process and returns its exit code.
func (d *daemon) end() int {
	for d.log.Scan() {
	}
	err := d.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatal(err)
	}
	return d.cmd.ProcessState.ExitCode()
}

func (d *daemon) status(c *client.Client) client.FoldStatus {
	s, err := c.Status(context.Background())
	check(d.t, err)
	return s.Folds[0]
}

// waitSeq polls until seq is folded.
func (d *daemon) waitSeq(c *client.Client, seq uint64) client.FoldStatus {
	d.t.Helper()
	return d.wait(c, func(s client.FoldStatus) bool { return s.Seq >= seq })
}

// wait polls until the fold's status is as it should be.
func (d *daemon) wait(c *client.Client, done func(client.FoldStatus) bool) client.FoldStatus {
	d.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if s := d.status(c); done(s) {
			return s
		}
	}
	d.t.Fatalf("waited in vain: %+v", d.status(c))
	return client.FoldStatus{}
}

// TestTerminate stops a foldrun in the middle of its work, more than once. It exits 0 and goes on where it was.
func TestTerminate(t *testing.T) {
	const n = 30_000
	d := newDaemon(t, n)
	var seq uint64
	for range 3 {
		c := d.start()
		s := d.waitSeq(c, seq+1)
		if s.StartSeq != seq {
			t.Errorf("started at %d, not at %d", s.StartSeq, seq)
		}
		d.signal()
		if code := d.end(); code != exitDone {
			t.Fatalf("exit code %d", code)
		}
		if _, err := os.Stat(filepath.Join(d.dir, "data", addressFile)); err == nil {
			t.Error("the address is still there")
		}
		seq = d.offlineSeq()
		d.put(n, n+100) // at least this is left
	}
	t.Logf("stopped at %d", seq)
	c := d.start()
	d.waitSeq(c, n+300)
	r, err := c.Verify(context.Background(), "f")
	check(t, err)
	if !r.OK || r.Rows != n+100 || r.Lineages != n+100 {
		t.Errorf("%+v", r)
	}
	d.signal()
	if code := d.end(); code != exitDone {
		t.Fatalf("exit code %d", code)
	}
}

// offlineSeq asks the data directory itself.
func (d *daemon) offlineSeq() uint64 {
	c, err := new(door).reach(context.Background(), filepath.Join(d.dir, "data"), "", io.Discard)
	check(d.t, err)
	return d.status(c).Seq
}

// TestSecondSignal holds a graceful stop up with a request that does not end. Signals go on coming; those that come
// with the first one change nothing, a later one ends the process.
func TestSecondSignal(t *testing.T) {
	d := newDaemon(t, 1)
	c := d.start()
	seq := d.waitSeq(c, 1).Seq
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://"))
	check(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
	check(t, err)
	waitMetric(t, c, `foldrun_requests_refused_total{code="body_refused",door="http"} 1`) // and it waits for the body, which never comes
	first := time.Now()
	d.signal()
	killed := make(chan struct{})
	var signalling sync.WaitGroup
	signalling.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			d.cmd.Process.Signal(syscall.SIGINT)
			select {
			case <-tick.C:
			case <-killed:
				return
			}
		}
	})
	d.waitLog("fold stopped")
	d.waitLog("killed by a second signal")
	if took := time.Since(first); took < settle {
		t.Errorf("killed %v after the first signal", took)
	}
	close(killed)
	signalling.Wait()
	if code := d.end(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if got := d.offlineSeq(); got != seq {
		t.Errorf("seq %d, not %d", got, seq)
	}
}

// waitMetric polls until a scrape has a line.
func waitMetric(t *testing.T, c *client.Client, line string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		resp, err := http.Get(c.URL + "/metrics")
		check(t, err)
		text, err := io.ReadAll(resp.Body)
		check(t, err)
		resp.Body.Close()
		if strings.Contains(string(text), "\n"+line+"\n") {
			return
		}
	}
	t.Fatalf("no scrape has %s", line)
}

// TestDoubleSignal: what sends two signals at once, as `timeout` does, has asked for a graceful end.
func TestDoubleSignal(t *testing.T) {
	d := newDaemon(t, 1)
	c := d.start()
	d.waitSeq(c, 1)
	for _, s := range []os.Signal{syscall.SIGSTOP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCONT} { // both are there when it goes on
		check(t, d.cmd.Process.Signal(s))
	}
	if code := d.end(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

// TestEarlyHangup sends a foldrun that is just starting what reloads one that runs: it starts, and reloads.
func TestEarlyHangup(t *testing.T) {
	d := newDaemon(t, 1)
	d.cmd = exec.Command("foldrun", "run")
	d.cmd.Dir = d.dir
	stderr, err := d.cmd.StderrPipe()
	check(t, err)
	d.log = bufio.NewScanner(stderr)
	check(t, d.cmd.Start())
	t.Cleanup(func() { d.cmd.Process.Kill() })
	d.waitLog("msg=memory") // the first line of a start
	check(t, d.cmd.Process.Signal(syscall.SIGHUP))
	d.waitLog("configuration read again")
	d.signal()
	if code := d.end(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

// TestHangup has a running foldrun read its configuration again: once with a mistake in it, once without.
func TestHangup(t *testing.T) {
	d := newDaemon(t, 1)
	c := d.start()
	d.waitSeq(c, 1)
	path := filepath.Join(d.dir, "foldrun.toml")
	good, err := os.ReadFile(path)
	check(t, err)
	for _, x := range []struct{ add, says string }{
		{"upgrade = \"never\"\n", "configuration not taken: nothing changes"},
		{"upgrade = \"manual\"\n", "configuration read again"},
	} {
		check(t, os.WriteFile(path, bytes.Replace(good, []byte("[fold.f]\n"), []byte("[fold.f]\n"+x.add), 1), 0o644))
		check(t, d.cmd.Process.Signal(syscall.SIGHUP))
		if line := d.waitLog(x.says); strings.Contains(line, "changed=[f]") != (x.says == "configuration read again") {
			t.Error(line)
		}
	}
	d.put(1, 2)
	d.waitSeq(c, 2)
	d.signal()
	if code := d.end(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}
