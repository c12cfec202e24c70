package serve

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
)

// A gate is a listener with a bounded number of connections: each is a file descriptor, and a store that is denied one
// ends the process. When all are taken, the connection that has been idle longest makes room; while none is idle, the
// next waits. One that does not ask, or does not take its reply, is ended by the timeouts.
type gate struct {
	net.Listener
	slots chan struct{}
	shut  chan struct{}
	once  sync.Once

	mu   sync.Mutex
	idle []*gated // between two requests, the longest first
	full bool     // somebody waits for a slot
}

func newGate(l net.Listener, connections int) *gate {
	return &gate{Listener: l, slots: make(chan struct{}, connections), shut: make(chan struct{})}
}

// Accept is called by one goroutine.
func (g *gate) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !g.enter() {
		c.Close()
		return nil, net.ErrClosed
	}
	return &gated{Conn: c, gate: g}, nil
}

func (g *gate) enter() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
	}
	g.makeRoom()
	select {
	case g.slots <- struct{}{}:
	case <-g.shut:
		return false
	}
	g.mu.Lock()
	g.full = false
	g.mu.Unlock()
	return true
}

// makeRoom closes an idle connection, or has the next that becomes idle closed.
func (g *gate) makeRoom() {
	g.mu.Lock()
	if len(g.idle) == 0 {
		g.full = true
		g.mu.Unlock()
		return
	}
	c := g.idle[0]
	g.idle = g.idle[1:]
	g.mu.Unlock()
	c.Close()
}

// state follows the states of connections, as http.Server tells them.
func (g *gate) state(conn net.Conn, state http.ConnState) {
	c, ok := bare(conn).(*gated)
	if !ok {
		return
	}
	g.mu.Lock()
	g.idle = slices.DeleteFunc(g.idle, func(x *gated) bool { return x == c })
	drop := state == http.StateIdle && g.full
	if drop {
		g.full = false
	} else if state == http.StateIdle {
		g.idle = append(g.idle, c)
	}
	g.mu.Unlock()
	if drop {
		c.Close()
	}
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.shut) })
	return g.Listener.Close()
}

// gated is a connection with a slot.
type gated struct {
	net.Conn
	gate *gate
	once sync.Once
}

func (c *gated) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.gate.slots })
	return err
}

// bare takes TLS off a connection.
func bare(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}
