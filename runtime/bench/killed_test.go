package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// victimOf, set in the environment to a broker's URL, makes the test binary a process that folds the bucket of TestBuildKilled
// into the data directory of victimDir, and says on its standard output from where on, and each cursor that it reaches.
const (
	victimOf  = "FOLDRUN_BENCH_VICTIM"
	victimDir = "FOLDRUN_BENCH_VICTIM_DIR"
)

// killedUpdates are so many that most are folded while the fold is far behind.
const killedUpdates = 120_000

func victim(url string) {
	nc, err := source.Connect(source.Target{URL: url}, nil)
	if err != nil {
		panic(err)
	}
	f, err := killedFold(nc, os.Getenv(victimDir))
	if err != nil {
		panic(err)
	}
	go f.Run(context.Background())
	for {
		moved := f.Moved()
		if db := f.Store(); db != nil {
			at := db.State().Position().Seq
			fmt.Println(at)
			if at >= killedUpdates {
				return
			}
		}
		<-moved
	}
}

// killedFold has so little memory that what waits is stored many times.
func killedFold(nc *source.Conn, dir string) (*runtime.Fold, error) {
	m, err := store.SplitMemory(48<<20, 1, 0)
	if err != nil {
		return nil, err
	}
	d, err := store.OpenDir(dir, store.Options{Memory: m})
	if err != nil {
		return nil, err
	}
	wasm, err := os.ReadFile("../../testdata/modules/rekey.wasm")
	if err != nil {
		return nil, err
	}
	return runtime.NewFold(context.Background(), d, runtime.FoldOptions{Name: "bench", Conn: nc, Source: source.Options{Bucket: "bench"}, Wasm: wasm})
}

// TestBuildKilled kills a process with SIGKILL when its cursor has moved twice, again and again while it builds a fold: each start goes
// on from what the last one said that it had, and what stands in the end is whole, and what a build that was left alone made.
func TestBuildKilled(t *testing.T) {
	s := startBroker(t)
	s.fill(t, "bench", killedUpdates)
	dir, kills := "", 0
	for round := 0; kills < 3 && round < 50; round++ { // how far one comes before it is killed is the machine's
		dir = t.TempDir()
		kills += s.killed(t, dir)
	}
	if kills < 3 {
		t.Errorf("killed %d times: too few to mean anything", kills)
	}
	t.Logf("killed %d times", kills)
	digest := ""
	for _, dir := range []string{dir, t.TempDir()} {
		f, err := killedFold(s.nc, dir)
		must(t, err)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		wait(f, killedUpdates)
		digest = checked(t, f, killedUpdates, digest)
		stop()
		must(t, <-ended)
		must(t, f.Close(context.Background()))
	}
}

// killed builds a fold in a directory, and returns how often it was killed before it had all.
func (b *broker) killed(t *testing.T, dir string) (kills int) {
	t.Helper()
	for reached := uint64(0); ; kills++ {
		from, to := b.hunt(t, dir)
		if from < reached || to < from {
			t.Fatalf("it went on from %d, and had said %d; then it said %d", from, reached, to)
		}
		if reached = to; reached >= killedUpdates {
			return kills
		}
	}
}

// hunt starts a victim, kills it when its cursor has moved twice, or when it has all, and returns what it said first and last.
func (b *broker) hunt(t *testing.T, dir string) (from, to uint64) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), victimOf+"="+b.url, victimDir+"="+dir)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	defer c.Wait()
	defer c.Process.Kill()
	lines := bufio.NewReader(out)
	for n := 0; ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the fold ended after %d of %d: %v", to, killedUpdates, err)
		}
		var at uint64
		_, err = fmt.Sscan(strings.TrimSpace(line), &at)
		must(t, err)
		if n == 0 {
			from = at
		}
		if n == 0 || at > to {
			n++
		}
		if to = at; at >= killedUpdates || n > 2 {
			return from, to
		}
	}
}
