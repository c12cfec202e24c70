package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// A writer stores values, one after the other, each under a key of its own and once: a value whose acknowledgement is
// lost is sent again, and the server knows it by its id.
type writer struct {
	js   jetstream.JetStream
	mu   sync.Mutex
	seqs []uint64 // by value
	err  error
	pauses
}

// pauses notes the longest time between two events, of which beat is called for each.
type pauses struct {
	last time.Time
	most time.Duration
}

func (p *pauses) beat() {
	now := time.Now()
	if !p.last.IsZero() {
		p.most = max(p.most, now.Sub(p.last))
	}
	p.last = now
}

// take returns the longest pause since it was last asked.
func (p *pauses) take() time.Duration {
	d := p.most.Round(time.Millisecond)
	p.most = 0
	return d
}

func (w *writer) run(ctx context.Context, subject string) {
	next := time.NewTicker(3 * time.Millisecond) // the servers share the machine
	defer next.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		<-next.C
		var ack *jetstream.PubAck
		err := errors.New("not sent")
		for began := time.Now(); err != nil && time.Since(began) < patience; {
			one, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			ack, err = w.js.Publish(one, fmt.Sprint(subject, ".", i), fmt.Append(nil, i), jetstream.WithMsgID(fmt.Sprint(i)), jetstream.WithRetryAttempts(0))
			cancel()
		}
		w.mu.Lock()
		if w.err = err; err == nil {
			w.seqs = append(w.seqs, ack.Sequence)
			w.beat()
		}
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (w *writer) end(t testing.TB) (seq uint64) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		t.Fatalf("nothing more can be written after %d values: %v", len(w.seqs), w.err)
	}
	if len(w.seqs) > 0 {
		seq = w.seqs[len(w.seqs)-1]
	}
	return seq
}

func (w *writer) longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take()
}

// A witness commits what a source delivers on a goroutine of its own, and keeps it: its record is what a fold would have.
type witness struct {
	mu     sync.Mutex
	record []seen
	pos    store.Position
	wrong  error // what no batch may be
	pauses
}

func (w *witness) run(ctx context.Context, p Pipe) {
	for {
		select {
		case b := <-p.Out:
			w.commit(b)
			p.Free <- b
		case <-ctx.Done():
			return
		}
	}
}

func (w *witness) commit(b *Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.From != w.pos.Seq || b.Pos.Seq < b.From {
		w.wrong = fmt.Errorf("batch from %d to %d after %d", b.From, b.Pos.Seq, w.pos.Seq)
	}
	for i, u := range b.Records {
		if u.Seq <= b.From || u.Seq > b.Pos.Seq || i > 0 && u.Seq <= b.Records[i-1].Seq {
			w.wrong = fmt.Errorf("seq %d in the batch from %d to %d", u.Seq, b.From, b.Pos.Seq)
		}
		w.record = append(w.record, seen{u.Seq, string(b.Key(i)), string(b.Value(i)), u.Op})
	}
	w.pos.Seq = b.Pos.Seq
	if b.Len() > 0 {
		w.beat()
	}
}

// reaches waits until everything up to seq is committed.
func (w *witness) reaches(t testing.TB, s *Source, seq uint64) {
	t.Helper()
	eventually(t, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case w.wrong != nil:
			t.Fatal(w.wrong)
		case w.pos.Seq < seq:
			return fmt.Errorf("at %d of %d: %+v", w.pos.Seq, seq, s.Status())
		}
		return nil
	})
}

func (w *witness) longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take()
}

// same demands that a record is what a stream holds.
func same(t testing.TB, record, held []seen) {
	t.Helper()
	for i := range min(len(record), len(held)) {
		if record[i] != held[i] {
			t.Fatalf("update %d is %+v, the stream has %+v", i, record[i], held[i])
		}
	}
	if len(record) != len(held) {
		t.Fatalf("%d updates came, the stream holds %d", len(record), len(held))
	}
}

// eventually waits until f returns nil.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}
