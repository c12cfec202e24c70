package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/foldrun/foldrun/store"
)

var killsFlag = flag.Int("kills", 60, "how often TestKill kills foldrun")

// A victim is the foldrun binary over one data directory, killed and started again.
type victim struct {
	*churn
	binary, dir, data string
	rng               *rand.Rand

	reached uint64 // the highest cursor that a start has begun at
	kills   int
	early   int // of them, before the fold ran
	resumed int // starts at a cursor above 0
}

// TestKill kills the real binary with SIGKILL at random moments while a client changes keys, and compares what it
// leaves with the twin.
func TestKill(t *testing.T) {
	const between = 20 // kills between two comparisons
	if *killsFlag < 1 {
		t.Fatal("-kills must be 1 at least: without a kill this shows nothing")
	}
	rng := seeded(t)
	s := newSite(t)
	dir := t.TempDir()
	v := &victim{churn: &churn{site: s, bucket: "kill", kv: s.bucket("kill", 8), rng: rand.New(rand.NewPCG(rng.Uint64(), 1))},
		binary: filepath.Join(dir, "foldrun"), dir: dir, data: filepath.Join(dir, "data"), rng: rng}
	out, err := exec.Command("go", "build", "-o", v.binary, "../cmd/foldrun").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for v.kills < *killsFlag || v.resumed == 0 && v.kills < 10**killsFlag {
		v.hunt(min(between, max(*killsFlag-v.kills, 1)))
		v.examine()
	}
	t.Logf("%d kills, %d of them before the fold ran; %d starts resumed; the last session began at %d", v.kills, v.early, v.resumed, v.reached)
	if v.resumed == 0 {
		t.Error("no start resumed: this shows nothing")
	}
}

// hunt kills foldrun n times while keys change.
func (v *victim) hunt(n int) {
	v.t.Helper()
	var enough atomic.Bool
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for !enough.Load() && !v.t.Failed() {
			v.some(20)
			v.burst(20)
		}
	}()
	defer func() {
		enough.Store(true)
		<-changed
	}()
	for range n {
		p := v.launch()
		late := false
		if v.rng.IntN(3) > 0 { // at a moment of the fold's life, else of the start
			_, late = p.started()
			pass(time.Duration(v.rng.Int64N(int64(100 * time.Millisecond))))
		} else {
			pass(time.Duration(50e3 * math.Exp(v.rng.Float64()*math.Log(3000)))) // 50 µs to 150 ms
		}
		p.kill()
		if !late {
			v.early++
		}
	}
}

// pass lets a random time pass: the moment of a kill is what the test varies.
func pass(d time.Duration) { <-time.After(d) }

// examine looks at what the last kill left, lets foldrun catch up from there, and compares.
func (v *victim) examine() {
	v.t.Helper()
	if v.t.Failed() {
		v.t.FailNow()
	}
	cursor := v.look(func(db *store.DB) { whole(v.t, db) })
	last, clock := v.site.end(v.bucket)
	p := v.launch()
	from, _ := p.started()
	if from != cursor {
		v.t.Fatalf("the store's cursor is %d, foldrun began at %d", cursor, from)
	}
	folded := p.reach(last)
	if folded > last-cursor {
		v.t.Errorf("%d updates were folded between %d and %d", folded, cursor, last)
	}
	p.stop()
	live := v.live(v.bucket)
	v.look(func(db *store.DB) {
		clock = max(clock, db.State().ExpiredTo) // that of an idle fold goes on
		for _, text := range compare(v.t, db, fold(live, last, clock, defaultLimits)) {
			v.t.Error(text)
		}
	})
	if v.t.Failed() {
		v.t.Fatalf("after %d kills the store is not what the source makes it", v.kills)
	}
}

// look opens the store that nobody has open now, and returns its cursor. A fold that was killed before it had a
// store is at 0.
func (v *victim) look(f func(*store.DB)) uint64 {
	v.t.Helper()
	dir := openDir(v.t, v.data, store.Options{})
	defer dir.Close()
	generation := must(dir.Current("f"))(v.t)
	if generation == "" {
		return 0
	}
	db := must(dir.Open("f", generation))(v.t)
	defer db.Close()
	f(db)
	return db.State().Position().Seq
}

// A process is one start of the binary.
type process struct {
	*victim
	cmd    *exec.Cmd
	lines  chan line // of its log; closed when there are no more
	url    string
	cursor uint64
	log    strings.Builder
}

// line is what one line of the log may say.
type line struct {
	Text   string `json:"msg"`
	URL    string `json:"url"`
	Cursor uint64 `json:"cursor"`
	Seq    uint64 `json:"seq"`
}

func (v *victim) launch() *process {
	v.t.Helper()
	config := filepath.Join(v.dir, "foldrun.toml")
	text := fmt.Sprintf(`data_dir = %q
[nats.default]
url = %q
[store]
memory = "64MiB"
min_free_disk = "16MiB"
sync = %q
[http]
listen = "127.0.0.1:0"
[fold.f.source]
bucket = %q
[fold.f.module]
path = %q
[fold.f.index.b]
collisions = "latest"
`, v.data, v.URL(), []store.Sync{store.SyncAlways, store.SyncSecond, store.SyncNever}[v.rng.IntN(3)], v.bucket, must(filepath.Abs("../testdata/modules/model.wasm"))(v.t))
	check(v.t, os.WriteFile(config, []byte(text), 0o644))
	p := &process{victim: v, cmd: exec.Command(v.binary, "run", "-c", config, "--log-format", "json"), lines: make(chan line, 1000)}
	stderr := must(p.cmd.StderrPipe())(v.t)
	check(v.t, p.cmd.Start())
	go p.read(stderr)
	return p
}

func (p *process) read(stderr io.Reader) {
	defer close(p.lines)
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			l.Text = lines.Text()
		}
		p.lines <- l
	}
}

// started waits until the fold reads its stream, and returns the cursor that it began at.
func (p *process) started() (uint64, bool) {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case l, ok := <-p.lines:
			fmt.Fprintf(&p.log, "%+v\n", l)
			switch {
			case !ok:
				p.t.Fatalf("foldrun ended by itself: %v\n%s", p.cmd.Wait(), p.log.String())
			case l.Text == "foldrun started":
				p.url = l.URL
			case l.Text == "fold started":
				p.cursor = l.Seq
			case l.Text == "reading":
				p.begins(l.Cursor)
				return l.Cursor, true
			}
		case <-late:
			p.t.Fatalf("foldrun did not start within %s\n%s", patience, p.log.String())
		}
	}
}

// begins checks the cursor of a first session: it is the store's, and what was committed once stays.
func (p *process) begins(cursor uint64) {
	p.t.Helper()
	if cursor != p.cursor || cursor < p.reached {
		p.t.Errorf("the store was at %d, the first session begins at %d, an earlier one began at %d", p.cursor, cursor, p.reached)
	}
	p.reached = cursor
	if cursor > 0 {
		p.resumed++
	}
}

func (p *process) kill() {
	p.t.Helper()
	check(p.t, p.cmd.Process.Kill())
	for l := range p.lines {
		fmt.Fprintf(&p.log, "%+v\n", l)
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		p.t.Fatalf("foldrun was not killed but ended by itself: %v\n%s", err, p.log.String())
	}
	p.kills++
}

// reach waits until the fold has folded seq, and returns how many updates that took.
func (p *process) reach(seq uint64) uint64 {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		var s struct {
			Folds []struct {
				Seq    uint64
				Counts Counts
			}
		}
		req := must(http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/v1/status", nil))(p.t)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			p.t.Fatalf("no seq %d: %v\n%s", seq, err, p.log.String())
		}
		err = json.NewDecoder(resp.Body).Decode(&s)
		resp.Body.Close()
		check(p.t, err)
		if len(s.Folds) == 1 && s.Folds[0].Seq >= seq {
			return s.Folds[0].Counts.Updates
		}
	}
}

// stop ends foldrun as an operator does.
func (p *process) stop() {
	p.t.Helper()
	check(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	for l := range p.lines {
		fmt.Fprintf(&p.log, "%+v\n", l)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("after SIGTERM: %v\n%s", err, p.log.String())
	}
}
