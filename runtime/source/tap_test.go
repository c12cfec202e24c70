package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/store"
)

// tapped returns a tap whose other end sends what is written to it, and a sink of subscription 7 of at most limit messages.
func tapped(t testing.TB, limit int) (w *wire, s *sink, server net.Conn) {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	w = &wire{}
	w.attach(client)
	s = w.sink("_INBOX.x.*", limit)
	sent := make(chan string, 1)
	go func() {
		b := make([]byte, 1000)
		n, _ := server.Read(b)
		sent <- string(b[:n])
	}()
	const subs = "PUB a 3\r\nSUB\r\nSUB _INBOX.y.*  6\r\nSUB _INBOX.x.*  7\r\nSUB _INBOX.x  8\r\n"
	if _, err := w.now.Load().Write([]byte(subs)); err != nil {
		t.Fatal(err)
	}
	if got := <-sent; got != subs || s.sid.Load() != 7 || w.now.Load().waiting.Load() != 0 {
		t.Fatalf("sent %q, subscription %d, %d wait", got, s.sid.Load(), w.now.Load().waiting.Load())
	}
	return w, s, server
}

// delivery writes a message as a server does.
func delivery(sid int, m *nats.Msg, header string) []byte {
	verb, size := "MSG", ""
	if header != "" {
		verb, size = "HMSG", fmt.Sprint(len(header), " ")
	}
	reply := ""
	if m.Reply != "" {
		reply = m.Reply + " "
	}
	return fmt.Appendf(nil, "%s %s %d %s%s%d\r\n%s%s\r\n", verb, m.Subject, sid, reply, size, len(header)+len(m.Data), header, m.Data)
}

// TestTap sends all that a server sends, cut anywhere, and reads it in pieces of any size: what is of the subscription comes
// to the sink, message by message, and all else comes through as it was sent.
func TestTap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const limit = 1 << 20
	w, s, server := tapped(t, limit)
	var sent, through []byte
	var want []*nats.Msg
	text := func() []byte { // of a message: it may look like anything
		b := []byte(strings.Repeat("MSG a 7 3\r\nabc\r\nPING\r\n", 1+rnd.IntN(30)))
		if rnd.IntN(50) == 0 {
			b = bytes.Repeat(b, 1+rnd.IntN(3*tapBuffer/len(b)))
		}
		return b[:rnd.IntN(len(b)+1)]
	}
	for range 3000 {
		m := &nats.Msg{Subject: fmt.Sprint("s.", rnd.IntN(1e9)), Data: text()}
		if rnd.IntN(4) > 0 {
			m.Reply = fmt.Sprint("$JS.ACK.x.", rnd.IntN(1e9))
		}
		header := ""
		if rnd.IntN(5) == 0 {
			m.Header = nats.Header{"Status": {"100"}, "Name": {"a value", "b"}}
			header = "NATS/1.0 100\r\nName: a value\r\nName: b\r\n\r\n"
		}
		other := delivery([]int{6, 8, 70, 77}[rnd.IntN(4)], m, header)
		switch rnd.IntN(8) {
		case 0, 1, 2, 3:
			sent = append(sent, delivery(7, m, header)...)
			want = append(want, m)
			continue
		case 4:
			other = []byte([]string{"PING\r\n", "PONG\r\n", "+OK\r\n", "-ERR 'a word'\r\n"}[rnd.IntN(4)])
		case 5:
			other = []byte("INFO {" + strings.Repeat("x", rnd.IntN(2*tapBuffer)) + "}\r\n")
		}
		sent, through = append(sent, other...), append(through, other...)
	}
	end := []byte("PING\r\n")
	sent, through = append(sent, end...), append(through, end...)
	go func() {
		for len(sent) > 0 {
			n := min(len(sent), 1+rnd.IntN(100_000))
			server.Write(sent[:n])
			sent = sent[n:]
		}
		server.Close()
	}()
	var got []byte
	read := rand.New(rand.NewPCG(seed, 1))
	for {
		p := make([]byte, 1+read.IntN(1<<read.IntN(16)))
		n, err := w.now.Load().Read(p)
		if got = append(got, p[:n]...); err == io.EOF {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("%d bytes, %v", n, err)
		}
		for m := s.next(); m != nil; m = s.next() {
			if len(want) == 0 {
				t.Fatalf("%+v after the last", m)
			}
			is := want[0]
			if m.Subject != is.Subject || m.Reply != is.Reply || !bytes.Equal(m.Data, is.Data) || fmt.Sprint(m.Header) != fmt.Sprint(is.Header) {
				t.Fatalf("%s, reply %q, header %v, %d bytes; want %s, %q, %v, %d", m.Subject, m.Reply, m.Header, len(m.Data), is.Subject, is.Reply, is.Header, len(is.Data))
			}
			want = want[1:]
		}
	}
	if len(want) > 0 || !bytes.Equal(got, through) {
		t.Errorf("%d messages did not come, %d bytes came through of %d", len(want), len(got), len(through))
	}
}

// TestTapSinks closes a sink: what comes then is nats.go's. It has no more than its limit before.
func TestTapSinks(t *testing.T) {
	w, s, server := tapped(t, 3)
	one := delivery(7, &nats.Msg{Subject: "s", Reply: "r", Data: []byte("data")}, "")
	read := func(want string) {
		t.Helper()
		p := make([]byte, 1000)
		if n, err := w.now.Load().Read(p); err != nil || string(p[:n]) != want {
			t.Fatalf("%q, %v, want %q", p[:n], err, want)
		}
	}
	for range 3 {
		go server.Write(append(bytes.Repeat(one, 5), "PING\r\n"...))
		read("PING\r\n")
	}
	if n := len(s.ready); n != 1 {
		t.Errorf("%d parcels are kept, all but one of them empty", n)
	}
	for n := range 4 {
		if m := s.next(); (m != nil) != (n < 3) {
			t.Errorf("message %d is %v", n, m)
		}
	}
	s.close()
	go server.Write(one)
	read(string(one))
	unseen := w.sink("_INBOX.z.*", 3)
	unseen.close()
	if n := w.now.Load().waiting.Load(); n != 0 {
		t.Errorf("%d wait", n)
	}
}

// TestTapLarge: what held one huge message is not kept.
func TestTapLarge(t *testing.T) {
	w, s, server := tapped(t, 10)
	huge := make([]byte, 2*tapKept)
	for _, sent := range [][]byte{huge, []byte("small")} {
		go server.Write(append(delivery(7, &nats.Msg{Subject: "s", Reply: "r", Data: sent}, ""), "PING\r\n"...))
		p := make([]byte, 100)
		if n, err := w.now.Load().Read(p); err != nil || string(p[:n]) != "PING\r\n" {
			t.Fatalf("%q, %v", p[:n], err)
		}
		if m := s.next(); m == nil || !bytes.Equal(m.Data, sent) {
			t.Fatalf("%v for one of %d bytes", m, len(sent))
		}
	}
	if s.next() != nil {
		t.Error("a third message")
	}
	kept := len(w.now.Load().buf)
	for _, c := range s.free {
		kept += cap(c.slab)
	}
	if kept > tapKept {
		t.Errorf("%d bytes are kept", kept)
	}
}

// names answers who looks a host up: it has three addresses.
func names(_ context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		for {
			head := make([]byte, 2)
			if _, err := io.ReadFull(server, head); err != nil {
				return
			}
			q := make([]byte, binary.BigEndian.Uint16(head))
			if _, err := io.ReadFull(server, q); err != nil {
				return
			}
			end := 12 + bytes.IndexByte(q[12:], 0) + 5 // of the question
			a := append(append(q[:2:2], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0), q[12:end]...)
			if q[end-3] == 1 { // IPv4
				a[7] = 3
				for n := range byte(3) {
					a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, n)
				}
			}
			server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
		}
	}()
	return client, nil
}

// TestWireAddresses: the addresses of a host share the time of one attempt, and each is tried.
func TestWireAddresses(t *testing.T) {
	w := &wire{}
	w.Resolver, w.Timeout = &net.Resolver{PreferGo: true, Dial: names}, time.Hour
	silent := errors.New("nobody is there")
	var tried []string
	w.ControlContext = func(ctx context.Context, _, address string, _ syscall.RawConn) error {
		tried = append(tried, address)
		if by, ok := ctx.Deadline(); !ok || time.Until(by) > w.Timeout/3 {
			t.Errorf("%s has %s of %s", address, time.Until(by), w.Timeout)
		}
		return silent
	}
	if _, err := w.Dial("tcp", "three.example.:4222"); !errors.Is(err, silent) {
		t.Error(err)
	}
	slices.Sort(tried)
	if want := []string{"192.0.2.0:4222", "192.0.2.1:4222", "192.0.2.2:4222"}; !slices.Equal(tried, want) {
		t.Errorf("tried %q", tried)
	}
	for address, want := range map[string]string{"[::1]:4222": "[::1]:4222", "192.0.2.9:1": "192.0.2.9:1", "three.example.": "three.example."} {
		if all := w.addresses(address); !slices.Equal(all, []string{want}) {
			t.Errorf("%s is %q", address, all)
		}
	}
}

// FuzzTap has anything come through that is of no sink.
func FuzzTap(f *testing.F) {
	for _, s := range []string{"MSG a 1 3\r\nabc\r\nPING\r\n", "\x16\x03\x01", "HTTP/1.1 101\r\n\r\n", "MSG a 1 99999999999999999999\r\n", "MSG\r\n",
		"HMSG a 1 r 9 3\r\n", "MSG a 1 b c d 3\r\nabc\r\n", "MSG a 7 3\nabc\r\n", "msg a 7 1\r\na\r\n", "MSG a 1 -1\r\n", "INFO"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		sent = bytes.ReplaceAll(sent, []byte("7"), []byte("6")) // of no subscription of the sink
		_, s, server := tapped(t, 10)
		go func() {
			server.Write(sent)
			server.Close()
		}()
		got, err := io.ReadAll(s.tap)
		if err != nil || !bytes.HasPrefix(sent, got) || s.next() != nil {
			t.Fatalf("%q came, of %q: %v", got, sent, err)
		}
		if rest := sent[len(got):]; slices.Contains(rest, '\n') || len(rest) > 0 && !slices.Contains([]byte("MHPI+-"), rest[0]) {
			t.Fatalf("%q did not come, of %q", rest, sent)
		}
	})
}

// TestTapOfSession reads by a connection with a tap, by one that has none, and under TLS, where it sees nothing.
func TestTapOfSession(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.leaf("server", time.Now().Add(time.Hour), net.IPv4(127, 0, 0, 1))
	secured := newDoor(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, timeout: 30 }", cert, key, a.file))
	s := newSite(t)
	s.log("e.>")
	s.publish("e", 100, 20_000, 10)
	plain, err := nats.Connect(s.server.URL(), nats.Timeout(patience))
	check(t, err)
	t.Cleanup(plain.Close)
	read := func(nc *nats.Conn, stream string, last uint64, past bool) {
		t.Helper()
		f := follow(t, open(t, nc, Options{Stream: stream, Heartbeat: mute}), store.Position{}, NewPipe(3))
		f.until(last)
		known := false
		if tap := journalOf(nc).wire.now.Load(); tap != nil {
			for _, s := range *tap.sinks.Load() {
				known = known || s.sid.Load() > 0
			}
		}
		if known != past {
			t.Errorf("messages go past nats.go: %t", known)
		}
		f.stop()
	}
	read(connect(t, s.server.URL()), "E", 20_000, true)
	read(plain, "E", 20_000, false)
	nc := works(t, Target{URL: secured.URL(), TLSCA: a.file})
	read(nc, "KV_b", 1, false)
}
