package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime/rig"
)

// restartKeys is how many keys the bucket has that the ten folds of BenchmarkRestart hold.
const restartKeys = 10_000

// BenchmarkRestart starts the program itself, again and again, over folds that hold all of their bucket: ten of a lean module, ten
// of a Go module, and one of -updates rows. It measures from exec to the first answer over HTTP, to a row that is read, and to
// when every fold has caught up; and beside it what the start that built them took, and one whose compiled modules are gone.
func BenchmarkRestart(b *testing.B) {
	s := startBroker(b)
	s.fill(b, "small", restartKeys)
	for _, x := range []struct {
		name, bucket string
		folds, keys  int
		wasm         func(testing.TB) []byte
	}{
		{"ten-folds", "small", 10, restartKeys, named("rekey")},
		{"ten-folds-Go", "small", 10, restartKeys, goRekey},
		{"large", "large", 1, *updates, named("rekey")},
	} {
		b.Run(x.name, func(b *testing.B) {
			if x.bucket == "large" {
				s.fill(b, x.bucket, x.keys)
			}
			p := &program{url: s.url, bucket: x.bucket, folds: x.folds, seq: uint64(x.keys), dir: b.TempDir()}
			p.make(b, x.wasm(b))
			b.Logf("built: %s", p.once(b))
			must(b, os.RemoveAll(filepath.Join(p.dir, "data", "cache")))
			b.Logf("nothing compiled: %s", p.once(b))
			var all [3][]time.Duration
			for b.Loop() {
				t := p.once(b)
				for i, x := range []time.Duration{t.answer, t.read, t.caughtUp} {
					all[i] = append(all[i], x)
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, name := range []string{"answer", "read", "caught-up"} {
				b.ReportMetric(percentile(all[i], 50).Seconds()*1000, name+"-p50-ms")
			}
			b.ReportMetric(percentile(all[2], 100).Seconds()*1000, "caught-up-max-ms")
		})
	}
}

// A program is foldrun, built, with a configuration of some folds of one bucket.
type program struct {
	dir, url, bucket string
	folds            int
	seq              uint64 // the bucket's last
	binary, listen   string
}

// started is how long a start took, from exec.
type started struct{ answer, read, caughtUp time.Duration }

func (s started) String() string {
	return fmt.Sprintf("%s to an answer, %s to a row, %s to caught up", s.answer.Round(time.Millisecond), s.read.Round(time.Millisecond), s.caughtUp.Round(time.Millisecond))
}

// make builds the program and writes its configuration.
func (p *program) make(b *testing.B, wasm []byte) {
	p.binary = filepath.Join(p.dir, "foldrun")
	build := exec.Command("go", "build", "-o", p.binary, "./cmd/foldrun")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	p.listen = l.Addr().String()
	must(b, l.Close())
	must(b, os.WriteFile(filepath.Join(p.dir, "module.wasm"), wasm, 0o666))
	config := fmt.Sprintf("data_dir = \"data\"\n[nats.default]\nurl = %q\n[store]\nmemory = \"1GiB\"\n[http]\nlisten = %q\n", p.url, p.listen)
	for i := range p.folds {
		config += fmt.Sprintf("[fold.f%d]\nsource = { bucket = %q }\nmodule = { path = \"module.wasm\" }\n", i, p.bucket)
	}
	must(b, os.WriteFile(filepath.Join(p.dir, "foldrun.toml"), []byte(config), 0o666))
}

// once starts the program, and ends it when every fold has caught up.
func (p *program) once(b *testing.B) (t started) {
	var log bytes.Buffer
	c := exec.Command(p.binary, "run", "-c", filepath.Join(p.dir, "foldrun.toml"))
	c.Stdout, c.Stderr = &log, &log
	began := time.Now()
	must(b, c.Start())
	late := time.AfterFunc(20*time.Minute, func() { c.Process.Kill() })
	defer late.Stop()
	gone := make(chan error, 1)
	go func() { gone <- c.Wait() }()
	var err error // of the last question
	over := func(ended error) { b.Fatalf("foldrun ended: %v; last: %v\n%s", ended, err, log.String()) }
	wait := func(until func() bool) time.Duration {
		for !until() {
			select {
			case ended := <-gone:
				over(ended)
			case <-time.After(time.Millisecond):
			}
		}
		return time.Since(began)
	}
	at, ctx := client.New("http://"+p.listen), context.Background()
	row := fmt.Appendf(nil, "%s/%s", value(7)[:8], rig.Key(7))
	var status *client.Status
	t.answer = wait(func() (ok bool) {
		status, err = at.Status(ctx)
		return err == nil && len(status.Folds) == p.folds
	})
	t.read = wait(func() bool {
		if status, err = at.Status(ctx); err != nil || len(status.Folds[0].Indexes) == 0 {
			return false
		}
		_, err = at.Get(ctx, "f0", status.Folds[0].Indexes[0].Name, row, client.Range{})
		return err == nil
	})
	t.caughtUp = wait(func() bool {
		status, err = at.Status(ctx)
		return err == nil && !slices.ContainsFunc(status.Folds, func(f client.FoldStatus) bool { return !f.CaughtUp || f.Seq != p.seq })
	})
	must(b, c.Process.Signal(syscall.SIGTERM))
	if err := <-gone; err != nil {
		over(err)
	}
	if testing.Verbose() {
		b.Log(log.String())
	}
	return t
}
