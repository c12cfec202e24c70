package serve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// replies are what is asked in TestReplies, of an index or by its whole path, and what comes back.
var replies = []struct{ path, want string }{
	{"all/get?key=k", `200 {"rows":[{"key":"k","value":"one","source":"s1"},{"key":"k","value":"two","source":"s2"}],"more":false}`},
	{"all/get?key=k&reverse=1&limit=1", `200 {"rows":[{"key":"k","value":"two","source":"s2"}],"more":true,"next":{"after_key":"k","after_source":"s2"}}`},
	{"all/get?key=k&reverse=true&limit=1&after_key=k&after_source=s2", `200 {"rows":[{"key":"k","value":"one","source":"s1"}],"more":false}`},
	{"all/get?key=k&after_key=k&after_source=s2", `200 {"rows":[],"more":false}`},
	{"newest/get?key=k", `200 {"rows":[{"key":"k","value":"new","source":"s2","seq":2}],"more":false}`},
	{"newest/get?key=k&claimants=1", `200 {"rows":[{"key":"k","value":"old","source":"s1","seq":1},{"key":"k","value":"new","source":"s2","seq":2}],"more":false}`},
	{"all/get?key=k&latest=1", `200 {"rows":[{"key":"k","value":"two","source":"s2","seq":2}],"more":false}`},
	{"all/scan?start=k&end=l&reverse=1&latest=1", `200 {"rows":[{"key":"k","value":"two","source":"s2","seq":2}],"more":false}`},
	{"all/scan?latest=1&limit=1&after_key=k&after_source=s2", `200 {"rows":[{"key":"soon","value":"gone","source":"s1","seq":1,"expires":"2033-05-18T03:33:20Z"}],"more":true,"next":{"after_key":"soon","after_source":"s1"}}`},
	{"newest/get?key=k&latest=1", `200 {"rows":[{"key":"k","value":"new","source":"s2","seq":2}],"more":false}`},
	{"newest/scan", `200 {"rows":[{"key":"k","value":"new","source":"s2","seq":2}],"more":false}`},
	{"all/get?key=soon", `200 {"rows":[{"key":"soon","value":"gone","source":"s1","expires":"2033-05-18T03:33:20Z"}],"more":false}`},
	// Bytes: percent-encoded, base64 of both alphabets, padded or not, and back.
	{"all/get?key=%00%ff", `200 {"rows":[{"key":{"base64":"AP8="},"value":{"base64":"G1szMW0="},"source":"s3"}],"more":false}`},
	{"all/get?key64=AP8", `200 {"rows":[{"key":{"base64":"AP8="},"value":{"base64":"G1szMW0="},"source":"s3"}],"more":false}`},
	{"all/get?key64=AP8%3D", `200 {"rows":[{"key":{"base64":"AP8="},"value":{"base64":"G1szMW0="},"source":"s3"}],"more":false}`},
	{"all/scan?prefix=%c3%b6", `200 {"rows":[{"key":"ö\t\"\\\n","value":"{\"a\":\"<&>\"}","source":"s3"}],"more":false}`},
	{"all/get?key=%2B%26%3D%25%2F%3F%23", `200 {"rows":[{"key":"+&=%/?#","value":"v","source":"s5"}],"more":false}`},
	// Several keys, in their order, and a page that ends among them.
	{"all/get?key=soon&key=none&key=k&key=nor", `200 {"rows":[{"key":"soon","value":"gone","source":"s1","expires":"2033-05-18T03:33:20Z"},{"key":"k","value":"one","source":"s1"},{"key":"k","value":"two","source":"s2"}],"more":false,"missing":["none","nor"]}`},
	{"all/get?key=none&key=k&key=nor&limit=1", `200 {"rows":[{"key":"k","value":"one","source":"s1"}],"more":true,"next":{"after_key":"k","after_source":"s1"},"missing":["none"]}`},
	{"all/get?key=none&key=k&key=nor&after_key=k&after_source=s1", `200 {"rows":[{"key":"k","value":"two","source":"s2"}],"more":false,"missing":["nor"]}`},
	{"all/get?key=", `200 {"rows":[{"key":"","value":"","source":"s4"}],"more":false}`},
	// Ranges.
	{"all/scan?limit=1", `200 {"rows":[{"key":"","value":"","source":"s4"}],"more":true,"next":{"after_key":"","after_source":"s4"}}`},
	{"all/scan?start=k&end=l&after_key=k&after_source=s1", `200 {"rows":[{"key":"k","value":"two","source":"s2"}],"more":false}`},
	{"all/scan?start64=AA&end64=AQ", `200 {"rows":[{"key":{"base64":"AP8="},"value":{"base64":"G1szMW0="},"source":"s3"}],"more":false}`},
	{"all/scan?prefix=none", `200 {"rows":[],"more":false}`},
	{"all/scan?start=l&end=k", `200 {"rows":[],"more":false}`},
	// What is not there.
	{"all/get?key=none", `404 {"error":{"code":"not_found","message":"not found"}}`},
	{"/v1/folds/g/indexes/all/get?key=k", `404 {"error":{"code":"unknown_fold","message":"there is no fold \"g\"","hint":"there are \"f\""}}`},
	{"/v1/folds/f/indexes/x/scan", `404 {"error":{"code":"unknown_index","message":"fold \"f\" has no index \"x\"","hint":"it has \"all\", \"newest\""}}`},
	{"/v1/folds/f/indexes/all", `404 {"error":{"code":"unknown_path","message":"there is nothing at /v1/folds/f/indexes/all","hint":"GET /v1/status lists the folds"}}`},
	// Bad parameters.
	{"all/get", `400 {"error":{"code":"bad_parameter","message":"no key is given","hint":"add ?key=…, percent-encoded, or ?key64=…"}}`},
	{"all/get?key=k&key64=aw", `400 {"error":{"code":"bad_parameter","message":"a key is given twice","hint":"give each once"}}`},
	{"all/get?key=k&after_key=l&after_source=s", `400 {"error":{"code":"bad_parameter","message":"after_key is none of the keys","hint":"give it as \"next\" of the page before has it"}}`},
	{"all/get?" + strings.Repeat("key=k&", 101), `400 {"error":{"code":"bad_parameter","message":"101 keys are given","hint":"ask for 1 to 100"}}`},
	{"all/scan?prefix=k&prefix64=aw", `400 {"error":{"code":"bad_parameter","message":"prefix is given 2 times","hint":"give it once, in one form"}}`},
	{"all/scan?prefix=k&prefix=l", `400 {"error":{"code":"bad_parameter","message":"prefix is given 2 times","hint":"give it once, in one form"}}`},
	{"all/get?key64=%21", `400 {"error":{"code":"bad_parameter","message":"key64 is not base64","hint":"a - and a _ stand for + and /, which a query would have to escape"}}`},
	{"all/get?key=k&latest=1&claimants=1", `400 {"error":{"code":"bad_parameter","message":"claimants and latest are given","hint":"give one of them: every claimant of a key, or the latest"}}`},
	{"all/scan?latest=1&collisions=1", `400 {"error":{"code":"bad_parameter","message":"collisions and latest are given","hint":"collisions are every claimant of a key: leave latest out"}}`},
	{"all/scan?limit=0", `400 {"error":{"code":"bad_parameter","message":"limit is \"0\"","hint":"write a number from 1 to 10000, and ask for the rest with what \"next\" holds"}}`},
	{"all/scan?limit=10001", `400 {"error":{"code":"bad_parameter","message":"limit is \"10001\"","hint":"write a number from 1 to 10000, and ask for the rest with what \"next\" holds"}}`},
	{"all/scan?reverse=yes", `400 {"error":{"code":"bad_parameter","message":"reverse is \"yes\"","hint":"write 1 or 0"}}`},
	{"all/scan?after_key=k", `400 {"error":{"code":"bad_parameter","message":"one of after_key and after_source is given","hint":"give both, as \"next\" of the page before has them"}}`},
	{"all/scan?prefx=k", `400 {"error":{"code":"bad_parameter","message":"there is no parameter \"prefx\"","hint":"known are prefix, prefix64, prefixhex, prefixtuple, start, start64, starthex, starttuple, end, end64, endhex, endtuple, collisions, after_key, after_key64, after_keyhex, after_keytuple, after_source, after_source64, after_sourcehex, after_sourcetuple, encoding, json, tuple, reverse, keys_only, claimants, latest, min_seq, wait, incarnation, token, snapshot, limit"}}`},
	{"all/scan?prefix=%zz", `400 {"error":{"code":"bad_parameter","message":"the query is malformed: invalid URL escape \"%zz\"","hint":"percent-encode every byte but letters, digits and -_.~"}}`},
	{"/v1/status?x=1", `400 {"error":{"code":"bad_parameter","message":"there is no parameter \"x\"","hint":"nothing is asked with parameters here"}}`},
	{"/healthz", "200 ok"},
}

func TestReplies(t *testing.T) {
	f := newFold(t)
	f.commit(
		entry{"s1", 0, "k", "one", 0}, entry{"s1", 0, "soon", "gone", 2_000_000_000_000_000_000}, entry{"s1", 1, "k", "old", 0},
		entry{"s2", 0, "k", "two", 0}, entry{"s2", 1, "k", "new", 0},
		entry{"s3", 0, "\x00\xff", "\x1b[31m", 0}, entry{"s3", 0, "ö\t\"\\\n", `{"a":"<&>"}`, 0},
		entry{"s4", 0, "", "", 0},
		entry{"s5", 0, "+&=%/?#", "v", 0},
	)
	s := newServer(t, f)
	for _, x := range replies {
		path := x.path
		if !strings.HasPrefix(path, "/") {
			path = "/v1/folds/f/indexes/" + path
		}
		if got, h := ask(t, s, path); got != x.want {
			t.Errorf("%s\n got %s\nwant %s", x.path, got, x.want)
		} else if h.Get("Foldrun-Process") != "p1" {
			t.Errorf("%s: no Foldrun-Process", x.path)
		}
	}
	_, h := ask(t, s, "/v1/folds/f/indexes/all/get?key=none")
	for name, want := range map[string]string{"Foldrun-Seq": "5", "Foldrun-Generation": f.db.Generation(),
		"Foldrun-Incarnation": "2023-11-14T22:13:20.123456789Z", "Foldrun-State": "following", "Foldrun-Code": "", "Content-Type": "application/json"} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
}

func TestMethods(t *testing.T) {
	s := newServer(t)
	resp, err := http.Post(s.URL+"/v1/status", "text/plain", nil)
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	resp, err = http.Head(s.URL + "/v1/status")
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength == 0 {
		t.Errorf("%s %d", resp.Status, resp.ContentLength)
	}
}

// TestHost refuses what a web page's name brings here.
func TestHost(t *testing.T) {
	s := newServer(t)
	for host, want := range map[string]int{"127.0.0.1": 200, "127.0.0.1:8480": 200, "localhost:1": 200, "[::1]:8480": 200, "[::1]": 200,
		"rebind.example": 403, "rebind.example:8480": 403, "localhost.example": 403} {
		req, err := http.NewRequest("GET", s.URL+"/v1/status", nil)
		check(t, err)
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, not %d", host, resp.StatusCode, want)
		}
	}
}

// TestPages reads an index in pages of every size, in both directions, and gets what one page has.
func TestPages(t *testing.T) {
	f := newFold(t)
	var entries []entry
	for i := range 40 {
		source := fmt.Sprintf("s%02d\x00%c", i, i)
		for j := range 3 {
			entries = append(entries, entry{source, uint16(j % 2), fmt.Sprintf("k%d\xff", (i+j)%7), strconv.Itoa(i), 0})
		}
	}
	f.commit(entries...)
	c := client.New(newServer(t, f).URL)
	ctx := context.Background()
	for _, index := range []string{"all", "newest"} {
		for _, base := range []client.Range{{}, {Reverse: true}, {Claimants: true}, {Latest: true}, {Latest: true, Reverse: true}, {Prefix: []byte("k3")}, {Start: []byte("k2"), End: []byte("k5"), Reverse: true}} {
			base.Limit = 10_000
			whole, err := c.Page(ctx, "f", index, base)
			check(t, err)
			if len(whole.Rows) == 0 || whole.Next != nil {
				t.Fatalf("%s %+v: %d rows", index, base, len(whole.Rows))
			}
			for limit := 1; limit <= len(whole.Rows)+1; limit++ {
				r := base
				r.Limit = limit
				var rows []client.Row
				for row, err := range c.Scan(ctx, "f", index, r) {
					check(t, err)
					rows = append(rows, row)
				}
				if !reflect.DeepEqual(rows, whole.Rows) {
					t.Fatalf("%s %+v: pages of %d differ", index, base, limit)
				}
			}
		}
	}
	var claimants []client.Row
	for r := (client.Range{Limit: 2}); ; {
		p, err := c.Get(ctx, "f", "all", []byte("k1\xff"), r)
		check(t, err)
		claimants = append(claimants, p.Rows...)
		if r.After = p.Next; r.After == nil {
			break
		}
	}
	whole, err := c.Get(ctx, "f", "all", []byte("k1\xff"), client.Range{})
	check(t, err)
	if !reflect.DeepEqual(claimants, whole.Rows) || len(claimants) < 5 {
		t.Errorf("%d claimants in pages, %d in one", len(claimants), len(whole.Rows))
	}
}

// TestBytes holds pages to a size, and lets one row of any size through.
func TestBytes(t *testing.T) {
	f := newFold(t)
	large := strings.Repeat("\x00", 700<<10)
	f.commit(entry{"a", 0, "a", large + large, 0}, entry{"b", 0, "b", large, 0}, entry{"c", 0, "c", large, 0}, entry{"d", 0, "d", "", 0})
	c := client.New(newServer(t, f).URL)
	var sizes []int
	for r := (client.Range{}); ; {
		p, err := c.Page(context.Background(), "f", "all", r)
		check(t, err)
		sizes = append(sizes, len(p.Rows))
		if r.After = p.Next; r.After == nil {
			break
		}
	}
	if !slices.Equal(sizes, []int{1, 1, 2}) {
		t.Errorf("pages of %d rows", sizes)
	}
}

// TestOneView commits while others read: rows and headers are always of one commit.
func TestOneView(t *testing.T) {
	f := newFold(t)
	round := func() {
		var entries []entry
		for i := range 10 {
			entries = append(entries, entry{fmt.Sprintf("s%d", i), 0, fmt.Sprintf("k%d", i), strconv.FormatUint(f.seq+10, 10), 0})
		}
		f.commit(entries...)
	}
	round()
	c := client.New(newServer(t, f).URL)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for seen := map[uint64]bool{}; len(seen) < 20; {
				p, err := c.Page(context.Background(), "f", "all", client.Range{})
				if err != nil || len(p.Rows) != 10 {
					t.Errorf("no page of 10 rows: %+v, %v", p, err)
					return
				}
				seen[p.At.Seq] = true
				for _, row := range p.Rows {
					if string(row.Value) != strconv.FormatUint(p.At.Seq, 10) {
						t.Errorf("a row of %s under the position %d", row.Value, p.At.Seq)
						return
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { readers.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return
		default:
			round()
		}
	}
}

// TestRun serves on a listener until told to stop, lets a reply under way end, and refuses headers without end.
func TestRun(t *testing.T) {
	f := newFold(t)
	f.commit(entry{"s", 0, "k", "v", 0})
	l, err := serve.Listen("127.0.0.1:0", false)
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve.New(serve.Options{Folds: []serve.Fold{f}}).Run(ctx, l) }()
	c := client.New(l.Addr().String())
	_, err = c.Get(ctx, "f", "all", []byte("k"), client.Range{})
	check(t, err)
	_, err = c.Get(ctx, "f", "all", bytes.Repeat([]byte{0xff}, 16<<10), client.Range{})
	if !isNotFound(err) {
		t.Errorf("the longest key: %v", err)
	}
	resp, err := http.Get("http://" + l.Addr().String() + "/v1/status?x=" + strings.Repeat("x", 1<<20))
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(resp.Status)
	}
	stop()
	select {
	case err := <-done:
		check(t, err)
	case <-time.After(time.Minute):
		t.Fatal("it does not stop")
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func isNotFound(err error) bool {
	e, ok := err.(*client.Error)
	return ok && e.Is(client.ErrNotFound)
}

func TestListen(t *testing.T) {
	if l, err := serve.Listen("0.0.0.0:0", false); err == nil {
		l.Close()
		t.Error("listens for everybody")
	}
}

// FuzzBytes sends any bytes there and back: as a key in the query, and as key, value and source in the reply.
func FuzzBytes(f *testing.F) {
	for _, s := range []string{"", "a", "\x00", "\xff", "\t\"\\\r\n", "ö\u2028\u0085\ufffd", "{\"base64\":\"\"}", "\x7f", "+ %"} {
		f.Add([]byte(s))
	}
	dir, err := store.OpenDir(f.TempDir(), store.Options{Sync: store.SyncNever})
	check(f, err)
	db, err := dir.Create(store.Identity{Fold: "f", Indexes: []store.IndexSpec{{Name: "all", Collisions: store.All}}})
	check(f, err)
	f.Cleanup(func() { db.Close(); dir.Close() })
	s := serve.New(serve.Options{Folds: []serve.Fold{&fold{db: db, status: runtime.Status{Name: "f"}}}})
	seq := uint64(0)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1024 {
			return
		}
		seq++
		batch := store.NewBatch(db.Indexes())
		batch.Put(b, seq, 1, 0)
		check(t, batch.Row(0, b, b, 0))
		check(t, batch.End())
		_, err := db.Commit(batch, store.Position{Stream: "S", Created: 1, Seq: seq, Time: 1}, 1)
		check(t, err)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/v1/folds/f/indexes/all/get?key="+url.QueryEscape(string(b)), nil))
		var reply struct{ Rows []client.Row }
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || len(reply.Rows) != 1 {
			t.Fatalf("%q: %v: %s", b, err, w.Body)
		}
		row := reply.Rows[0]
		if !bytes.Equal(row.Key, b) || !bytes.Equal(row.Value, b) || !bytes.Equal(row.Source, b) {
			t.Fatalf("%q came back as %q, %q, %q", b, row.Key, row.Value, row.Source)
		}
		again, err := json.Marshal(row.Key)
		check(t, err)
		var back client.Bytes
		check(t, json.Unmarshal(again, &back))
		if !bytes.Equal(back, b) {
			t.Fatalf("%q is encoded as %s", b, again)
		}
	})
}
