package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// A moment is where a story was when it ended.
type moment struct {
	op           string // that was not done any more
	stage        int
	acknowledged bool // what is asked for in the stage
}

func (m moment) String() string {
	return fmt.Sprintf("ahead of %s, in the stage %d (acknowledged: %v)", m.op, m.stage, m.acknowledged)
}

// judge starts the fold on what a crash left, as it was configured then. It says what is wrong with what serves at once, where
// the start arrives at, and what lies there in the end.
func (s *storyteller) judge(fs vfs.FS, path string, m moment, last uint64) error {
	o := store.On(storyOptions(), fs)
	if err := s.serves(o, path, m); err != nil {
		return fmt.Errorf("at once: %w", err)
	}
	ends := s.stages[m.stage].ends
	if m.acknowledged {
		ends = ends[:1]
	}
	n := &story{storyteller: s, options: o, path: path, stage: &s.stages[m.stage]}
	if err := n.open(); err != nil {
		return err
	}
	is, err := n.arrives(last, ends)
	if err == nil && is.paused {
		if err = n.fold.Resume(s.ctx, false); err == nil {
			is.paused = false
			_, err = n.arrives(last, []ending{is})
		}
	}
	if err = errors.Join(err, n.end()); err != nil {
		return err
	}
	return s.tidy(fs, o, path, is)
}

// serves looks at what lies there before any start: a generation that serves, whole.
func (s *storyteller) serves(o store.Options, path string, m moment) (err error) {
	o.ReadOnly = true
	o = store.Reading(o, 1, 2)
	d, err := store.OpenDir(path, o)
	if err != nil && m.stage == 0 {
		return nil // there is no data directory yet
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	current, err := d.Current("f")
	if err != nil || current == "" {
		if current == "" && m.stage > 0 {
			err = errors.New("nothing serves")
		}
		return err
	}
	return s.whole(d, current)
}

// whole opens a generation, which is to agree with what its version makes of the source.
func (s *storyteller) whole(d *store.Dir, generation string) error {
	db, err := d.Open("f", generation)
	if err != nil {
		return err
	}
	return errors.Join(s.agrees(db), db.Close())
}

// tidy looks at what lies there when the fold has arrived and ended.
func (s *storyteller) tidy(fs vfs.FS, o store.Options, path string, is ending) (err error) {
	d, err := store.OpenDir(path, store.Reading(o, 1, 2))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	current, err := d.Current("f")
	p, err2 := d.Previous("f")
	list, err3 := fs.List(d.FoldPath("f"))
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	want := []string{"CURRENT", current}
	if is.previous != 0 {
		want = append(want, "PREVIOUS", p.Generation)
	}
	if is.back {
		want = append(want, "HELD")
	}
	slices.Sort(want)
	slices.Sort(list)
	if !slices.Equal(list, want) {
		return fmt.Errorf("there are %q, want %q", list, want)
	}
	for _, generation := range []string{current, p.Generation} {
		if generation == "" {
			continue
		}
		if err := s.whole(d, generation); err != nil {
			return err
		}
	}
	return nil
}

// newStory starts a server with an empty bucket.
func newStory(t *testing.T, bucket string) (*storyteller, *embedded.Server) {
	t.Helper()
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir()})
	ok(t, err)
	t.Cleanup(server.Stop)
	conn, err := source.Connect(source.Target{URL: server.URL()}, nil)
	ok(t, err)
	t.Cleanup(conn.Close)
	makeBucket(t, conn, bucket)
	s, err := newStoryteller(t.Context(), conn, bucket)
	ok(t, err)
	return s, server
}

func makeBucket(t *testing.T, conn *nats.Conn, bucket string) {
	t.Helper()
	js, err := jetstream.New(conn)
	ok(t, err)
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, History: 64, Storage: jetstream.MemoryStorage})
	ok(t, err)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ours says whether an operation is one of ours, on a file, or on a directory with all that is in it, and none of Pebble's.
func ours(kind, name string) bool {
	base := strings.TrimSuffix(filepath.Base(name), ".new")
	return kind == "mkdir" || kind == "rename" && !strings.Contains(base, ".dbtmp") || strings.Contains(name, ".gone") ||
		slices.Contains([]string{"FORMAT", "CURRENT", "NEXT", "PREVIOUS", "HELD", "PAUSED", "identity.json", "built.json", "module.wasm"}, base)
}

var digits = regexp.MustCompile(`[0-9a-f]{6,}|[0-9]+$`)

// An image is what a crash left.
type image struct {
	moment
	how string
	fs  *vfs.MemFS
}

// TestCrashUpgrade tells a story on a file system of which images are taken ahead of each operation that writes: what is there
// after kill -9, and what is there after a power cut, with some or none of what was not synced. A start on each serves, and
// arrives.
func TestCrashUpgrade(t *testing.T) { crash(t, stages) }

// TestCrashFormat is TestCrashUpgrade of a fold whose store's format changes.
func TestCrashFormat(t *testing.T) { crash(t, formatStages) }

func crash(t *testing.T, of []stage) {
	rng := store.Seeded(t)
	s, _ := newStory(t, "crash")
	s.stages = of
	mem := vfs.NewCrashableMem()
	var o store.Options
	var mu sync.Mutex
	var now moment
	var images []image
	kinds := map[string]int{}
	o = store.Watched(storyOptions(), mem, func(kind, name string) error {
		if kind == "close" || kind == "lock" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if now.op = kind + " " + strings.TrimPrefix(name, "/data/"); ours(kind, name) {
			kinds[kind+" "+digits.ReplaceAllString(filepath.Base(name), "N")]++
		}
		percent := []int{0, 50}[len(images)/2%2]
		killed, cut, err := store.Crashed(o, mem, vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		images = append(images, image{now, "killed", killed}, image{now, fmt.Sprintf("power cut, %d %% of the unsynced kept", percent), cut})
		return err
	})
	n := &story{storyteller: s, options: o, path: "/data", ahead: func(stage int, acknowledged bool) {
		mu.Lock()
		defer mu.Unlock()
		now = moment{"", stage, acknowledged}
	}}
	ok(t, n.tell())
	t.Logf("%d operations; of ours: %v", len(images)/2, kinds)
	if !store.EveryOne() {
		images = sample(rng, images, 60)
	}
	t.Logf("%d images, %d bad", len(images), s.judgeAll(t, images))
}

// sample returns some n of the images, evenly.
func sample(rng *rand.Rand, images []image, n int) (some []image) {
	stride := len(images)/n + 1
	for i := rng.IntN(stride); i < len(images); i += stride {
		some = append(some, images[i])
	}
	return some
}

// judgeAll judges images, and returns how many are bad.
func (s *storyteller) judgeAll(t *testing.T, images []image) int64 {
	var bad atomic.Int64
	var judges sync.WaitGroup
	queue := make(chan image)
	for range 6 {
		judges.Go(func() {
			for i := range queue {
				if bad.Load() >= 20 {
					continue // enough is known
				}
				if err := s.judge(i.fs, "/data", i.moment, uint64(3*len(s.stages))); err != nil {
					bad.Add(1)
					t.Errorf("%s, %v: %v", i.how, i.moment, err)
				}
			}
		})
	}
	for _, i := range images {
		queue <- i
	}
	close(queue)
	judges.Wait()
	return bad.Load()
}
