package rig

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
)

const (
	pending  = 4096        // publishes that wait for their acknowledgement, at most
	patience = time.Minute // how long a busy server may take over one
	pulls    = 20_000      // messages that the bare consumer asks for at a time
)

// Server is a connection to a server that is measured.
type Server struct {
	Conn   *source.Conn
	JS     jetstream.JetStream
	Domain string

	lost failure // of what was put
}

// Connect connects to a server.
func Connect(t source.Target) (s *Server, err error) {
	if t, err = source.Resolve(t); err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	s = &Server{Domain: t.Domain}
	if s.Conn, err = source.Connect(t, nil); err != nil {
		return nil, err
	}
	o := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncMaxPending(pending), jetstream.WithPublishAsyncErrHandler(s.lost.note)}
	if s.Domain == "" {
		s.JS, err = jetstream.New(s.Conn, o...)
	} else {
		s.JS, err = jetstream.NewWithDomain(s.Conn, s.Domain, o...)
	}
	if err != nil {
		s.Conn.Close()
		return nil, fmt.Errorf("rig: %w", err)
	}
	return s, nil
}

// Close ends the connection.
func (s *Server) Close() { s.Conn.Close() }

// Publish puts keys 0 to n-1 of a bucket.
func (s *Server) Publish(ctx context.Context, bucket string, n int, value func(i int) []byte) error {
	return s.PublishKeys(ctx, bucket, n, func(i int) (string, []byte) { return Key(i), value(i) })
}

// PublishKeys does n puts. It does so as nats.go does, by a publish to the key's subject, and does not wait for each answer,
// which makes it fast.
func (s *Server) PublishKeys(ctx context.Context, bucket string, n int, update func(i int) (key string, value []byte)) error {
	prefix := "$KV." + bucket + "."
	if s.Domain != "" {
		prefix = "$JS." + s.Domain + ".API." + prefix
	}
	for i := range n {
		if err := errors.Join(ctx.Err(), s.lost.error()); err != nil {
			return err
		}
		key, value := update(i)
		if _, err := s.JS.PublishAsync(prefix+key, value, jetstream.WithStallWait(patience)); err != nil {
			return err
		}
	}
	select {
	case <-s.JS.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return fmt.Errorf("%d updates were not acknowledged within %s", s.JS.PublishAsyncPending(), patience)
	}
	return s.lost.error()
}

// failure is the first error of publishing.
type failure struct {
	mu  sync.Mutex
	err error
}

func (f *failure) note(_ jetstream.JetStream, _ *nats.Msg, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *failure) error() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Key is the i-th source key, of 16 bytes.
func Key(i int) string { return fmt.Sprintf("key-%012d", i) }

// Value returns size bytes that depend on i, and do not compress to nothing. Eight of them, in another order than the keys,
// are what rekey.wasm keys by.
func Value(i, size int) []byte {
	x := uint64(i)*0x9e3779b97f4a7c15 + 1
	v := strconv.AppendUint(make([]byte, 0, size+16), x, 36)
	for len(v) < size {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v = strconv.AppendUint(v, x, 36)
	}
	return v[:size]
}

// Drain reads n messages of a bucket, from a seq on, with nats.go's ordered consumer, and counts them.
func (s *Server) Drain(ctx context.Context, bucket string, from uint64, n int) error {
	c, err := s.JS.OrderedConsumer(ctx, "KV_"+bucket,
		jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
	if err != nil {
		return err
	}
	done, seen := make(chan struct{}), 0
	cc, err := c.Consume(func(jetstream.Msg) {
		if seen++; seen == n {
			close(done)
		}
	}, jetstream.PullMaxMessages(pulls))
	if err != nil {
		return err
	}
	defer cc.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
