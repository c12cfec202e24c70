package serve_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/store"
)

// fail puts source keys into quarantine, which keep their rows: each with an update of that value, and a header.
func (f *fold) fail(value string, sources ...string) {
	f.t.Helper()
	b := store.NewBatch(f.db.Indexes())
	for _, source := range sources {
		f.seq++
		var u abi.Updates
		subject, key := u.AppendString("s."+source), u.AppendString(source)
		u.Headers = []abi.Header{{Name: u.AppendString("X-Tag"), Value: u.AppendString("\x01")}}
		u.Records = []abi.Update{{Op: abi.OpPut, Seq: f.seq, Time: 1e18, Subject: subject, Key: key, Value: u.AppendString(value), Headers: 1}}
		one := []int32{0}
		frame := make([]byte, abi.InSize(&u, one))
		b.Fail([]byte(source), f.seq, 1e18, 0, store.Failure{Code: "module", Number: 7, Message: "<no>", Module: "m", Update: frame[:abi.EncodeIn(frame, &u, one)]})
		b.Keep()
	}
	_, err := f.db.Commit(b, store.Position{Stream: "S", Created: created, Seq: f.seq, Time: 1}, 1)
	check(f.t, err)
}

func TestQuarantine(t *testing.T) {
	f := newFold(t)
	f.commit(entry{"good", 0, "k", "v", 0}, entry{"a1", 0, "k", "v", 0})
	f.fail("v", "", "a1", "a2", "b\xff")
	s := newServer(t, f)
	const path = "/v1/folds/f/quarantine"
	one := func(source, seq, more string) string {
		return `{"source":` + source + `,"seq":` + seq + `,"time":"2001-09-09T01:46:40Z","code":"module","number":7,"message":"\u003cno\u003e","module":"m",` + more + `}`
	}
	const update = `"update":{"op":"put","subject":"s.a2","headers":[{"name":"X-Tag","value":{"base64":"AQ=="}}],"value":"v"}`
	size := func(n int) string { return fmt.Sprintf(`"bytes":%d`, 121+n) } // of the frame of a source key of n bytes
	a1 := one(`"a1"`, "4", `"kept_seq":2,`+size(2))
	for _, x := range []struct{ path, want string }{
		{"", `200 {"quarantined":[` + one(`""`, "3", size(0)) + `,` + a1 + `,` + one(`"a2"`, "5", size(2)) + `,` + one(`{"base64":"Yv8="}`, "6", size(2)) + `],"more":false}`},
		{"?prefix=a&limit=1", `200 {"quarantined":[` + a1 + `],"more":true,"next":{"after":"a1"}}`},
		{"?prefix=a&limit=1&after=a1&updates=1", `200 {"quarantined":[` + one(`"a2"`, "5", size(2)+","+update) + `],"more":false}`},
		{"?after=&limit=1", `200 {"quarantined":[` + a1 + `],"more":true,"next":{"after":"a1"}}`},
		{"?after64=Yv8", `200 {"quarantined":[],"more":false}`},
		{"?prefix=zz", `200 {"quarantined":[],"more":false}`},
		{"/show?source=a2", `200 ` + one(`"a2"`, "5", size(2)+","+update)},
		{"/show?source=good", `404 {"error":{"code":"not_found","message":"the source key is not in quarantine"}}`},
		{"/show", `400 {"error":{"code":"bad_parameter","message":"no source key is given","hint":"add ?source=…, percent-encoded, or ?source64=…"}}`},
		{"?limit=0", `400 {"error":{"code":"bad_parameter","message":"limit is \"0\"","hint":"write a number from 1 to 10000, and ask for the rest with what \"next\" holds"}}`},
		{"?all=1", `400 {"error":{"code":"bad_parameter","message":"there is no parameter \"all\"","hint":"known are prefix, prefix64, prefixhex, prefixtuple, after, after64, afterhex, aftertuple, limit, updates"}}`},
		// A key that is not there, and what quarantine may have to do with it.
		{"/../indexes/all/get?key=a2", `404 {"error":{"code":"not_found","message":"not found","hint":"the source key of this name has no rows because its record, seq 5, is in quarantine: module"}}`},
		{"/../indexes/all/get?key=a1", `404 {"error":{"code":"not_found","message":"not found","hint":"3 source keys have no rows because their records are in quarantine"}}`},
		{"/../indexes/all/get?key=k", `200 {"rows":[{"key":"k","value":"v","source":"a1","kept_seq":2},{"key":"k","value":"v","source":"good"}],"more":false}`},
	} {
		got, h := ask(t, s, path+x.path)
		if got != x.want {
			t.Errorf("%s\n got %s\nwant %s", x.path, got, x.want)
		}
		if strings.HasPrefix(x.want, "200") && h.Get("Foldrun-Seq") != "6" {
			t.Errorf("%s: headers %v", x.path, h)
		}
	}
}

// TestQuarantineClient reads quarantine page by page, those that are cut for their size too, and loses nothing of it.
func TestQuarantineClient(t *testing.T) {
	f := newFold(t)
	var sources []string
	for i := range 60 {
		sources = append(sources, fmt.Sprintf("s%02d\xff", i))
	}
	f.fail(strings.Repeat("v", 100_000), sources...)
	f.fail("small", "t1", "t2")
	sources = append(sources, "t1", "t2")
	s := newServer(t, f)
	c := client.New(s.URL)
	for _, r := range []client.QuarantineRange{{}, {Limit: 7}, {Updates: true}, {Updates: true, Limit: 3}} {
		var got []string
		for q, err := range c.Quarantine(context.Background(), "f", r) {
			check(t, err)
			got = append(got, string(q.Source))
			if r.Updates != (q.Update != nil) || r.Updates && len(q.Update.Value) != 100_000 && string(q.Update.Value) != "small" {
				t.Errorf("%q: %+v", q.Source, q.Update)
			}
		}
		if !slices.Equal(got, sources) {
			t.Errorf("%+v: %q", r, got)
		}
	}
	page, next, at, err := c.QuarantinePage(context.Background(), "f", client.QuarantineRange{Updates: true})
	if err != nil || len(page) != 10 || string(next) != "s09\xff" || at.Seq != f.seq {
		t.Errorf("%d of large updates, then after %q, at %d: %v", len(page), next, at.Seq, err)
	}
	q, err := c.QuarantinedSource(context.Background(), "f", []byte("t1"))
	check(t, err)
	back, err := json.Marshal(q)
	check(t, err)
	if raw, _ := ask(t, s, "/v1/folds/f/quarantine/show?source=t1"); "200 "+string(back) != raw {
		t.Errorf("the client loses something:\n%s\n%s", raw, back)
	}
	if _, err := c.QuarantinedSource(context.Background(), "f", []byte("other")); !errors.Is(err, client.ErrNotFound) {
		t.Error(err)
	}
}
