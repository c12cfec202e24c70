package serve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/client/natsdoor"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// overNATS opens a NATS door for folds, as an instance, until the returned function is called or the test ends.
func (f *follow) overNATS(instance string, folds ...serve.Fold) (end func()) {
	f.t.Helper()
	nc, err := source.Connect(source.Target{URL: f.nc.ConnectedUrl(), Name: instance}, nil)
	check(f.t, err)
	return f.answerAt(nc, serve.Options{Folds: folds, Instance: instance, Version: "v1.2.3"})
}

func (f *follow) answerAt(nc *source.Conn, o serve.Options) (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	door := serve.NewNATS(o, nc, "foldrun")
	go func() { done <- door.Run(ctx) }()
	ended := false
	end = func() {
		if stop(); !ended {
			ended = true
			check(f.t, <-done)
		}
	}
	f.t.Cleanup(end)
	return end
}

// twin runs a second fold of the same bucket, with a store of its own; the returned function starts it.
func (f *follow) twin(change func(*runtime.FoldOptions)) (fold *runtime.Fold, start func()) {
	f.t.Helper()
	wasm, err := os.ReadFile("../../testdata/modules/echo.wasm")
	check(f.t, err)
	o := runtime.FoldOptions{Name: "f", Conn: f.nc, Source: source.Options{Bucket: "b", Filter: "a.>"}, Wasm: wasm}
	if change != nil {
		change(&o)
	}
	dir, err := store.OpenDir(f.t.TempDir(), store.Options{Sync: store.SyncNever})
	check(f.t, err)
	fold, err = runtime.NewFold(f.t.Context(), dir, o)
	check(f.t, err)
	daemon := runtime.NewDaemon(dir, []*runtime.Fold{fold}) // which runs a fold again that was paused
	ctx, end := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	f.t.Cleanup(func() {
		end()
		runs.Wait()
		check(f.t, daemon.Close(context.Background()))
		check(f.t, dir.Close())
	})
	return fold, func() { runs.Go(func() { daemon.Run(ctx) }) }
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late, again := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("no %s", what)
		}
	}
}

// request asks below the door's subject.
func (f *follow) request(subject, data string) (*nats.Msg, error) {
	ctx, done := context.WithTimeout(f.t.Context(), patience)
	defer done()
	return f.nc.RequestWithContext(ctx, "foldrun."+subject, []byte(data))
}

// answers waits until a subject is answered.
func (f *follow) answers(subject string) {
	f.t.Helper()
	eventually(f.t, "answer at "+subject, func() bool {
		_, err := f.request(subject, "")
		return err == nil
	})
}

// whoAnswers counts which instances answer some requests to the queue group.
func (f *follow) whoAnswers(requests int) map[string]int {
	f.t.Helper()
	all := map[string]int{}
	for range requests {
		switch m, err := f.request("f.status", ""); {
		case errors.Is(err, nats.ErrNoResponders):
			all["nobody"]++
		case err != nil:
			f.t.Fatal(err)
		default:
			all[m.Header.Get("Foldrun-Instance")]++
		}
	}
	return all
}

// TestNATSReplies compares the replies of both doors.
func TestNATSReplies(t *testing.T) {
	f := newFollow(t, "echo", nil)
	f.put("a.k", "v")
	f.put("a.l", "\x00\xff")
	seq := f.put("a.m", "w")
	f.until("the puts", func(s runtime.Status) bool { return s.Seq >= seq && s.CaughtUp })
	f.overNATS("node-1.example", f.Fold)
	f.answers("f.get.main")
	const http = "/v1/folds/f/indexes/main/"
	for _, x := range []struct{ subject, request, path string }{
		{"f.get.main", `{"key":"a.k"}`, http + "get?key=a.k"},
		{"f.get.main", `{"key":{"base64":"YS5r"}}`, http + "get?key=a.k"},
		{"f.get.main", `{"key":["a.k","a.l","a.none"],"limit":1}`, http + "get?key=a.k&key=a.l&key=a.none&limit=1"},
		{"f.get.main", `{"key":"a.none"}`, http + "get?key=a.none"},
		{"f.get.main", ``, http + "get"},
		{"f.get.main", `{"key":"a.k","min_seq":3,"wait":"1s"}`, http + "get?key=a.k&min_seq=3&wait=1s"},
		{"f.get.main", `{"key":"a.k","min_seq":4}`, http + "get?key=a.k&min_seq=4"},
		{"f.get.other", `{"key":"a.k"}`, "/v1/folds/f/indexes/other/get?key=a.k"},
		{"f.scan.main", ``, http + "scan"},
		{"f.scan.main", `{"prefix":"a.","limit":2,"reverse":true}`, http + "scan?prefix=a.&limit=2&reverse=1"},
		{"f.scan.main", `{"after_key":"a.k","after_source":"a.k","claimants":false}`, http + "scan?after_key=a.k&after_source=a.k&claimants=0"},
		{"f.scan.main", `{"latest":true,"limit":2}`, http + "scan?latest=1&limit=2"},
		{"f.scan.main", `{"limit":100000}`, http + "scan?limit=100000"},
		{"f.scan.main", `{"prefx":"a"}`, http + "scan?prefx=a"},
		{"f.scan.main", `{"start":{"hex":"612e6c"},"keys_only":true,"encoding":"hex"}`, http + "scan?start=a.l&keys_only=1&encoding=hex"},
		{"f.count.main", `{"prefix":"a."}`, http + "count?prefix=a."},
		{"f.why.main", `{"key":"a.k"}`, http + "why?key=a.k"},
		{"f.why", `{"source":"a.k"}`, "/v1/folds/f/why?source=a.k"},
		{"f.quarantine", ``, "/v1/folds/f/quarantine"},
		{"f.quarantine.show", `{"source":"a.k"}`, "/v1/folds/f/quarantine/show?source=a.k"},
		{"@node-1_example.f.get.main", `{"key":"a.k"}`, http + "get?key=a.k"},
		{"@node-1_example.g.get.main", `{"key":"a.k"}`, "/v1/folds/g/indexes/main/get?key=a.k"},
	} {
		f.compare(x.subject, x.request, x.path)
	}
}

// compare asks at both doors.
func (f *follow) compare(subject, request, path string) {
	f.t.Helper()
	m, err := f.request(subject, request)
	check(f.t, err)
	resp, err := http.Get(f.who.URL + path)
	check(f.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(f.t, err)
	if body := bytes.TrimSuffix(body, []byte("\n")); !bytes.Equal(body, m.Data) {
		f.t.Errorf("%s %s:\n%s\nbut %s:\n%s", subject, request, m.Data, path, body)
	}
	for _, name := range []string{"State", "Code", "Generation", "Incarnation", "Seq", "Withheld"} {
		if is, want := m.Header.Get("Foldrun-"+name), resp.Header.Get("Foldrun-"+name); is != want {
			f.t.Errorf("%s %s: Foldrun-%s is %q, over HTTP %q", subject, request, name, is, want)
		}
	}
	code, text := "", ""
	var refused struct {
		Error struct{ Code, Message string }
	}
	if resp.StatusCode != http.StatusOK {
		check(f.t, json.Unmarshal(body, &refused))
		code, text = fmt.Sprint(resp.StatusCode), refused.Error.Code+": "+refused.Error.Message
	}
	if m.Header.Get(micro.ErrorCodeHeader) != code || m.Header.Get(micro.ErrorHeader) != text {
		f.t.Errorf("%s %s: %v", subject, request, m.Header)
	}
}

// TestNATSRefusals asks what is not answered.
func TestNATSRefusals(t *testing.T) {
	f := newFollow(t, "echo", nil)
	f.until("the first commit", func(s runtime.Status) bool { return s.CaughtUp })
	f.overNATS("one", f.Fold)
	f.answers("f.get.main")
	for _, x := range []struct{ subject, request, text string }{
		{"f.get.main", `[]`, "400 bad_parameter: the request is not a JSON object"},
		{"f.get.main", `{"key":"k"} {}`, "400 bad_parameter: the request is not a JSON object"},
		{"f.get.main", `{"key":null}`, "400 bad_parameter: key is neither text, number nor boolean"},
		{"f.get.main", `{"key":{"base32":"x"}}`, "400 bad_parameter: key is neither text, number nor boolean"},
		{"f.get.main", `{"key":[["k"]]}`, "400 bad_parameter: key is neither text, number nor boolean"},
		{"f.get.A/B", `{"key":"k"}`, `404 unknown_subject: nothing answers at "foldrun.f.get.A/B"`},
		{"@one.f.verify", ``, `404 unknown_subject: nothing answers at "foldrun.@one.f.verify"`},
		{"@one.f.rebuild", ``, `404 unknown_subject: nothing answers at "foldrun.@one.f.rebuild"`},
		{"@one.f.get.main.x", ``, `404 unknown_subject: nothing answers at "foldrun.@one.f.get.main.x"`},
		{"@one.f.get.*", ``, `404 unknown_subject: nothing answers at "foldrun.@one.f.get.*"`},
		{"@one.@one.status", ``, `404 unknown_subject: nothing answers at "foldrun.@one.@one.status"`},
		{"f.get.main", `{"key":"` + strings.Repeat("k", 256<<10) + `"}`, "413 request_too_large: the request has 262154 bytes"},
		{"@one.f.get.main", `{"key":{"tuple":"("}}`, "400 bad_parameter: keytuple is not a tuple"},
	} {
		m, err := f.request(x.subject, x.request)
		check(t, err)
		if is := m.Header.Get(micro.ErrorCodeHeader) + " " + m.Header.Get(micro.ErrorHeader); is != x.text || !bytes.Contains(m.Data, []byte(`"hint":"`)) {
			t.Errorf("%s: %q, want %q; %s", x.subject, is, x.text, m.Data)
		}
	}
}

// TestNATSDiscovery asks who is there.
func TestNATSDiscovery(t *testing.T) {
	f := newFollow(t, "echo", nil)
	idle, _ := f.twin(func(o *runtime.FoldOptions) { o.Name = "idle" })
	f.until("the first commit", func(s runtime.Status) bool { return s.CaughtUp })
	f.overNATS("one", f.Fold, idle)
	f.answers("f.status")
	var info micro.Info
	f.verb("INFO.foldrun-f", &info)
	var subjects []string
	for _, e := range info.Endpoints {
		if subjects = append(subjects, e.Subject); e.QueueGroup != "foldrun" {
			t.Errorf("%+v", e)
		}
	}
	want := serve.NATSSubjects("foldrun", "one", []string{"f"})[2:]
	if !slices.Equal(subjects, want) || info.Version != "1.2.3" || info.Metadata["instance_subject"] != "foldrun.@one" {
		t.Errorf("%+v", info)
	}
	f.verb("INFO.foldrun", &info)
	if len(info.Endpoints) != 2 || info.Endpoints[0].Subject != "foldrun.status" || info.Endpoints[1].Subject != "foldrun.@one.>" {
		t.Errorf("%+v", info)
	}
	var stats micro.Stats
	f.verb("STATS.foldrun", &stats)
	var figures struct {
		Requests uint64
		Folds    []struct{ Fold, State, Generation string }
	}
	check(t, json.Unmarshal(stats.Endpoints[0].Data, &figures))
	if figures.Requests == 0 || len(figures.Folds) != 2 || figures.Folds[0].State != runtime.StateFollowing || figures.Folds[0].Generation == "" || figures.Folds[1].Fold != "idle" {
		t.Errorf("%+v", figures)
	}
	if _, err := f.nc.Request("$SRV.PING.foldrun-idle", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a fold that does not run is there: %v", err)
	}
}

func (f *follow) verb(subject string, reply any) {
	f.t.Helper()
	m, err := f.nc.Request("$SRV."+subject, nil, patience)
	check(f.t, err)
	check(f.t, json.Unmarshal(m.Data, reply))
}

// TestNATSGroup has two replicas share, and leave and join the queue group as their folds stand. The instances answer for
// themselves all the while.
func TestNATSGroup(t *testing.T) {
	f := newFollow(t, "echo", nil)
	seq := f.put("a.k", "v")
	f.until("the put", func(s runtime.Status) bool { return s.Seq >= seq && s.CaughtUp })
	other, start := f.twin(nil)
	end := f.overNATS("one", f.Fold)
	f.overNATS("two", other)
	f.answers("f.status")
	f.answers("@two.status")
	if who := f.whoAnswers(100); who["one"] != 100 {
		t.Fatalf("a fold that has nothing was asked: %v", who)
	}
	if m, err := f.request("@two.f.get.main", `{"key":"a.k"}`); err != nil || m.Header.Get(micro.ErrorHeader) != `fold_starting: fold "f" is starting` {
		t.Errorf("%v, %v", m, err)
	}
	start()
	f.shared("one", "two")

	check(t, other.Pause(t.Context()))
	eventually(t, "leave of a fold that is paused", func() bool { return f.whoAnswers(20)["two"] == 0 })
	if who := f.whoAnswers(100); who["one"] != 100 {
		t.Fatalf("%v", who)
	}
	if m, err := f.request("@two.f.get.main", `{"key":"a.k"}`); err != nil || m.Header.Get("Foldrun-State") != runtime.StatePaused || !bytes.Contains(m.Data, []byte(`"value":"v"`)) {
		t.Errorf("%v, %v", m, err)
	}
	check(t, other.Resume(t.Context(), false))
	f.shared("one", "two")

	end()
	if who := f.whoAnswers(100); who["two"] != 100 {
		t.Fatalf("after the end of one: %v", who)
	}
}

// shared waits until instances share the requests.
func (f *follow) shared(instances ...string) {
	f.t.Helper()
	eventually(f.t, "share", func() bool {
		who := f.whoAnswers(50)
		return !slices.ContainsFunc(instances, func(x string) bool { return who[x] < 5 }) && len(who) == len(instances)
	})
}

// TestNATSOtherStream makes the stream anew under a fold that halts then: what it has is of another history.
func TestNATSOtherStream(t *testing.T) {
	f := newFollow(t, "echo", func(o *runtime.FoldOptions) { o.OnDiverged = runtime.DivergedHalt })
	seq := f.put("a.k", "v")
	f.until("the put", func(s runtime.Status) bool { return s.Seq >= seq && s.CaughtUp })
	f.overNATS("one", f.Fold)
	f.answers("f.status")
	check(t, f.js.DeleteKeyValue(t.Context(), "b"))
	f.make()
	f.put("a.k", "w")
	eventually(t, "leave", func() bool { return f.whoAnswers(1)["nobody"] == 1 })
	who := natsdoor.At(f.nc, "foldrun", "one")
	p, err := who.Get(t.Context(), "f", "main", []byte("a.k"), client.Range{})
	check(t, err)
	if string(p.Rows[0].Value) != "v" || p.At.Code != source.CodeRecreated {
		t.Errorf("%+v", p)
	}
	var refused *client.Error
	_, err = who.Get(t.Context(), "f", "main", []byte("a.k"), client.Range{AtLeast: client.AtLeast{Seq: 1}})
	if !errors.As(err, &refused) || refused.Code != source.CodeRecreated || refused.Status != http.StatusConflict || refused.Hint == "" {
		t.Error(err)
	}
	_, err = natsdoor.New(f.nc, "foldrun").Get(t.Context(), "f", "main", []byte("a.k"), client.Range{})
	if !errors.As(err, &refused) || refused.Code != "nobody_answers" || refused.Hint == "" {
		t.Error(err)
	}
}
