package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// A changing fold is one whose generation is replaced.
type changing struct{ at atomic.Pointer[store.DB] }

func (f *changing) Name() string           { return "f" }
func (f *changing) Status() runtime.Status { return runtime.StoreStatus(f.at.Load()) }
func (f *changing) Store() *store.DB       { return f.at.Load() }

const changed = 60 // keys, each of which every commit gives its seq as value

func commitAll(t *testing.T, db *store.DB) {
	seq := db.State().Position().Seq + 1
	b := store.NewBatch(db.Indexes())
	for i := range changed {
		b.Put(fmt.Appendf(nil, "s%d", i), seq, 1, 0)
		check(t, b.Row(0, fmt.Appendf(nil, "k%d", i), strconv.AppendUint(nil, seq, 10), 0))
		check(t, b.End())
	}
	_, err := db.Commit(b, store.Position{Stream: "S", Created: created, Seq: seq, Time: 1}, 1)
	check(t, err)
}

type page struct {
	Rows []client.Row
	More bool
	Next struct {
		Key    client.Bytes `json:"after_key"`
		Source client.Bytes `json:"after_source"`
	}
	Snapshot struct{ Token string }
}

func (p *page) next() string {
	return "&after_key=" + url.QueryEscape(string(p.Next.Key)) + "&after_source=" + url.QueryEscape(string(p.Next.Source))
}

func askPage(t *testing.T, base, path string) (p page, at string) {
	t.Helper()
	resp, err := http.Get(base + path)
	check(t, err)
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return p, resp.Header.Get("Foldrun-Seq") + " " + resp.Header.Get("Foldrun-Generation")
}

const changingScan = "/v1/folds/f/indexes/all/scan?limit=7"

// finish reads what follows a page, with its token, and says what is not of its moment.
func finish(t *testing.T, base string, p page, at string) error {
	seq, _, _ := strings.Cut(at, " ")
	token, rows := p.Snapshot.Token, 0
	for {
		for _, row := range p.Rows {
			if rows++; string(row.Value) != seq {
				return fmt.Errorf("a row of seq %s under a token of %s", row.Value, at)
			}
		}
		if !p.More {
			break
		}
		is := ""
		if p, is = askPage(t, base, changingScan+p.next()+"&token="+token); is != at {
			return fmt.Errorf("a page of %s under a token of %s", is, at)
		}
	}
	if rows != changed {
		return fmt.Errorf("%d rows under a token, not %d", rows, changed)
	}
	return nil
}

// run runs a server until stop is called, or the test ends.
func run(t *testing.T, f serve.Fold) (base string, stop func(), ended chan error) {
	l, err := serve.Listen("127.0.0.1:0", false)
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	ended = make(chan error, 1)
	go func() { ended <- serve.New(serve.Options{Folds: []serve.Fold{f}}).Run(ctx, l) }()
	return "http://" + l.Addr().String(), stop, ended
}

// TestSnapshots reads pages under tokens while every commit changes every row and the generation is replaced: those of one
// token are of one moment. The replaced generation closes when the server ends, at the latest.
func TestSnapshots(t *testing.T) {
	dir, err := store.OpenDir(t.TempDir(), store.Options{Sync: store.SyncNever})
	check(t, err)
	build := func(n int) *store.DB {
		db, err := dir.Build(store.Identity{Fold: "f", Indexes: []store.IndexSpec{{Name: "all", Collisions: store.All}}}, n)
		check(t, err)
		commitAll(t, db)
		return db
	}
	old, f := build(1), &changing{}
	f.at.Store(old)
	base, stop, ended := run(t, f)
	var readers sync.WaitGroup
	var read atomic.Int32
	for range 3 {
		readers.Go(func() {
			for range 8 {
				p, at := askPage(t, base, changingScan+"&snapshot=1m")
				if err := finish(t, base, p, at); err != nil {
					t.Error(err)
				}
				read.Add(1)
			}
		})
	}
	for read.Load() < 4 {
		commitAll(t, old)
	}
	p, at := askPage(t, base, changingScan+"&snapshot=1m")
	now := build(2)
	f.at.Store(now)
	closed := make(chan error, 1)
	go func() { closed <- old.Close() }()
	for read.Load() < 24 {
		commitAll(t, now)
	}
	readers.Wait()
	if err := finish(t, base, p, at); err != nil || !strings.HasSuffix(at, " "+old.Generation()) {
		t.Errorf("of the replaced generation, at %s: %v", at, err)
	}
	stop()
	for _, done := range []chan error{closed, ended} {
		select {
		case err := <-done:
			check(t, err)
		case <-time.After(time.Minute):
			t.Fatal("the replaced generation does not close, or the server does not end")
		}
	}
	check(t, now.Close())
	check(t, dir.Close())
}

// TestAbandoned asks for as many snapshots as are kept at once, and leaves them: they end by themselves, or with the server,
// and the store closes.
func TestAbandoned(t *testing.T) {
	f := newFold(t)
	f.commit(entry{"s", 0, "k", "v", 0})
	base, stop, ended := run(t, f)
	s := &httptest.Server{URL: base}
	const path = "/v1/folds/f/indexes/all/scan?"
	ask(t, s, "/v1/folds/f/indexes/all/get?key=none&snapshot=2m") // replies with an error: nothing is kept
	var tokens []string
	for i := range 32 {
		keep := "2m"
		if i > 0 {
			keep = "1ms" // at least one is there while the others go
		}
		p, _ := askPage(t, s.URL, path+"snapshot="+keep)
		tokens = append(tokens, p.Snapshot.Token)
	}
	for _, token := range tokens[1:] {
		for got := ""; !strings.HasPrefix(got, "410 "); {
			if got, _ = ask(t, s, path+"token="+token); !strings.HasPrefix(got, "200 ") && !strings.Contains(got, `"code":"token_expired"`) {
				t.Fatal(got)
			}
		}
	}
	for range 31 {
		askPage(t, s.URL, path+"snapshot=2m")
	}
	for _, x := range []struct{ ask, want string }{
		{"snapshot=1s", `503 {"error":{"code":"too_many_snapshots","message":"32 snapshots are kept already","hint":"ask again when one has expired, or read the range as one stream"}}`},
		{"token=" + tokens[0], `200 {"rows":[{"key":"k","value":"v","source":"s"}],"more":false}`},
		{"token=" + tokens[0] + "&min_seq=1", `400 {"error":{"code":"bad_parameter","message":"a token is given, and a position or a time to keep it","hint":"a token is of one moment, and lives for as long as was asked first"}}`},
		{"snapshot=3m", `400 {"error":{"code":"bad_parameter","message":"snapshot is \"3m\"","hint":"write how long it is kept, up to 2m0s, as 30s"}}`},
	} {
		if got, _ := ask(t, s, path+x.ask); got != x.want {
			t.Errorf("%s\n got %s\nwant %s", x.ask, got, x.want)
		}
	}
	stop()
	check(t, <-ended)
	check(t, f.db.Close()) // which waits for whoever reads
}

// A taker takes each piece of a reply when it is asked to.
type taker struct {
	http.ResponseWriter
	pieces chan []byte
	ctx    context.Context
}

func (w *taker) Write(b []byte) (int, error) {
	select {
	case w.pieces <- bytes.Clone(b):
		return len(b), nil
	case <-w.ctx.Done():
		return 0, w.ctx.Err()
	}
}

// large commits rows of 100 kB, so that a stream has many pieces.
func (f *fold) large(n int) {
	var entries []entry
	for i := range n {
		entries = append(entries, entry{fmt.Sprintf("s%03d", i), 0, fmt.Sprintf("k%03d", i), strings.Repeat("x", 100_000), 0})
	}
	f.commit(entries...)
}

// streamed begins a stream that a slow reader reads. done is closed when its handler has returned.
func streamed(f *fold, ctx context.Context) (pieces chan []byte, done chan struct{}) {
	w := &taker{httptest.NewRecorder(), make(chan []byte), ctx}
	r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/v1/folds/f/indexes/all/scan", nil)
	r.Header.Set("Accept", "text/plain;q=0.1, application/x-ndjson")
	done = make(chan struct{})
	go func() {
		defer close(done)
		serve.New(serve.Options{Folds: []serve.Fold{f}}).ServeHTTP(w, r)
	}()
	return w.pieces, done
}

// TestBackpressure has a slow reader read 10 MB while the store changes: no more than a piece is read ahead of him, and what
// he gets is of the moment at which he began.
func TestBackpressure(t *testing.T) {
	f := newFold(t)
	f.large(100)
	pieces, done := streamed(f, t.Context())
	var all []byte
	for n := 0; ; n++ {
		var piece []byte
		select {
		case piece = <-pieces:
		case <-done:
		}
		if piece == nil {
			if n < 40 {
				t.Errorf("%d pieces", n)
			}
			break
		}
		if len(piece) > 300_000 {
			t.Errorf("a piece of %d bytes", len(piece))
		}
		all = append(all, piece...)
		if n%10 == 0 {
			f.commit(entry{fmt.Sprintf("s%03d", n), 0, "new", "", 0})
		}
	}
	lines := strings.Split(strings.TrimSpace(string(all)), "\n")
	if len(lines) != 101 || lines[100] != `{"end":{"complete":true,"rows":100}}` || strings.Contains(string(all), "new") {
		t.Errorf("%d lines, the last: %.200s", len(lines), lines[len(lines)-1])
	}
}

// TestGone has readers of streams go, or be told to: the end says where to go on, and the store closes.
func TestGone(t *testing.T) {
	f := newFold(t)
	f.large(30)
	for range 20 { // more than there may be at once: each frees its place
		ctx, cancel := context.WithCancel(t.Context())
		pieces, done := streamed(f, ctx)
		<-pieces
		cancel()
		<-done
	}
	check(t, f.db.Close())
}

// TestStop ends the server in the middle of a stream, whose last line says so.
func TestStop(t *testing.T) {
	f := newFold(t)
	f.large(300) // more than sockets hold
	base, stop, ended := run(t, f)
	req, err := http.NewRequest("GET", base+"/v1/folds/f/indexes/all/scan", nil)
	check(t, err)
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	last, n := "", 0
	for ; lines.Scan(); n++ {
		if last = lines.Text(); n == 0 {
			stop()
		}
	}
	check(t, lines.Err())
	var end struct {
		End struct {
			Complete bool
			Rows     int
			Code     string
			Next     map[string]string
		}
	}
	check(t, json.Unmarshal([]byte(last), &end))
	if e := end.End; e.Complete || e.Rows != n-1 || e.Code != "closing" || e.Next["after_key"] != fmt.Sprintf("k%03d", n-2) {
		t.Errorf("%d lines, the last: %s", n, last)
	}
	check(t, <-ended)
}
