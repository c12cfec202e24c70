package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/runtime/source/faultproxy"
	"github.com/foldrun/foldrun/store"
)

// A ward is a stream and the fold of it, which a chaos does everything to that may happen.
type ward struct {
	*keeper
	kind   wardKind
	rng    *rand.Rand // of what is done to the fold
	config jetstream.StreamConfig
	proxy  *faultproxy.Proxy
	tally  *tally
	log    *witness
	ledger ledger
	gate   sync.RWMutex // held by what changes the stream as a whole, shared by clients

	ctx      context.Context     // of the fold's present life
	asked    sync.WaitGroup      // commands of operators
	raised   atomic.Bool         // a MaxAge was raised in this round: what it had ended may be missing
	copied   bool                // there is an older copy of the stream
	patience time.Duration       // with a fold that follows
	tamper   func(*source.Batch) // breaks a law, before the ledger sees it
}

// A wardKind is a configuration of a stream, and what may be said of it.
type wardKind struct {
	config    jetstream.StreamConfig
	byMessage bool
	uncovers  bool // what is removed may lay bare an older message of its subject, which was never live
}

var wardKinds = []wardKind{
	{config: jetstream.StreamConfig{Name: "KV_ONE"}},
	{config: jetstream.StreamConfig{Name: "KV_MANY", MaxMsgsPerSubject: 5, AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Second}, uncovers: true},
	{config: jetstream.StreamConfig{Name: "FEW", MaxMsgsPerSubject: 3, AllowMsgTTL: true, MaxMsgs: 60}, uncovers: true},
	{config: jetstream.StreamConfig{Name: "LAST", MaxMsgsPerSubject: 1, AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Second, MaxBytes: 12000}},
	{config: jetstream.StreamConfig{Name: "LOG", MaxMsgs: 150, MaxBytes: 60000}, byMessage: true},
}

func (x *chaos) newWard(kind wardKind, rng *rand.Rand) *ward {
	x.t.Helper()
	p := must(faultproxy.Start(fmt.Sprint("127.0.0.1:", x.port)))(x.t)
	x.t.Cleanup(p.Close)
	log := &witness{tally: x.tally}
	conn := must(source.Connect(source.Target{URL: p.URL()}, nil))(x.t)
	x.t.Cleanup(conn.Close)
	c := kind.config
	c.AllowRollup, c.Duplicates = true, 100*time.Millisecond
	k := x.newKeeper(c)
	w := &ward{keeper: k, kind: kind, rng: rng, proxy: p, tally: x.tally, log: log, patience: patience, config: k.stream().CachedInfo().Config}
	k.opt.Conn, k.opt.Log = conn, slog.New(log)
	k.opt.Source.KeyingMessage, k.opt.Source.Settle = kind.byMessage, 500*time.Millisecond
	k.opt.Budget = &store.Budget{Share: 1}
	return w
}

// start starts the fold as a daemon does.
func (w *ward) start() {
	w.t.Helper()
	o := w.opt
	o.Source.BatchRecords = 1 + w.rng.IntN(64)
	o.Source.BatchBytes = 1 << (9 + w.rng.IntN(12))
	o.Workers, o.Batches = 1+w.rng.IntN(3), 2+w.rng.IntN(6)
	dir := openDir(w.t, w.path, store.Options{Sync: store.SyncNever})
	f := must(NewFold(w.t.Context(), dir, o))(w.t)
	f.guards, f.sweepPause, f.farBehind = w.off, 0, 10
	w.ledger.restarted()
	f.tamper = func(b *source.Batch) {
		if w.tamper != nil {
			w.tamper(b)
		}
		w.ledger.see(f, b)
	}
	ctx, end := context.WithCancel(w.t.Context())
	r := &runner{Fold: f, t: w.t, dir: dir, done: make(chan struct{}), end: end}
	go func() {
		defer close(r.done)
		f.keep(ctx)
	}()
	w.r, w.ctx = r, ctx
}

// stop ends the fold, as a signal does or, where it is abandoned, with its stores taken away first.
func (w *ward) stop(abandon bool) {
	w.t.Helper()
	r := w.r
	if abandon {
		for _, db := range r.stores() {
			check(w.t, db.Close())
		}
	}
	r.end()
	r.wait()
	w.asked.Wait()
	if db := r.Store(); db != nil && !abandon {
		whole(w.t, db)
	}
	r.close()
	w.r = nil
	w.examine(abandon)
}

// stores returns those of the generations that are open.
func (f *Fold) stores() (all []*store.DB) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range []*follower{f.cur, f.next} {
		if g != nil {
			all = append(all, g.db)
		}
	}
	return all
}

// examine asserts that the fold stopped for no reason but those that a stream gives.
func (w *ward) examine(abandoned bool) {
	w.t.Helper()
	for _, code := range w.log.takeCodes() {
		switch {
		case slices.Contains([]string{source.CodeRecreated, source.CodeRewound, source.CodeDiverged, CodeHeld}, code):
		case abandoned && code == CodeStore:
		default:
			w.t.Errorf("%s stopped: %s\n%s", w.name, code, w.log.told())
		}
	}
}

func (w *ward) message(key, value string, header ...string) *nats.Msg {
	m := nats.NewMsg(w.prefix + key)
	m.Data = []byte(value)
	for i := 0; i < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	return m
}

// ask has an operator give a command, and does not wait for what comes of it.
func (w *ward) ask(do func(ctx context.Context, r *runner)) {
	r, ctx := w.r, w.ctx
	w.asked.Go(func() { do(ctx, r) })
}

// heal ends what is wrong with the connection.
func (w *ward) heal() {
	w.proxy.Stall(false)
	w.proxy.Slow(0)
	w.proxy.Swallow(0)
	w.proxy.CutIn(0)
	if w.r == nil {
		w.start()
	}
}

// messages returns what the stream's leader holds.
func (w *ward) messages() (all []record, state jetstream.StreamState, created time.Time) {
	w.t.Helper()
	st := w.stream()
	info := st.CachedInfo()
	for seq := uint64(1); ; seq++ {
		m, err := st.GetMsg(w.t.Context(), seq, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all, info.State, info.Created
		}
		check(w.t, err)
		seq = m.Sequence
		key := m.Subject
		if w.opt.Source.Bucket != "" {
			key = strings.TrimPrefix(key, w.prefix)
		}
		if w.kind.byMessage {
			key = string(binary.BigEndian.AppendUint64(nil, seq))
		}
		put := w.kind.byMessage || m.Header.Get("KV-Operation") == "" && m.Header.Get("Nats-Marker-Reason") == ""
		all = append(all, record{key: key, value: string(m.Data), seq: seq, time: m.Time.UnixNano(), put: put})
	}
}

// newest returns the last of the messages of each source key.
func newest(all []record) (last []record) {
	at := map[string]int{}
	for i, r := range all {
		at[r.key] = i
	}
	for i, r := range all {
		if at[r.key] == i {
			last = append(last, r)
		}
	}
	return last
}

// differs returns how the fold differs from what its stream makes of it.
func (w *ward) differs() (d differences) {
	w.t.Helper()
	st := w.r.Status()
	if st.State != StateFollowing || st.Build != nil {
		d.add("the fold is %s: %s %s", st.State, st.Code, st.Reason)
		return d
	}
	retained, state, created := w.messages()
	db := w.r.Store()
	s := db.State()
	at := s.Position()
	if at.Created != created.UnixNano() {
		d.add("the cursor is of the stream of %d, the stream of %d", at.Created, created.UnixNano())
	}
	if at.Seq != state.LastSeq {
		d.add("the cursor is %d, the stream ends at %d", at.Seq, state.LastSeq)
	}
	if len(d) > 0 {
		return d // the generation may be replaced any time
	}
	d = append(contradicted(at, retained), w.ledger.check(retained)...)
	want := fold(newest(retained), at.Seq, s.ExpiredTo, defaultLimits)
	want.expiring = s.Expiring // compare checks that it is what the queue holds
	return append(d, compare(w.t, db, want)...)
}

// sweeps says whether the fold sweeps so often that nobody has to ask.
func (w *ward) sweeps() bool { return w.opt.SweepEvery > 0 && w.opt.SweepEvery < patience }

// settle has an operator do what the fold asks for, and waits until it is what its stream makes of it: as long as the ward has
// patience with a fold that follows, and with one that does not yet as long as any test.
func (w *ward) settle() (d differences) {
	w.t.Helper()
	late, over := time.NewTimer(w.patience), time.NewTimer(patience)
	defer late.Stop()
	defer over.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	swept := w.sweeps()
	for {
		moved := w.r.Moved()
		w.accept()
		if d = w.differs(); len(d) == 0 && swept {
			return w.strange()
		}
		st := w.r.Status()
		if st.State != StateFollowing || st.Build != nil {
			late.Reset(w.patience) // after faults it waits, longer each time
		}
		if st.State == StateFollowing && !w.sweeps() {
			ctx, cancel := context.WithTimeout(w.ctx, w.patience)
			_, err := w.r.Sweep(ctx, true)
			cancel()
			swept = err == nil
		}
		select {
		case <-moved:
		case <-again.C:
		case <-late.C:
			return w.late(d)
		case <-over.C:
			return w.late(d)
		}
	}
}

// late returns how the fold differs when there is no more patience with it, and what tells why.
func (w *ward) late(d differences) differences {
	var stacks strings.Builder
	pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	return append(append(d, w.ledger.takeWrong()...), fmt.Sprintf("no more patience: %+v\n%s\n%s", w.r.Status(), w.log.told(), stacks.String()))
}

// accept accepts what is lost where the fold waits for that.
func (w *ward) accept() {
	if st := w.r.Status(); st.State != StateHeld && st.State != StateStopped {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, w.patience)
	defer cancel()
	if w.r.Resume(ctx, true) == nil { // it refuses when the fold went on by itself
		w.tally.add(tallyFault, "loss accepted")
	}
}

// strange returns what was wrong on the way, though all is well now.
func (w *ward) strange() (d differences) {
	for _, text := range w.log.takeMissed() {
		if !w.kind.uncovers && !w.raised.Load() {
			d.add("a sweep found what was never folded: %s\n%s", text, w.log.told())
		}
	}
	d = append(d, w.ledger.takeWrong()...)
	w.examine(false)
	w.log.setDoubt(false)
	w.raised.Store(false)
	return d
}
