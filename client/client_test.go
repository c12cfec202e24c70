package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc) *Client {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return New(s.URL + "/")
}

// TestChanged ends a scan whose index is replaced under it.
func TestChanged(t *testing.T) {
	page := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		page++
		w.Header().Set("Foldrun-Generation", fmt.Sprint(page/2)) // 0, 1
		fmt.Fprint(w, `{"rows":[{"key":"k","value":"v","source":"s"}],"more":true,"next":{"after_key":"k","after_source":"s"}}`)
	})
	rows := 0
	for _, err := range c.Scan(context.Background(), "f", "i", Range{}) {
		if err == nil {
			rows++
			continue
		}
		if !errors.Is(err, ErrChanged) {
			t.Error(err)
		}
	}
	if rows != 1 || page != 2 {
		t.Errorf("%d rows of %d pages", rows, page)
	}
}

// TestStream reads streams that end in each way, and pages where there is no stream.
func TestStream(t *testing.T) {
	const row = `{"key":"k","value":"v","source":"s"}` + "\n"
	for _, x := range []struct{ kind, body, want string }{
		{"application/x-ndjson", row + row + `{"end":{"complete":true,"rows":2}}` + "\n", "2 rows, <nil>"},
		{"application/x-ndjson", strings.Repeat(row, 2500) + `{"end":{"complete":true,"rows":2500}}` + "\n", "2500 rows, <nil>"},
		{"application/x-ndjson", row + `{"end":{"complete":false,"rows":1,"code":"closing","message":"foldrun is stopping"}}` + "\n", "1 rows, client: foldrun is stopping"},
		{"application/x-ndjson", row + row, "2 rows, client: /v1/folds/f/indexes/i/scan: the stream was cut"},
		{"application/x-ndjson", row + row[:9], "1 rows, client: /v1/folds/f/indexes/i/scan: the stream was cut"},
		{"application/json", `{"rows":[` + row + `],"more":false}`, "1 rows, <nil>"},
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", x.kind)
			w.Header().Set("Foldrun-Seq", "5")
			fmt.Fprint(w, x.body)
		})
		rows, last := 0, error(nil)
		for p, err := range c.Stream(t.Context(), "f", "i", Range{}) {
			if last = err; err != nil {
				continue
			}
			if rows += len(p.Rows); len(p.Rows) > 1000 || p.At.Seq != 5 {
				t.Errorf("a page of %d rows at %d", len(p.Rows), p.At.Seq)
			}
		}
		if got := fmt.Sprintf("%d rows, %v", rows, last); got != x.want {
			t.Errorf("%s, not %s", got, x.want)
		}
	}
}

// TestAtLeast demands a position of each page, of the incarnation that the first one is of.
func TestAtLeast(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		asked = append(asked, q.Get("min_seq")+" "+q.Get("wait")+" "+q.Get("incarnation"))
		w.Header().Set("Foldrun-Incarnation", "2020-01-02T03:04:05.000000006Z")
		if len(asked) == 2 {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"error":{"code":"other_incarnation","message":"another"}}`)
			return
		}
		fmt.Fprint(w, `{"rows":[{"key":"k","value":"v","source":"s"}],"more":true,"next":{"after_key":"k","after_source":"s"}}`)
	})
	var last error
	for _, err := range c.Pages(t.Context(), "f", "i", Range{AtLeast: AtLeast{Seq: 7, Wait: 250 * time.Millisecond}}) {
		last = err
	}
	if want := []string{"7 250ms ", "7 250ms 2020-01-02T03:04:05.000000006Z"}; !slices.Equal(asked, want) || !errors.Is(last, ErrChanged) {
		t.Errorf("asked %q, %v", asked, last)
	}
}

func TestErrors(t *testing.T) {
	reply := `{"error":{"code":"unknown_fold","message":"there is no fold \"f\"","hint":"there are none"}}`
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Foldrun-Seq", "5")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, reply)
	})
	var refused *Error
	_, err := c.Status(context.Background())
	if !errors.As(err, &refused) || refused.Code != "unknown_fold" || refused.Hint != "there are none" || refused.At.Seq != 5 || errors.Is(err, ErrNotFound) {
		t.Errorf("%+v", err)
	}
	reply = `{"error":{"code":"not_found","message":"not found"}}`
	if _, err := c.Get(context.Background(), "f", "i", nil, Range{}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	reply = "404 page not found"
	if _, err := c.Verify(context.Background(), "f"); !errors.As(err, &refused) || refused.Code != "not_foldrun" {
		t.Error(err)
	}
	// A key is nobody's business but the caller's.
	_, err = New("127.0.0.1:1").Get(context.Background(), "f", "i", []byte("secret"), Range{})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestBytes(t *testing.T) {
	for _, text := range []string{"7", `{"base64":7}`, `{"base64":"!"}`, `{}`, `[]`} {
		var b Bytes
		if err := json.Unmarshal([]byte(text), &b); err == nil {
			t.Errorf("%s is read as %q", text, b)
		}
	}
}
