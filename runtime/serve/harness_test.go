package serve_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

const created = 1_700_000_000_123_456_789

// fold is a fold over a store that the test commits to.
type fold struct {
	t      *testing.T
	db     *store.DB
	status runtime.Status
	seq    uint64
}

func (f *fold) Name() string           { return f.status.Name }
func (f *fold) Status() runtime.Status { return f.status }
func (f *fold) Store() *store.DB       { return f.db }

// newFold returns a fold with the indexes "all" and "newest", whose collisions are "latest". Its store is checked when
// the test ends.
func newFold(t *testing.T) *fold {
	dir, err := store.OpenDir(t.TempDir(), store.Options{Sync: store.SyncNever})
	check(t, err)
	db, err := dir.Create(store.Identity{Fold: "f", Indexes: []store.IndexSpec{{Name: "all", Collisions: store.All}, {Name: "newest", Collisions: store.Latest}}})
	check(t, err)
	t.Cleanup(func() {
		if r, err := db.Check(); err == nil && r.Found > 0 {
			t.Error(r.Problems)
		}
		db.Close()
		check(t, dir.Close())
	})
	return &fold{t: t, db: db, status: runtime.Status{Name: "f", State: runtime.StateFollowing}}
}

// entry is a row to be: source yields it to index.
type entry struct {
	source     string
	index      uint16
	key, value string
	expiry     int64
}

// commit stores what one update a source key yields: entries of one source stand together.
func (f *fold) commit(entries ...entry) {
	f.t.Helper()
	b := store.NewBatch(f.db.Indexes())
	for i, e := range entries {
		if i == 0 || entries[i-1].source != e.source {
			f.seq++
			b.Put([]byte(e.source), f.seq, 1, 0)
		}
		check(f.t, b.Row(e.index, []byte(e.key), []byte(e.value), e.expiry))
		if i == len(entries)-1 || entries[i+1].source != e.source {
			check(f.t, b.End())
		}
	}
	_, err := f.db.Commit(b, store.Position{Stream: "S", Created: created, Seq: f.seq, Time: 1}, 1)
	check(f.t, err)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newServer(t *testing.T, folds ...serve.Fold) *httptest.Server {
	s := httptest.NewServer(serve.New(serve.Options{Folds: folds, Instance: "node-1", Version: "v1", Process: "p1"}))
	t.Cleanup(s.Close)
	return s
}

// ask makes a request and returns its reply as `status body`.
func ask(t *testing.T, s *httptest.Server, path string) (string, http.Header) {
	t.Helper()
	resp, err := http.Get(s.URL + path)
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	return fmt.Sprintf("%d %s", resp.StatusCode, bytes.TrimSpace(b)), resp.Header
}
