package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/store"
)

// patience is how long a test waits for an event before it fails.
const patience = 30 * time.Second

// mute is a heartbeat that no test lives to hear: where a busy machine is not to be taken for silence, which ends a session.
const mute = 10 * patience

// A busy machine's answer is no lost one. Where answers are lost, a test says how long it takes to notice.
func init() { defaultPace.api = patience }

// A site is a server that can be stopped and started again in the same place.
type site struct {
	t      testing.TB
	dir    string
	port   int
	server *embedded.Server
	nc     *nats.Conn // of the test itself, kept over restarts
	js     jetstream.JetStream
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), port: spare(t)}
	s.start()
	t.Cleanup(func() { s.server.Stop() })
	s.nc = connect(t, s.server.URL())
	var err error
	s.js, err = jetstream.New(s.nc)
	check(t, err)
	return s
}

var given sync.Map // the ports that spare returned

// spare returns a port that nobody listens on, another one each time, of those that systems do not give away by themselves: what
// is stopped and started again there finds it free.
func spare(t testing.TB) int {
	t.Helper()
	for {
		port := 10_000 + rand.IntN(20_000)
		if _, again := given.LoadOrStore(port, true); again {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			check(t, l.Close())
			return port
		}
	}
}

func (s *site) start() {
	s.t.Helper()
	s.server = serverAt(s.t, embedded.Options{StoreDir: s.dir, Port: s.port, LameDuck: time.Second})
}

// serverAt starts a server. Where something else has taken its port meanwhile, it waits for the end of that.
func serverAt(t testing.TB, o embedded.Options) (server *embedded.Server) {
	t.Helper()
	var err error
	eventually(t, func() error {
		if server, err = embedded.Start(o); err != nil && strings.Contains(err.Error(), "address already in use") {
			return err
		}
		return nil
	})
	check(t, err)
	return server
}

// replace puts the files of another directory in the place of the stopped server's.
func (s *site) replace(dir string) {
	s.t.Helper()
	check(s.t, os.RemoveAll(s.dir))
	check(s.t, os.CopyFS(s.dir, os.DirFS(dir)))
}

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := Connect(Target{URL: url}, nil)
	check(t, err)
	t.Cleanup(nc.Close)
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)
	if !nc.IsConnected() {
		select {
		case <-connected:
		case <-time.After(patience):
			t.Fatalf("no connection to %s", url)
		}
	}
	return nc
}

func (s *site) bucket(c jetstream.KeyValueConfig) jetstream.KeyValue {
	s.t.Helper()
	kv, err := s.js.CreateKeyValue(s.t.Context(), c)
	check(s.t, err)
	return kv
}

func (s *site) stream(c jetstream.StreamConfig) {
	s.t.Helper()
	_, err := s.js.CreateStream(s.t.Context(), c)
	check(s.t, err)
}

// log makes the stream E, in memory.
func (s *site) log(subject string) {
	s.t.Helper()
	s.stream(jetstream.StreamConfig{Name: "E", Subjects: []string{subject}, Storage: jetstream.MemoryStorage})
}

// publish sends n messages to subject.<i % keys> and waits until all are stored.
func (s *site) publish(subject string, keys, n, size int) {
	s.t.Helper()
	for i := range n {
		_, err := s.js.PublishAsync(fmt.Sprintf("%s.%d", subject, i%keys), make([]byte, size), jetstream.WithStallWait(patience))
		check(s.t, err)
	}
	select {
	case <-s.js.PublishAsyncComplete():
	case <-time.After(patience):
		s.t.Fatal("publishing takes too long")
	}
}

// put stores a value and returns its seq. It tries again until the server, which may just have come back, says that it
// did: a value whose acknowledgement is lost is stored once all the same.
func (s *site) put(subject, value string) uint64 {
	s.t.Helper()
	id := nats.NewInbox()
	for deadline := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		ack, err := s.js.Publish(ctx, subject, []byte(value), jetstream.WithMsgID(id), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			return ack.Sequence
		}
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

func (s *site) consumers(stream string) []string {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), stream)
	check(s.t, err)
	var names []string
	for name := range st.ConsumerNames(s.t.Context()).Name() {
		names = append(names, name)
	}
	return names
}

// fewConsumers waits until a stream has no more than so many: who ended a session asked for the deletion of its consumer, and
// waits for that of the last one alone. No consumer is gone by itself within a test's patience.
func (s *site) fewConsumers(stream string, most int) {
	s.t.Helper()
	eventually(s.t, func() error {
		if names := s.consumers(stream); len(names) > most {
			return fmt.Errorf("consumers at the server: %v", names)
		}
		return nil
	})
}

// deleteConsumers deletes those of a stream, as soon as there is one. The session of one that is listed may end meanwhile.
func (s *site) deleteConsumers(stream string) {
	s.t.Helper()
	eventually(s.t, func() error {
		err := errors.New("there is no consumer to delete")
		for _, name := range s.consumers(stream) {
			if failed := s.js.DeleteConsumer(s.t.Context(), stream, name); !errors.Is(failed, jetstream.ErrConsumerNotFound) {
				check(s.t, failed)
				err = nil
			}
		}
		return err
	})
}

// delivered waits until the one consumer of a stream has sent on all that the stream holds.
func (s *site) delivered(st jetstream.Stream) {
	s.t.Helper()
	info, err := st.Info(s.t.Context())
	check(s.t, err)
	names := s.consumers(info.Config.Name)
	if len(names) != 1 {
		s.t.Fatalf("consumers %v", names)
	}
	eventually(s.t, func() error {
		c, err := st.Consumer(s.t.Context(), names[0])
		if err == nil && c.CachedInfo().Delivered.Stream < info.State.LastSeq {
			err = fmt.Errorf("delivered up to %d of %d", c.CachedInfo().Delivered.Stream, info.State.LastSeq)
		}
		return err
	})
}

// An update as a test sees it.
type seen struct {
	seq        uint64
	key, value string
	op         abi.Op
}

// A fold collects what a source delivers and checks every batch.
type fold struct {
	t        testing.TB
	source   *Source
	pipe     Pipe
	cancel   context.CancelFunc
	done     chan error
	pos      store.Position // committed
	seen     []seen
	batches  []store.Position
	sizes    []int
	loose    bool // do not keep what was seen
	received int
}

// brisk is a pace for tests: nothing of it is more than a fraction of a second.
func brisk(p *pace) {
	p.advance, p.longest, p.denied = 0, 100*time.Millisecond, 100*time.Millisecond
}

func open(t testing.TB, nc *nats.Conn, o Options) *Source {
	t.Helper()
	if o.Heartbeat == 0 {
		o.Heartbeat = 100 * time.Millisecond
	}
	if o.Settle == 0 {
		o.Settle = 200 * time.Millisecond
	}
	s, err := Open(t.Context(), nc, o)
	check(t, err)
	brisk(&s.pace)
	return s
}

func follow(t testing.TB, s *Source, from store.Position, p Pipe) *fold {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &fold{t: t, source: s, pipe: p, cancel: cancel, done: make(chan error, 1), pos: from}
	go func() { f.done <- s.Run(ctx, from, p) }()
	t.Cleanup(cancel)
	return f
}

// next receives one batch, checks it and keeps it from the source until free is called.
func (f *fold) next() (b *Batch, free func()) {
	f.t.Helper()
	select {
	case b = <-f.pipe.Out:
	case err := <-f.done:
		f.t.Fatalf("Run returned %v", err)
	case <-time.After(patience):
		f.t.Fatalf("nothing more came after seq %d; %+v", f.pos.Seq, f.source.Status())
	}
	f.examine(b)
	return b, func() { f.pipe.Free <- b }
}

func (f *fold) examine(b *Batch) {
	f.t.Helper()
	if b.From != f.pos.Seq || b.Pos.Seq < b.From {
		f.t.Fatalf("batch from %d to %d after %d", b.From, b.Pos.Seq, f.pos.Seq)
	}
	if point := (b.From/store.PointEvery + 1) * store.PointEvery; b.Len() > 0 && b.Pos.Seq > point {
		f.t.Fatalf("batch from %d to %d spans %d", b.From, b.Pos.Seq, point)
	}
	last := b.From
	for i, u := range b.Records {
		if u.Seq <= last || u.Seq > b.Pos.Seq {
			f.t.Fatalf("seq %d after %d in the batch from %d to %d", u.Seq, last, b.From, b.Pos.Seq)
		}
		last = u.Seq
		if !f.loose {
			f.seen = append(f.seen, seen{u.Seq, string(b.Key(i)), string(b.Value(i)), u.Op})
		}
	}
	f.received += b.Len()
	if n := b.Len(); n > 0 {
		a, want := b.Pos.Anchors[0], b.Records[n-1]
		if a != anchorOf(want.Seq, want.Time, b.At(want.Subject)) || b.Pos.Time != want.Time {
			f.t.Fatalf("newest anchor %+v, time %d, last update %+v", a, b.Pos.Time, want)
		}
	}
	f.pos = b.Pos
	f.pos.Anchors = append([]store.Anchor(nil), b.Pos.Anchors...)
	f.batches, f.sizes = append(f.batches, f.pos), append(f.sizes, b.Len())
}

// until commits batches until the position has reached seq.
func (f *fold) until(seq uint64) {
	f.t.Helper()
	for f.pos.Seq < seq {
		_, free := f.next()
		free()
	}
}

// stop ends Run and returns the position committed.
func (f *fold) stop() store.Position {
	f.t.Helper()
	f.cancel()
	if err := f.ended(); !errors.Is(err, context.Canceled) {
		f.t.Fatalf("Run returned %v", err)
	}
	if len(f.pipe.Free)+len(f.pipe.Out) != cap(f.pipe.Free) {
		f.t.Fatalf("%d batches are free and %d on their way out, of %d", len(f.pipe.Free), len(f.pipe.Out), cap(f.pipe.Free))
	}
	return f.pos
}

// ended commits whatever comes until Run has returned, and returns its error.
func (f *fold) ended() error {
	f.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case b := <-f.pipe.Out:
			f.examine(b)
			f.pipe.Free <- b
		case err := <-f.done:
			return err
		case <-deadline:
			f.t.Fatalf("Run goes on: %+v", f.source.Status())
		}
	}
}

// stopped demands that Run ends with a *Stop of this code.
func (f *fold) stopped(codes ...string) *Stop {
	f.t.Helper()
	var stop *Stop
	if err := f.ended(); !errors.As(err, &stop) {
		f.t.Fatalf("Run returned %v, want a stop", err)
	}
	for _, code := range codes {
		if stop.Code == code {
			f.t.Logf("%s\n%s", stop, stop.Hint)
			return stop
		}
	}
	f.t.Fatalf("Run stopped with %v, want %v", stop, codes)
	return nil
}

// A diary is a log whose lines a test can wait for.
type diary struct {
	mu    sync.Mutex
	lines []string
	added chan struct{}
}

func newDiary() *diary { return &diary{added: make(chan struct{}, 1)} }

func (d *diary) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(d, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (d *diary) Write(line []byte) (int, error) {
	d.mu.Lock()
	d.lines = append(d.lines, string(line))
	d.mu.Unlock()
	select {
	case d.added <- struct{}{}:
	default:
	}
	return len(line), nil
}

// await returns the first line from start on that satisfies want, and the index after it.
func (d *diary) await(t testing.TB, start int, want func(line string) bool) (string, int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		d.mu.Lock()
		lines := d.lines
		d.mu.Unlock()
		for ; start < len(lines); start++ {
			if want(lines[start]) {
				return lines[start], start + 1
			}
		}
		select {
		case <-d.added:
		case <-deadline:
			t.Fatalf("the log never said it: %s", lines[max(0, len(lines)-5):])
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func seqKey(seq uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, seq))
}
