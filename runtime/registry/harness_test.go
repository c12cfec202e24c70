package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/embedded"
)

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// describe publishes what an object store has of an object, as somebody may who can write there.
func (s *shop) describe(t testing.TB, i *jetstream.ObjectInfo) {
	t.Helper()
	m := nats.NewMsg(subjectOf(i.Bucket, i.Name))
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	m.Data = must(json.Marshal(i))(t)
	must(s.js.PublishMsg(t.Context(), m))(t)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A shop is a server with an object store, and a registry that trusts one key.
type shop struct {
	t      testing.TB
	server *embedded.Server
	js     jetstream.JetStream
	store  jetstream.ObjectStore
	Objects
	seed []byte
	Registry
	want Wanted
}

func newShop(t *testing.T) *shop {
	s := &shop{t: t, want: Wanted{Fold: "users", Object: "modules/users"}}
	s.server = must(embedded.Start(embedded.Options{StoreDir: t.TempDir()}))(t)
	t.Cleanup(s.server.Stop)
	s.Conn = must(nats.Connect(s.server.URL(), nats.Timeout(time.Minute)))(t)
	t.Cleanup(s.Conn.Close)
	s.js = must(jetstream.New(s.Conn))(t)
	s.store = must(s.js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "modules"}))(t)
	seed, public, err := NewKey()
	check(t, err)
	s.seed, s.Registry = seed, Registry{Trusted: []string{public}, Dir: filepath.Join(t.TempDir(), "modules")}
	return s
}

// module returns a module that is large enough for three chunks, not signed.
func module(t testing.TB, name, version string) Module {
	t.Helper()
	wasm := must(os.ReadFile("../../testdata/modules/echo.wasm"))(t)
	padding := append([]byte{1, 'x'}, make([]byte, 300<<10)...)
	wasm = append(append(wasm, 0, byte(len(padding)&0x7f|0x80), byte(len(padding)>>7&0x7f|0x80), byte(len(padding)>>14)), padding...)
	return must(Read(must(abi.AppendManifest(wasm, abi.Manifest{Name: name, Version: version}))(t)))(t)
}

func (s *shop) signed(name, version string) Module {
	s.t.Helper()
	m := module(s.t, name, version)
	must(m.Sign(s.seed))(s.t)
	return m
}

func (s *shop) push(m Module) {
	s.t.Helper()
	check(s.t, s.Push(context.Background(), s.want.Object, m, false))
}

func (s *shop) load() (Module, error) {
	return s.Load(context.Background(), s.want, s.Objects)
}

// runs loads a module and runs it.
func (s *shop) runs(m Module) {
	s.t.Helper()
	got, err := s.load()
	check(s.t, err)
	if !bytes.Equal(got.Wasm, m.Wasm) {
		s.t.Fatalf("%s %s came, %s %s was pushed", got.Name, got.Version, m.Name, m.Version)
	}
	check(s.t, s.Ran(s.want, got))
}

// refuses loads a module that must not run, for a reason, with what to do about it.
func (s *shop) refuses(kind error, reason string) {
	s.t.Helper()
	m, err := s.load()
	if err == nil || !strings.Contains(err.Error(), reason) || kind != nil && !errors.Is(err, kind) || hint.Of(err) == "" {
		s.t.Fatalf("%s %s: %v, hint %q; want %q", m.Name, m.Version, err, hint.Of(err), reason)
	}
}
