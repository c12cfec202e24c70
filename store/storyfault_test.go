package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/foldrun/foldrun/store"
)

// TestFaultUpgrade tells a story on a disk on which one operation of ours fails, once: each in turn. Where the fold stops for it,
// or a command is refused, the operator asks again; the story comes to its end as every other, in the same process, and leaves
// nothing open and nothing lying.
func TestFaultUpgrade(t *testing.T) {
	stride := 50
	if store.EveryOne() {
		stride = 1
	}
	rng := store.Seeded(t)
	s, _ := newStory(t, "names")
	var over atomic.Bool
	var next, faults atomic.Int64
	next.Store(int64(1 + rng.IntN(stride) - stride))
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for !over.Load() && !t.Failed() {
				at := int(next.Add(int64(stride)))
				bucket := fmt.Sprint("b", at)
				makeBucket(t, s.conn, bucket)
				op, err := s.faulty(bucket, at)
				if op == "" {
					over.Store(true)
				} else {
					faults.Add(1)
				}
				if err != nil {
					t.Errorf("the operation %d, %s, failed: %v", at, op, err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d faults", faults.Load())
	if faults.Load() == 0 {
		t.Error("nothing failed")
	}
}

// faulty tells a story in which an operation of ours fails, "" if there were not so many.
func (s *storyteller) faulty(bucket string, at int) (op string, err error) {
	if s, err = newStoryteller(s.ctx, s.conn, bucket); err != nil {
		return "", err
	}
	var mu sync.Mutex
	n, fs := 0, vfs.NewMem()
	o := store.Watched(storyOptions(), fs, func(kind, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if ours(kind, name) && !strings.Contains(name, "OPTIONS") {
			if n++; n == at {
				op = kind + " " + strings.TrimPrefix(name, "/data/")
				return syscall.EIO
			}
		}
		return nil
	})
	told := &story{storyteller: s, options: o, path: "/data", insists: true, ahead: func(int, bool) {}}
	if err = told.tell(); err == nil {
		ends := stages[len(stages)-1].ends
		err = s.tidy(fs, store.On(storyOptions(), fs), "/data", slices.Clone(ends)[0])
	}
	mu.Lock()
	defer mu.Unlock()
	return op, err
}
