package store_test

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// newStart returns a story on a directory on disk, of which nothing is told yet, and what writes the next three messages.
func newStart(t *testing.T) (n *story, write func()) {
	t.Helper()
	s, _ := newStory(t, "format")
	js, err := jetstream.New(s.conn)
	ok(t, err)
	kv, err := js.KeyValue(t.Context(), "format")
	ok(t, err)
	n = &story{storyteller: s, options: storyOptions(), path: filepath.Join(t.TempDir(), "data")}
	last := uint64(0)
	return n, func() {
		t.Helper()
		ok(t, n.write(kv, last))
		last += 3
	}
}

// starts starts the fold as a stage has it, and waits until it stands so.
func (s *story) starts(t *testing.T, x stage, last uint64, is ending) {
	t.Helper()
	if s.end != nil {
		ok(t, s.end())
	}
	s.stage = &x
	ok(t, s.open())
	_, err := s.arrives(last, []ending{is})
	ok(t, err)
}

// TestFormatFollowed: a foldrun that writes another format follows the source into what the one before it built, until what
// replaces that has caught up.
func TestFormatFollowed(t *testing.T) {
	n, write := newStart(t)
	write()
	n.starts(t, stage{version: 1}, 3, ending{version: 1})
	ok(t, n.end())

	n.stage = &stage{version: newer + 1, jitter: 1e6 * time.Hour} // nothing is built before it is asked for
	ok(t, n.open())
	write()
	late := time.After(patience)
	for n.fold.Status().Seq < 6 {
		moved := n.fold.Moved()
		if n.fold.Status().Seq >= 6 {
			break
		}
		select {
		case <-moved:
		case <-late:
			t.Fatalf("what serves is not followed: %+v", n.fold.Status())
		}
	}
	st := n.fold.Status()
	if n.version(st.Generation) != 1 || st.Build == nil || n.version(st.Build.Generation) != newer+1 || st.Build.State != runtime.StateQueued {
		t.Fatalf("%+v, build %+v", st, st.Build)
	}
	if id := n.fold.Store().Identity(); id.Format != 1 {
		t.Errorf("what serves is of format %d", id.Format)
	}
	ok(t, n.agrees(n.fold.Store()))
	ok(t, n.apply())
	_, err := n.arrives(6, []ending{{version: newer + 1, previous: 1}})
	ok(t, err)
	if id := n.fold.Store().Identity(); id.Format != 2 {
		t.Errorf("what was built is of format %d", id.Format)
	}
	ok(t, n.end())
}

// TestFormatRefused: what is of a format that is not read is not opened, and nothing of it is changed: a fold stops for it and
// says where, and with what to go on.
func TestFormatRefused(t *testing.T) {
	n, write := newStart(t)
	write()
	n.starts(t, stage{version: 1}, 3, ending{version: 1})
	n.starts(t, stage{version: newer + 1}, 3, ending{version: newer + 1, previous: 1})
	current, err := n.dir.Current("f")
	ok(t, err)
	ok(t, n.end())

	before := contents(t, n.path)
	n.starts(t, stage{version: 1}, 0, ending{refused: true, previous: 1})
	st := n.fold.Status()
	if where := filepath.Join("folds", "f", current) + " is of store format 2: "; !strings.Contains(st.Reason, where) || !strings.HasSuffix(st.Reason, "it reads [1]") {
		t.Errorf("the reason %q", st.Reason)
	}
	if !strings.Contains(st.Hint, "run the newer foldrun") || !strings.Contains(st.Hint, "foldrun rebuild f") {
		t.Errorf("the hint %q", st.Hint)
	}
	ok(t, n.end())
	if after := contents(t, n.path); !maps.Equal(before, after) {
		t.Errorf("the data directory was changed: %q, %q", before, after)
	}
	n.starts(t, stage{version: newer + 1}, 3, ending{version: newer + 1, previous: 1})

	ok(t, n.rollback())
	_, err = n.arrives(3, []ending{{version: 1, previous: newer + 1, back: true}})
	ok(t, err)
	n.starts(t, stage{version: 1}, 3, ending{version: 1, previous: newer + 1})
	if err := n.rollback(); !errors.Is(err, store.ErrFormat) || !strings.Contains(hint.Of(err), "run the foldrun that wrote it") {
		t.Errorf("a rollback to what is not read: %v; %s", err, hint.Of(err))
	}
	ok(t, n.end())

	late := store.Reading(n.options, 2)
	late.ReadOnly = true
	d, err := store.OpenDir(n.path, late)
	ok(t, err)
	current, err = d.Current("f")
	ok(t, err)
	_, err = d.Open("f", current)
	if !errors.Is(err, store.ErrFormat) || !strings.Contains(hint.Of(err), "the foldrun before this one") {
		t.Errorf("of an older format: %v; %s", err, hint.Of(err))
	}
	ok(t, d.Close())
}

// contents are the sums of all files below a directory, by path.
func contents(t *testing.T, path string) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	ok(t, fs.WalkDir(os.DirFS(path), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(path, name))
		all[name] = sha256.Sum256(b)
		return err
	}))
	return all
}
