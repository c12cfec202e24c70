// Package faultproxy stands between a NATS client and its server and does what networks do: it cuts connections, holds
// back what the server sends without closing anything, and swallows single messages. Only tests import it.
package faultproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
)

// A Proxy forwards connections to one server. Close ends it.
type Proxy struct {
	listener net.Listener
	server   string // host:port
	wg       sync.WaitGroup

	mu        sync.Mutex
	moved     *sync.Cond        // a stall ended
	conns     map[net.Conn]bool // both ends of each; true: stalled
	closed    bool
	swallow   int // delivered messages still to swallow
	swallowed int
}

// Start returns a proxy for the server at host:port.
func Start(server string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{listener: l, server: server, conns: map[net.Conn]bool{}}
	p.moved = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	return p, nil
}

// URL returns where clients connect.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Cut closes all connections. New ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Stall holds back what the server sends on the connections that there are, or lets it go on. They stay open: neither
// end learns of it. New connections work.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.conns[c] = on
	}
	p.moved.Broadcast()
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
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Stall(false)
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil || !p.keep(client, server) {
			client.Close()
			if server != nil {
				server.Close()
			}
			continue
		}
		p.wg.Go(func() {
			io.Copy(server, client)
			p.forget(client, server)
		})
		p.wg.Go(func() {
			p.deliver(client, server)
			p.forget(client, server)
		})
	}
}

func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	for _, c := range conns {
		p.conns[c] = false
	}
	return true
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.conns, c)
	}
	p.moved.Broadcast()
}

// deliver forwards what the server sends, one protocol line with its payload at a time.
func (p *Proxy) deliver(client, server net.Conn) {
	r := bufio.NewReaderSize(server, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		if f := bytes.Fields(line); len(f) > 0 && (string(f[0]) == "MSG" || string(f[0]) == "HMSG") {
			n, err := strconv.Atoi(string(f[len(f)-1]))
			if err != nil {
				return
			}
			head := len(line)
			line = append(line, make([]byte, n+2)...)
			if _, err := io.ReadFull(r, line[head:]); err != nil {
				return
			}
			if bytes.Contains(line[:head], []byte(" $JS.ACK.")) && p.takes() {
				continue
			}
		}
		p.gate(client)
		if _, err := client.Write(line); err != nil {
			return
		}
	}
}

// takes says whether to swallow a delivered message.
func (p *Proxy) takes() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.swallow == 0 {
		return false
	}
	p.swallow--
	p.swallowed++
	return true
}

// gate waits while the connection is stalled.
func (p *Proxy) gate(client net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.conns[client] {
		p.moved.Wait()
	}
}
