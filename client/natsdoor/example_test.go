package natsdoor_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/client/natsdoor"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// nc is a connection to the server of the examples, where a foldrun folds the bucket users.
var nc *nats.Conn

// The reader of an index, whichever replica answers.
func Example() {
	ctx := context.Background()
	c := natsdoor.New(nc, natsdoor.Subject)

	page, err := c.Get(ctx, "users", "main", []byte("ann"), client.Range{})
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range page.Rows {
		fmt.Printf("%s is %s, as of seq %d\n", row.Key, row.Value, page.At.Seq)
	}

	for row, err := range c.Scan(ctx, "users", "main", client.Range{Prefix: []byte("b")}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\t%s\n", row.Key, row.Value)
	}

	_, err = c.Get(ctx, "users", "main", []byte("zoe"), client.Range{})
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// ann is Ann, as of seq 3
	// ben	Ben
	// bob	Bob
	// true
}

// A snapshot is kept by one instance, which is asked for the rest too.
func ExampleAt() {
	ctx := context.Background()
	c := natsdoor.At(nc, natsdoor.Subject, "node-1")
	s, err := c.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	n, err := c.Count(ctx, "users", "main", client.Range{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Instance, n.Rows)
	// Output: node-1 3
}

// TestRefusals asks for what is not to be had over NATS.
func TestRefusals(t *testing.T) {
	c := natsdoor.New(nc, natsdoor.Subject)
	var refused *client.Error
	for name, err := range map[string]error{
		"nobody":   second(c.Get(t.Context(), "none", "main", []byte("ann"), client.Range{})),
		"verify":   second(c.Verify(t.Context(), "users")),
		"no index": second(c.Get(t.Context(), "users", "none", []byte("ann"), client.Range{})),
	} {
		want := map[string]string{"nobody": "nobody_answers", "verify": "nobody_answers", "no index": "unknown_index"}[name]
		if !errors.As(err, &refused) || refused.Code != want || refused.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"an action":  second(c.Rebuild(t.Context(), "users")),
		"a wildcard": second(c.Get(t.Context(), "users", ">", []byte("ann"), client.Range{})),
		"two tokens": second(c.Get(t.Context(), "users.get", "main", []byte("ann"), client.Range{})),
	} {
		if err == nil || errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestMain runs a foldrun for the examples.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "natsdoor")
	if err != nil {
		log.Fatal(err)
	}
	code := with(dir, m.Run)
	os.RemoveAll(dir)
	os.Exit(code)
}

// with runs a server with a bucket, and a fold of it that is answered for.
func with(dir string, run func() int) int {
	server, err := embedded.Start(embedded.Options{StoreDir: dir + "/nats"})
	must(err)
	defer server.Stop()
	nc, err = nats.Connect(server.URL(), nats.Timeout(30*time.Second))
	must(err)
	defer nc.Close()
	fill()
	own, err := source.Connect(source.Target{URL: server.URL()}, nil)
	must(err)
	wasm, err := os.ReadFile("../../testdata/modules/echo.wasm")
	must(err)
	stores, err := store.OpenDir(dir+"/data", store.Options{Sync: store.SyncNever})
	must(err)
	fold, err := runtime.NewFold(context.Background(), stores, runtime.FoldOptions{Name: "users", Conn: nc, Source: source.Options{Bucket: "users"}, Wasm: wasm})
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { fold.Run(ctx) })
	all.Go(func() {
		must(serve.NewNATS(serve.Options{Folds: []serve.Fold{fold}, Instance: "node-1"}, own, natsdoor.Subject).Run(ctx))
	})
	await()
	code := run()
	stop()
	all.Wait()
	must(fold.Close(context.Background()))
	must(stores.Close())
	return code
}

func fill() {
	js, err := jetstream.New(nc)
	must(err)
	kv, err := js.CreateKeyValue(context.Background(), jetstream.KeyValueConfig{Bucket: "users"})
	must(err)
	for _, x := range [][2]string{{"ann", "Ann"}, {"ben", "Ben"}, {"bob", "Bob"}} {
		_, err = kv.PutString(context.Background(), x[0], x[1])
		must(err)
	}
}

// await waits until the fold is answered for.
func await() {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for late := time.Now().Add(30 * time.Second); ; <-again.C {
		p, err := natsdoor.New(nc, natsdoor.Subject).Page(context.Background(), "users", "main", client.Range{})
		if err == nil && len(p.Rows) == 3 {
			return
		}
		if time.Now().After(late) {
			log.Fatal("nobody answers: ", err)
		}
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
