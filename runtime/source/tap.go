package source

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A tap lies between nats.go and the network. What comes for the subscription of a session it takes out of the stream of
// bytes and gives to the session's sink, many messages at once; all else goes to nats.go as it came. nats.go makes four
// objects of a message and sends each through a channel, which is most of what a message costs its reader
// (docs/performance.md).
//
// # Why below nats.go, and not a connection of our own?
//
// Connecting, credentials, reconnecting, subscriptions and all that is sent stay nats.go's. A tap adds a reader for two
// verbs of the protocol, and does nothing where it cannot: under TLS and WebSocket it sees nothing that it knows, goes
// blind, and messages come by nats.go.
//
// # How does it know the subscription?
//
// A session registers its inbox before it subscribes. nats.go hands each SUB to the connection in one write; the tap reads
// the subscription's number there, before the server can send anything for it. So all messages of a session come by one
// way, in their order. What comes for another subscription is nats.go's, whatever its subject and reply are.
//
// Read is for one goroutine, nats.go's reader, which owns what is not atomic.
type tap struct {
	net.Conn

	buf      []byte // buf[from:to] was read and is not dealt out yet
	from, to int
	need     int  // bytes of the message that buf[from:to] begins with, where it is not there whole
	rest     int  // bytes still to come that are nats.go's
	blind    bool // this is not the protocol as it is known here: all is nats.go's

	mu      sync.Mutex // held to replace sinks
	sinks   atomic.Pointer[[]*sink]
	waiting atomic.Int32 // how many subscriptions were not seen yet
}

// tapBuffer is how much is read at once, if it is there. The buffer grows to hold a larger message, and is kept up to
// tapKept, which holds any message of a server with the default max_payload.
const (
	tapBuffer = 64 << 10
	tapKept   = 2 << 20
)

// A wire dials for a connection, and knows the tap of the network connection that is up.
type wire struct {
	net.Dialer
	now atomic.Pointer[tap]
}

// Dial is part of nats.CustomDialer. All addresses of a host share the time for one attempt, as with nats.go's own dialer;
// one of nats.go's choice would have as much for each.
func (w *wire) Dial(network, address string) (conn net.Conn, err error) {
	all := w.addresses(address)
	d := w.Dialer
	d.Timeout /= time.Duration(len(all))
	for _, one := range all {
		if conn, err = d.Dial(network, one); err == nil {
			return w.attach(conn), nil
		}
	}
	return nil, err
}

// addresses returns those that a host has, in an order of chance: clients are to spread over its servers.
func (w *wire) addresses(address string) []string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host) != nil {
		return []string{address}
	}
	all, _ := w.Resolver.LookupHost(context.Background(), host)
	if len(all) == 0 {
		return []string{address} // to dial it says what is wrong
	}
	for i := range all {
		all[i] = net.JoinHostPort(all[i], port)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (w *wire) attach(conn net.Conn) *tap {
	t := &tap{Conn: conn, buf: make([]byte, tapBuffer)}
	t.sinks.Store(new([]*sink))
	w.now.Store(t)
	return t
}

// sink registers a subscription to subject, which is about to be made and which nobody else knows. It is nil where there is
// no tap. The owner closes it.
func (w *wire) sink(subject string, limit int) *sink {
	t := w.now.Load()
	if t == nil {
		return nil
	}
	s := &sink{tap: t, verb: []byte("SUB " + subject + " "), limit: limit, wake: make(chan struct{}, 1)}
	t.waiting.Add(1)
	t.change(func(all []*sink) []*sink { return append(all, s) })
	return s
}

func (t *tap) change(f func(all []*sink) []*sink) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := f(slices.Clone(*t.sinks.Load()))
	t.sinks.Store(&all)
}

// Write is part of net.Conn.
func (t *tap) Write(p []byte) (int, error) {
	if t.waiting.Load() > 0 {
		for _, s := range *t.sinks.Load() {
			s.learn(p)
		}
	}
	return t.Conn.Write(p)
}

// Read returns bytes that are nats.go's.
func (t *tap) Read(p []byte) (int, error) {
	for {
		n := t.deal(p)
		for _, s := range *t.sinks.Load() {
			s.handOn()
		}
		switch {
		case n > 0 || len(p) == 0:
			return n, nil
		case t.blind:
			return t.Conn.Read(p)
		}
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
}

// fill reads more, after what is left of a message.
func (t *tap) fill() error {
	left := t.buf[t.from:t.to]
	if room := max(t.need, tapBuffer); room > len(t.buf) || len(t.buf) > tapKept && room <= tapKept {
		t.buf = make([]byte, room)
	}
	t.from, t.to, t.need = 0, copy(t.buf, left), 0
	n, err := t.Conn.Read(t.buf[t.to:])
	t.to += n
	if n > 0 {
		return nil
	}
	return err
}

// deal deals out what was read: to sinks what is theirs, and into p the rest; it returns how much of p that fills. It ends
// where p is full, or what follows is not there whole.
func (t *tap) deal(p []byte) (n int) {
	for n < len(p) && t.from < t.to {
		if t.rest == 0 && !t.blind {
			if !t.frame() {
				return n
			}
			continue
		}
		own := t.to - t.from
		if !t.blind {
			own = min(own, t.rest)
		}
		own = copy(p[n:], t.buf[t.from:t.from+own])
		n, t.from = n+own, t.from+own
		t.rest = max(0, t.rest-own)
	}
	return n
}

// longestLine is more than a server's line is long, INFO of a large cluster included.
const longestLine = 1 << 20

// frame takes what buf begins with: a message of a sink, or the bytes of something else, which are then nats.go's. It
// returns false where that is not there whole.
func (t *tap) frame() bool {
	b := t.buf[t.from:t.to]
	end := bytes.IndexByte(b, '\n') + 1
	known := bytes.IndexByte([]byte("MHPI+-"), b[0]) >= 0 // MSG, HMSG, PING, PONG, INFO, +OK, -ERR
	switch {
	case !known, end == 0 && len(b) >= longestLine:
		t.blind = true
		return true
	case end == 0:
		t.need = max(2*len(b), 64)
		return false
	case b[0] != 'M' && b[0] != 'H':
		t.rest = end
		return true
	}
	h, ok := parseHeading(b[:end])
	if !ok {
		t.blind = true
		return true
	}
	size := end + h.size + len("\r\n")
	s := t.find(h.sid)
	switch {
	case s == nil:
		t.rest = size
		return true
	case len(b) < size:
		t.need = size
		return false
	}
	s.add(&h, b[end:end+h.size])
	t.from += size
	return true
}

func (t *tap) find(sid uint64) *sink {
	for _, s := range *t.sinks.Load() {
		if s.sid.Load() == sid {
			return s
		}
	}
	return nil
}

// A heading is the first line of a message:
//
//	MSG <subject> <sid> [reply] <size>
//	HMSG <subject> <sid> [reply] <size of the header> <size>
type heading struct {
	subject, reply []byte
	sid            uint64
	header, size   int
}

func parseHeading(line []byte) (h heading, ok bool) {
	line, ok = bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return h, false
	}
	var fields [6][]byte
	n := 0
	for found := true; found && n < len(fields); n++ {
		fields[n], line, found = bytes.Cut(line, []byte(" "))
	}
	sizes := 1
	switch string(fields[0]) {
	case "MSG":
	case "HMSG":
		sizes = 2
	default:
		return h, false
	}
	if len(line) > 0 || n < 3+sizes || n > 4+sizes {
		return h, false
	}
	h.subject = fields[1]
	if n == 4+sizes {
		h.reply = fields[3]
	}
	var ok1, ok2, ok3 bool
	h.sid, ok1 = number(fields[2])
	size, ok2 := number(fields[n-1])
	header, ok3 := uint64(0), true
	if sizes == 2 {
		header, ok3 = number(fields[n-2])
	}
	h.size, h.header = int(size), int(header)
	return h, ok1 && ok2 && ok3 && header <= size
}

// number reads digits, as many as any size of a message has.
func number(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		if c-'0' > 9 {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, 0 < len(b) && len(b) < 10
}
