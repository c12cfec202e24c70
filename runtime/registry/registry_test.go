package registry

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/foldrun/foldrun/runtime/embedded"
)

// TestRefused puts one bad module after the other into an object store: each is refused with its reason, and the good one
// that ran before is what a start without NATS gets.
func TestRefused(t *testing.T) {
	s := newShop(t)
	good := s.signed("users", "1.2.0")
	s.push(good)
	s.runs(good)
	stranger := must(nkeys.CreateUser())(t)
	for name, x := range map[string]struct {
		module func() Module
		reason string
	}{
		"unsigned": {func() Module { return module(t, "users", "1.3.0") }, "it is not signed"},
		"by a stranger": {func() Module {
			m := module(t, "users", "1.3.0")
			must(m.Sign(must(stranger.Seed())(t)))(t)
			return m
		}, "which is none of trusted_keys"},
		"tampered": {func() Module {
			m := s.signed("users", "1.3.0")
			m.Wasm[len(m.Wasm)/2] ^= 1
			return m
		}, "is of other bytes"},
		"another's signature": {func() Module {
			m := module(t, "users", "1.4.0")
			m.Signature = good.Signature
			return m
		}, "is of other bytes"},
		"a nonce's signature": {func() Module { // what a client signs for a server that asks for it
			m := module(t, "users", "1.4.0")
			pair := must(nkeys.FromSeed(s.seed))(t)
			m.Signature = signature(t, pair, m.signed()[1:])
			return m
		}, "is of other bytes"},
		"no form":         {func() Module { m := module(t, "users", "1.4.0"); m.Signature = "yes"; return m }, "has not the form"},
		"a lower version": {func() Module { return s.signed("users", "1.1.9") }, `"1.1.9" is lower than "1.2.0"`},
		"no version":      {func() Module { return s.signed("users", "") }, "is not to be compared"},
		"another module":  {func() Module { return s.signed("orders", "9.0.0") }, "it is the module orders"},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.push(x.module())
			s.refuses(ErrUntrusted, x.reason)
			away := s.Objects
			s.Objects = Objects{}
			s.runs(good)
			s.Objects = away
		})
	}
	s.t = t
	older := s.signed("users", "1.1.0")
	s.push(older)
	s.want.SHA256 = older.SHA256
	s.runs(older) // pinned: the operator wants it
	s.want.SHA256 = ""
	newer := s.signed("users", "1.10.0")
	s.push(newer)
	s.runs(newer)
}

func signature(t testing.TB, pair nkeys.KeyPair, b []byte) string {
	t.Helper()
	m := Module{}
	must(m.Sign(must(pair.Seed())(t)))(t)
	words := strings.Fields(m.Signature)
	return words[0] + " " + words[1] + " " + encode(must(pair.Sign(b))(t))
}

// TestBroken takes apart what an object store holds: what is missing, too much or changed is not taken, and refused with
// what is wrong.
func TestBroken(t *testing.T) {
	for name, x := range map[string]struct {
		breaks func(s *shop, i *jetstream.ObjectInfo)
		kind   error
		reason string
	}{
		"last chunk gone": {func(s *shop, i *jetstream.ObjectInfo) {
			m := must(s.stream(t).GetLastMsgForSubject(t.Context(), chunksOf(i)))(t)
			check(t, s.stream(t).DeleteMsg(t.Context(), m.Sequence))
		}, nil, "it is truncated: the object store has 262144 of its "},
		"all chunks gone": {func(s *shop, i *jetstream.ObjectInfo) {
			check(t, s.stream(t).Purge(t.Context(), jetstream.WithPurgeSubject(chunksOf(i))))
		}, nil, "has 0 of its"},
		"a chunk too much": {func(s *shop, i *jetstream.ObjectInfo) {
			i.Size--
			s.describe(t, i)
		}, nil, "has not the "},
		"another digest": {func(s *shop, i *jetstream.ObjectInfo) {
			i.Digest = "SHA-256=" + strings.Repeat("A", 43) + "="
			s.describe(t, i)
		}, nil, "it has not the digest"},
		"a size beyond all": {func(s *shop, i *jetstream.ObjectInfo) {
			i.Size = MaxBytes + 1
			s.describe(t, i)
		}, nil, "more than the 33554432 of the largest module"},
		"a ring of links": {func(s *shop, i *jetstream.ObjectInfo) {
			i.Opts = &jetstream.ObjectMetaOptions{Link: &jetstream.ObjectLink{Bucket: "modules", Name: "users"}}
			s.describe(t, i)
		}, nil, "it is a link"},
		"deleted": {func(s *shop, i *jetstream.ObjectInfo) {
			check(t, s.store.Delete(t.Context(), "users"))
		}, ErrAway, `has no object "users"`},
		"no store": {func(s *shop, i *jetstream.ObjectInfo) {
			check(t, s.js.DeleteObjectStore(t.Context(), "modules"))
		}, ErrAway, `there is no object store "modules"`},
		"no server": {func(s *shop, i *jetstream.ObjectInfo) { s.Conn.Close() }, ErrAway, "there is no connection to NATS"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			s.push(s.signed("users", "1.0.0"))
			x.breaks(s, must(s.store.GetInfo(t.Context(), "users"))(t))
			s.refuses(x.kind, x.reason)
			if left := must(filepath.Glob(filepath.Join(s.Dir, "*")))(t); len(left) > 0 {
				t.Errorf("kept: %q", left)
			}
		})
	}
}

func (s *shop) stream(t testing.TB) jetstream.Stream {
	return must(s.js.Stream(t.Context(), "OBJ_modules"))(t)
}

func chunksOf(i *jetstream.ObjectInfo) string { return "$O.modules.C." + i.NUID }

// TestReplacedMeanwhile replaces an object after its record was read: what is taken is one of both, whole.
func TestReplacedMeanwhile(t *testing.T) {
	s := newShop(t)
	s.push(s.signed("users", "1.0.0"))
	stream := s.stream(t)
	i := must(info(t.Context(), stream, "modules", "users"))(t)
	newer := s.signed("users", "1.1.0")
	s.push(newer)
	if _, err := chunks(t.Context(), stream, "modules", i); err == nil || !strings.Contains(err.Error(), "it is truncated") {
		t.Errorf("the record is of what is gone: %v", err)
	}
	s.runs(newer)
}

// TestPinned: an object that is pinned needs no key, is what was pinned or nothing, and once fetched needs no NATS.
func TestPinned(t *testing.T) {
	s := newShop(t)
	s.Trusted = nil
	s.refuses(ErrUntrusted, "whoever can write there would run code here")
	m := module(t, "users", "1.0.0")
	s.want.SHA256 = m.SHA256
	s.push(module(t, "users", "2.0.0"))
	s.refuses(ErrUntrusted, "not "+m.SHA256)
	s.push(m)
	s.runs(m)
	s.push(module(t, "users", "2.0.0"))
	s.Conn.Close()
	s.runs(m)
	path := filepath.Join(s.Dir, m.SHA256+".wasm")
	if mode := must(os.Stat(path))(t).Mode().Perm(); mode != 0o600 {
		t.Errorf("kept with the mode %o", mode)
	}
	check(t, os.WriteFile(path, []byte("\x00asm"), 0o600)) // the disk, or somebody on it
	s.refuses(ErrAway, "there is no connection")
}

// TestKept: only what a fold runs is kept.
func TestKept(t *testing.T) {
	s := newShop(t)
	s.push(s.signed("users", "1.0.0"))
	s.runs(s.signed("users", "1.0.0"))
	newer := s.signed("users", "1.1.0")
	s.push(newer)
	s.runs(newer)
	var names []string
	for _, e := range must(os.ReadDir(s.Dir))(t) {
		names = append(names, e.Name())
	}
	want := []string{newer.SHA256 + ".wasm", newer.SHA256 + ".wasm.sig", "users.json"}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("kept: %q", names)
	}
	s.want.Object = "modules/others" // what ran last is not what is configured
	s.Conn.Close()
	s.refuses(ErrAway, "there is no connection")
}

// TestRotate: the same bytes under another key, with the old one gone from trusted_keys, run again, without NATS too.
func TestRotate(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		s := newShop(t)
		m := s.signed("users", "1.0.0")
		if pinned {
			s.want.SHA256 = m.SHA256
		}
		s.push(m)
		s.runs(m)
		seed, public, err := NewKey()
		check(t, err)
		s.seed, s.Trusted = seed, []string{public}
		s.refuses(ErrUntrusted, "which is none of trusted_keys")
		s.push(s.signed("users", "1.0.0"))
		s.runs(m)
		s.Conn.Close()
		s.runs(m)
	}
}

// TestPath: a file has its signature beside it, of a key that may change.
func TestPath(t *testing.T) {
	s := newShop(t)
	path := filepath.Join(t.TempDir(), "users.wasm")
	s.want = Wanted{Fold: "users", Path: path}
	s.refuses(nil, "no such file")
	write := func(m Module) {
		check(t, os.WriteFile(path, m.Wasm, 0o644))
		check(t, os.WriteFile(path+Suffix, []byte(m.Signature+"\n"), 0o644))
	}
	m := s.signed("users", "2.0.0")
	write(m)
	s.runs(m)
	check(t, os.Remove(path+Suffix))
	s.refuses(ErrUntrusted, path+": not trusted: it is not signed")
	write(s.signed("users", "1.9.0"))
	s.refuses(ErrUntrusted, "is lower than")
	seed, public, err := NewKey()
	check(t, err)
	s.seed = seed
	m = s.signed("users", "2.1.0")
	write(m)
	s.refuses(ErrUntrusted, "signed by "+public)
	s.Trusted = append(s.Trusted, public)
	s.runs(m)
	f := must(os.Create(path))(t)
	must(io.CopyN(f, zeros{}, MaxBytes+1))(t)
	check(t, f.Close())
	s.refuses(nil, "more than 33554432 bytes")
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestNudge: whoever follows an object is told that it is another.
func TestNudge(t *testing.T) {
	s := newShop(t)
	told := make(chan struct{}, 1)
	stop := must(s.Nudge("modules/users", told))(t)
	check(t, s.Conn.Flush())
	m := s.signed("users", "1.0.0")
	s.push(m)
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Fatal("nothing was told")
	}
	sha256, signature, err := s.Look(t.Context(), "modules/users")
	check(t, err)
	if sha256 != m.SHA256 || signature != m.Signature {
		t.Errorf("it is %s, signed %s", sha256, signature)
	}
	check(t, stop())
}

func TestCompareVersions(t *testing.T) {
	rising := []string{"0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1", "1.0.1", "v1.2", "1.10.0"}
	for i, a := range rising {
		for j, b := range rising {
			if order, ok := compareVersions(a, b); !ok || (order < 0) != (i < j) || (order > 0) != (i > j) {
				t.Errorf("%s and %s: %d, %t", a, b, order, ok)
			}
		}
	}
	for _, pair := range [][2]string{{"", "1"}, {"main", "1.0.0"}, {"1..2", "1"}} {
		if order, ok := compareVersions(pair[0], pair[1]); ok {
			t.Errorf("%q: %d", pair, order)
		}
	}
	if order, ok := compareVersions("main", "main"); order != 0 || !ok {
		t.Error("main is main")
	}
}

// TestSigned pins the bytes that are signed: another order or form of them would be another scheme.
func TestSigned(t *testing.T) {
	m := Module{Name: "users", Version: "1.0\nx", SHA256: strings.Repeat("0", 64)}
	if got, want := string(m.signed()), "\xfffoldrun module 1\nusers\n"+strings.Repeat("0", 64)+"\n1.0\nx"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPermissions: a user with the permissions of docs/modules.md, and no others, follows an object.
func TestPermissions(t *testing.T) {
	page := string(must(os.ReadFile("../../docs/modules.md"))(t))
	_, list, _ := strings.Cut(page, "\n## Permissions\n")
	_, list, _ = strings.Cut(list, "```\n")
	list, _, found := strings.Cut(list, "```\n")
	if !found {
		t.Fatal("docs/modules.md has no permissions")
	}
	list = strings.Replace(list, "subscribe: [", `subscribe: [ "_INBOX.>",`, 1)
	conf := filepath.Join(t.TempDir(), "server.conf")
	check(t, os.WriteFile(conf, []byte("authorization { timeout: 30, users = [ {user: admin, password: p}, {user: foldrun, password: p, permissions: {\n"+list+"} } ] }\n"), 0o600))
	server := must(embedded.Start(embedded.Options{StoreDir: t.TempDir(), Config: conf}))(t)
	t.Cleanup(server.Stop)
	connect := func(user string) Objects {
		refused := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { t.Errorf("%s: %v", user, err) })
		nc := must(nats.Connect(server.URL(), nats.UserInfo(user, "p"), refused, nats.Timeout(time.Minute)))(t)
		t.Cleanup(nc.Close)
		return Objects{Conn: nc}
	}
	admin, user := connect("admin"), connect("foldrun")
	m := module(t, "users", "1.0.0")
	told := make(chan struct{}, 1)
	must(user.Nudge("modules/users", told))(t)
	check(t, user.Conn.Flush())
	check(t, admin.Push(t.Context(), "modules/users", m, true))
	<-told
	wasm, _, err := user.fetch(t.Context(), "modules/users")
	check(t, err)
	if !bytes.Equal(wasm, m.Wasm) {
		t.Error("other bytes came")
	}
}
