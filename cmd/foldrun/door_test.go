package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// newStore makes a data directory of a fold f with n rows in its index main, in which nothing runs.
func newStore(t *testing.T, n int) string {
	path := t.TempDir()
	dir, err := store.OpenDir(path, store.Options{})
	check(t, err)
	db, err := dir.Create(store.Identity{Fold: "f", Indexes: []store.IndexSpec{{Name: "main", Collisions: store.All}}})
	check(t, err)
	check(t, dir.SetCurrent("f", db.Generation()))
	b := store.NewBatch(db.Indexes())
	for i := range n {
		key := fmt.Appendf(nil, "k%04d", i)
		b.Put(key, uint64(i+1), 1, 0)
		check(t, b.Row(0, key, key, 0))
		check(t, b.End())
	}
	_, err = db.Commit(b, store.Position{Stream: "S", Created: 1, Seq: uint64(n), Time: 1}, 1)
	check(t, err)
	check(t, db.Close())
	check(t, dir.Close())
	return path
}

// TestLockBetweenPages scans a directory offline and finds it unlocked whenever no page is being read.
func TestLockBetweenPages(t *testing.T) {
	path := newStore(t, 10)
	c, err := new(door).reach(context.Background(), path, "", new(bytes.Buffer))
	check(t, err)
	rows := 0
	for _, err := range c.Scan(context.Background(), "f", "main", client.Range{Limit: 3}) {
		check(t, err)
		rows++
		dir, err := store.OpenDir(path, store.Options{})
		check(t, err)
		check(t, dir.Close())
	}
	if rows != 10 {
		t.Errorf("%d rows", rows)
	}
}

// TestStaleAddress: the port that a killed foldrun noted is another's by now.
func TestStaleAddress(t *testing.T) {
	path := newStore(t, 1)
	l, err := serve.Listen("127.0.0.1:0", false)
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve.New(serve.Options{Process: "other"}).Run(ctx, l) }()
	defer func() {
		stop()
		check(t, <-done)
	}()
	at := address{"http://" + l.Addr().String(), "mine"}
	check(t, at.write(path))
	var stderr bytes.Buffer
	c, err := new(door).reach(ctx, path, "", &stderr)
	check(t, err)
	if want := "foldrun: note: nothing answers at " + at.url + ", reading " + path + "\n"; stderr.String() != want {
		t.Errorf("%q, not %q", stderr.String(), want)
	}
	if _, err := c.Get(ctx, "f", "main", []byte("k0000"), client.Range{}); err != nil {
		t.Error(err)
	}
	if !(address{at.url, "other"}).answers(ctx, http.DefaultClient) || !(address{url: at.url}).answers(ctx, http.DefaultClient) {
		t.Error("it is not recognized")
	}
}

// TestNotFoldrun: something else answers.
func TestNotFoldrun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"))
			conn.Close()
		}
	}()
	if (address{url: "http://" + l.Addr().String()}).answers(context.Background(), http.DefaultClient) {
		t.Error("taken for a foldrun")
	}
}

func TestAddress(t *testing.T) {
	path := t.TempDir()
	if a, err := readAddress(path); err != nil || a != (address{}) {
		t.Error(a, err)
	}
	want := address{"http://127.0.0.1:1", "p"}
	check(t, want.write(path))
	if a, err := readAddress(path); err != nil || a != want {
		t.Error(a, err)
	}
	check(t, forgetAddress(path))
	check(t, forgetAddress(path))
	if left, _ := os.ReadDir(path); len(left) > 0 {
		t.Error(left)
	}
}

// TestHelp: every verb has an example, and help that ends like a sentence where it is one.
func TestHelp(t *testing.T) {
	for _, command := range commands {
		c := command()
		if !strings.Contains(c.Example, "foldrun "+c.Name()) {
			t.Errorf("%s has no example", c.Name())
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: %q", c.Name(), c.Short)
		}
	}
}

// TestEndedMeanwhile: the foldrun that was to act ends before it replies.
func TestEndedMeanwhile(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	for _, args := range [][]string{{"reload"}, {"rollback", "users"}, {"status"}} {
		var told bytes.Buffer
		if code := run(t.Context(), append(args, "--url", s.URL), nil, io.Discard, &told); code != exitFailed {
			t.Errorf("%s: exit code %d", args, code)
		}
		if text := told.String(); !strings.HasPrefix(text, "foldrun: error: client: the connection ended before there was a reply: ") || !strings.Contains(text, "\nfoldrun: hint: foldrun has ended meanwhile") {
			t.Errorf("%s: %s", args, text)
		}
	}
}
