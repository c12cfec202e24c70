// Package faultproxy stands between a NATS client and its server and does what networks do: it cuts connections, also
// in the middle of a message, holds back what the server sends without closing anything, lets connections die without a
// word, is slow, and swallows single messages. Only tests import it.
package faultproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// A Proxy forwards connections to one server. Close ends it.
type Proxy struct {
	listener net.Listener
	server   string // host:port
	wg       sync.WaitGroup
	done     chan struct{} // closed by Close

	mu        sync.Mutex
	moved     *sync.Cond // a stall ended
	links     map[*link]bool
	closed    bool
	swallow   int // delivered messages still to swallow
	swallowed int
	cutIn     int // delivered messages until one is cut in two, 0: none
	rate      int // bytes a second to clients, 0: no limit
}

// A link is one connection of a client and the one to the server that goes with it.
type link struct {
	client, server net.Conn
	stalled, dead  bool // guarded by the proxy's mu
}

// Start returns a proxy for the server at host:port.
func Start(server string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{listener: l, server: server, done: make(chan struct{}), links: map[*link]bool{}}
	p.moved = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	return p, nil
}

// URL returns where clients connect.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Cut closes all connections. New ones are accepted.
func (p *Proxy) Cut() {
	p.each(func(l *link) {
		l.client.Close()
		l.server.Close()
	})
}

// CutIn closes a connection in the middle of the n'th message that a JetStream consumer delivers from now on.
func (p *Proxy) CutIn(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutIn = n
}

// Stall holds back what the server sends on the connections that there are, or lets it go on. They stay open: neither
// end learns of it. New connections work.
func (p *Proxy) Stall(on bool) { p.each(func(l *link) { l.stalled = on }) }

// Kill lets the connections that there are die as they do when a machine in between loses its power: nothing goes
// through any more, in either direction, and the server does not even learn when the client closes its end. New
// connections work.
func (p *Proxy) Kill() { p.each(func(l *link) { l.dead = true }) }

// Slow lets no more than so many bytes a second through to each client; 0 ends that.
func (p *Proxy) Slow(rate int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
}

// Swallow drops the next n messages that a JetStream consumer delivers.
func (p *Proxy) Swallow(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = n
}

// Swallowed returns how many were dropped.
func (p *Proxy) Swallowed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.swallowed
}

// Close ends the proxy and its connections, and returns when all has ended.
func (p *Proxy) Close() {
	p.listener.Close()
	close(p.done)
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Stall(false)
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) each(do func(l *link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		do(l)
	}
	p.moved.Broadcast()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		l := &link{client: client, server: server}
		if !p.keep(l) {
			client.Close()
			server.Close()
			continue
		}
		p.wg.Go(func() {
			io.Copy(upstream{p, l}, client)
			p.end(l)
		})
		p.wg.Go(func() {
			p.deliver(l)
			p.end(l)
		})
	}
}

func (p *Proxy) keep(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[l] = true
	return !p.closed
}

// end closes what can be closed of a link without telling the server of a dead one.
func (p *Proxy) end(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.client.Close()
	l.stalled = false
	if !l.dead || p.closed {
		l.server.Close()
		delete(p.links, l)
	}
	p.moved.Broadcast()
}

// upstream is the way to the server.
type upstream struct {
	p *Proxy
	l *link
}

func (u upstream) Write(b []byte) (int, error) {
	u.p.mu.Lock()
	dead := u.l.dead
	u.p.mu.Unlock()
	if dead {
		return len(b), nil
	}
	return u.l.server.Write(b)
}

// deliver forwards what the server sends, one protocol line with its payload at a time.
func (p *Proxy) deliver(l *link) {
	r := bufio.NewReaderSize(l.server, 64<<10)
	owed := time.Duration(0) // what was sent faster than it may be
	for {
		line, message, err := next(r)
		if err != nil {
			return
		}
		take, cut := false, false
		if message {
			take, cut = p.fate()
		}
		switch {
		case take:
			continue
		case cut:
			line = line[:len(line)/2]
		}
		dead, rate := p.gate(l)
		if dead {
			continue
		}
		if rate > 0 {
			owed += time.Duration(len(line)) * time.Second / time.Duration(rate)
		}
		if owed > 5*time.Millisecond { // timers are not good at less
			p.wait(owed)
			owed = 0
		}
		if _, err := l.client.Write(line); err != nil && !p.isDead(l) || cut {
			return
		}
	}
}

// next reads one protocol line with its payload, and says whether a JetStream consumer delivers it.
func next(r *bufio.Reader) (line []byte, message bool, err error) {
	line, err = r.ReadBytes('\n')
	f := bytes.Fields(line)
	if err != nil || len(f) == 0 || string(f[0]) != "MSG" && string(f[0]) != "HMSG" {
		return line, false, err
	}
	n, err := strconv.Atoi(string(f[len(f)-1]))
	if err != nil {
		return nil, false, err
	}
	head := len(line)
	line = append(line, make([]byte, n+2)...)
	_, err = io.ReadFull(r, line[head:])
	return line, bytes.Contains(line[:head], []byte(" $JS.ACK.")), err
}

// fate says what becomes of a delivered message.
func (p *Proxy) fate() (swallow, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.swallow > 0 {
		p.swallow--
		p.swallowed++
		return true, false
	}
	if p.cutIn > 0 {
		p.cutIn--
		return false, p.cutIn == 0
	}
	return false, false
}

// gate waits while the connection is stalled.
func (p *Proxy) gate(l *link) (dead bool, rate int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l.stalled && !l.dead {
		p.moved.Wait()
	}
	return l.dead, p.rate
}

func (p *Proxy) isDead(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return l.dead
}

func (p *Proxy) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.done:
	}
}
