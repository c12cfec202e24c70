package runtime

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

func TestSmoke(t *testing.T) {
	s, err := embedded.Start(embedded.Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	nc, err := source.Connect(source.Target{URL: s.URL()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx := context.Background()
	js, _ := jetstream.New(nc)
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	const n = 20000
	for i := range n {
		js.PublishAsync(fmt.Sprintf("$KV.b.k%07d", i), []byte(fmt.Sprintf("%08d-----------", i*7919%n)))
	}
	<-js.PublishAsyncComplete()
	wasm, err := os.ReadFile("../testdata/modules/rekey.wasm")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := store.SplitMemory(256<<20, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := store.OpenDir(t.TempDir(), store.Options{Memory: mem})
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFold(ctx, dir, FoldOptions{Name: "f", Conn: nc, Source: source.Options{Bucket: "b"}, Wasm: wasm})
	if err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan error)
	start := time.Now()
	go func() { done <- f.Run(run) }()
	for {
		moved := f.Moved()
		if s := f.Status(); s.Seq >= n {
			break
		}
		<-moved
	}
	t.Log(time.Since(start))
	for range 5 {
		start = time.Now()
		moved := f.Moved()
		kv.Put(ctx, "k0000001", []byte("hello world"+fmt.Sprint(start)))
		<-moved
		t.Log("live", time.Since(start))
	}
	t.Logf("%+v", f.Status())
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r, err := f.Store().Check()
	if err != nil || r.Found > 0 {
		t.Fatal(err, r)
	}
	f.Close(ctx)
	dir.Close()
}
