package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	goruntime "runtime"
	"slices"
	"sync"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// FoldOptions say what one fold is.
type FoldOptions struct {
	Name       string
	Conn       *source.Conn
	Source     source.Options // BatchBytes is set from the memory budget if it is 0
	Wasm       []byte
	Module     plugin.Options
	Collisions map[string]store.Collisions // by index; others are store.All
	OnError    string                      // "quarantine"
	OnEvict    string                      // "remove"
	Batches    int                         // batches in flight; default the memory budget's
	Workers    int                         // default: one a processor, at most Batches
	SweepEvery time.Duration               // the source keys are compared with the stream's this often, give or take a tenth; default 6h
	Log        *slog.Logger
}

// Fold is one derived index: it follows its source and is read through its store.
type Fold struct {
	opt FoldOptions
	dir *store.Dir
	log *slog.Logger

	module *plugin.Module // nil if broken
	id     store.Identity
	broken error // why the fold could not be made: see Broken

	counts     counter
	sweepPause time.Duration       // the least between two sweeps that nobody asked for
	guards     guards              // tests turn them off, to see what they guard against
	tamper     func(*source.Batch) // tests break the law here, with each batch before it is transformed, to see it noticed

	mu       sync.Mutex
	db       *store.DB      // nil until it is open
	src      *source.Source // nil until it is open
	sweeper  *sweeper       // of this run; nil when there is none
	swept    *SweepReport   // the last one
	startSeq uint64         // the cursor when the store was opened
	code     string         // why the fold does not do its work; "" when it does
	reason   error
	stopped  bool          // code is final
	moved    chan struct{} // closed and replaced when the cursor moves
}

// NewFold checks and compiles the module of a fold. Nothing is opened yet. Its error is a *Stop;
// Broken makes a fold of it.
func NewFold(ctx context.Context, dir *store.Dir, o FoldOptions) (*Fold, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("fold", o.Name)
	o.Source.Log, o.Module.Log = o.Log, o.Log
	m := dir.Memory()
	if o.Batches == 0 {
		o.Batches = m.Batches
	}
	if o.Source.BatchBytes == 0 {
		o.Source.BatchBytes = int(m.Batch)
	}
	if o.Workers == 0 {
		o.Workers = min(goruntime.GOMAXPROCS(0), o.Batches)
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = 6 * time.Hour
	}
	f := &Fold{opt: o, dir: dir, log: o.Log, moved: make(chan struct{}), sweepPause: sweepPause}
	f.opt.Source.Due = f.due
	if err := f.compile(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// compile checks the module against the options. Where it fails, nothing stays open.
func (f *Fold) compile(ctx context.Context) (err error) {
	if f.module, err = plugin.Compile(ctx, f.opt.Wasm, f.opt.Module); err != nil {
		return &Stop{CodeModule, fmt.Errorf("fold %s: module: %w", f.opt.Name, err)}
	}
	if f.id, err = f.identity(); err != nil {
		return errors.Join(err, f.module.Close(ctx))
	}
	return nil
}

// identity is everything that the fold's rows are a function of, besides the source's records.
func (f *Fold) identity() (store.Identity, error) {
	o, m := &f.opt, f.module.Manifest()
	meaning, err := json.Marshal(string(m.Meaning()))
	if err != nil {
		return store.Identity{}, err
	}
	config := o.Module.Config
	if len(config) == 0 {
		config = []byte("{}")
	}
	stream, filter, keying := o.Source.Stream, o.Source.Filter, "subject"
	if o.Source.Bucket != "" {
		stream = "KV_" + o.Source.Bucket
	}
	if filter == "" {
		filter = ">"
	}
	if o.Source.KeyingMessage {
		keying = "message"
	}
	id := store.Identity{
		Fold: o.Name, Module: f.module.Digest(), Manifest: meaning, Config: config,
		Stream: stream, Domain: o.Source.Domain, Filter: filter, Keying: keying,
		OnEvict: orElse(o.OnEvict, "remove"), OnError: orElse(o.OnError, "quarantine"), Limits: f.module.Limits(), Meter: plugin.Meter,
	}
	for name := range o.Collisions {
		if !slices.Contains(m.Indexes, name) {
			return id, &Stop{CodeModule, hint.Error(fmt.Errorf("fold %s: its module has no index %q", o.Name, name), "it has %q", m.Indexes)}
		}
	}
	for _, name := range m.Indexes {
		id.Indexes = append(id.Indexes, store.IndexSpec{Name: name, Collisions: store.Collisions(orElse(string(o.Collisions[name]), string(store.All)))})
	}
	return id, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Run follows the source until ctx is done, then finishes what was read and closes the store. It returns nil then; a
// *Stop, or a *source.Stop, says why the fold cannot go on. Reads are served until Close.
func (f *Fold) Run(ctx context.Context) error {
	err := f.run(ctx)
	if err != nil {
		f.stop(err)
	}
	return err
}

func (f *Fold) run(ctx context.Context) error {
	if f.broken != nil {
		f.openBroken()
		return f.broken
	}
	if err := f.open(); err != nil {
		return err
	}
	src, err := source.Open(ctx, f.opt.Conn, f.opt.Source)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	f.set(func() { f.src = src })
	workers, err := f.workers(ctx)
	if err != nil {
		return &Stop{CodeModule, fmt.Errorf("fold %s: %w", f.opt.Name, err)}
	}
	defer func() {
		for _, t := range workers {
			t.worker.Close(context.WithoutCancel(ctx))
		}
	}()
	ctx, done := context.WithCancel(ctx)
	var syncing sync.WaitGroup
	syncing.Go(func() { f.syncSeconds(ctx) })
	defer syncing.Wait()
	defer done()
	p := &pipeline{fold: f, db: f.db, pipe: source.NewPipe(f.opt.Batches), aside: make(chan *aside), over: make(chan struct{})}
	p.sweeper = newSweeper(p, src)
	f.set(func() { f.sweeper = p.sweeper })
	defer f.set(func() { f.sweeper = nil })
	at := f.db.State().Position()
	f.log.Info("fold started", "generation", f.db.Generation(), "stream", f.id.Stream, "seq", at.Seq)
	if err := p.run(ctx, src, workers); err != nil {
		return err
	}
	at = f.db.State().Position()
	f.log.Info("fold stopped", "seq", at.Seq)
	return nil
}

// open opens the generation that the configuration asks for. When another one is current, that one is opened to be
// read, and the fold does not follow its source: two identities never mix in one store.
func (f *Fold) open() error {
	want, err := f.id.Generation()
	if err != nil {
		return &Stop{CodeIdentity, err}
	}
	have, err := f.dir.Current(f.opt.Name)
	if err != nil {
		return &Stop{CodeStore, err}
	}
	if have != "" && have != want {
		return f.openOther(have, want)
	}
	db, err := f.dir.Create(f.id)
	if err != nil {
		return &Stop{codeOf(err), err}
	}
	if have == "" {
		if err := f.dir.SetCurrent(f.opt.Name, want); err != nil {
			return &Stop{CodeStore, errors.Join(err, db.Close())}
		}
	}
	f.set(func() { f.db, f.startSeq = db, db.State().Position().Seq })
	return nil
}

func (f *Fold) openOther(have, want string) error {
	db, err := f.dir.Open(f.opt.Name, have)
	if errors.Is(err, store.ErrNoGeneration) {
		err = hint.Error(fmt.Errorf("CURRENT names a generation that is not there: %w: %w", store.ErrDamaged, err),
			"stop foldrun and remove %s: the fold is built again from the stream", f.dir.FoldPath(f.opt.Name))
	}
	if err != nil {
		return &Stop{codeOf(err), err}
	}
	f.set(func() { f.db = db })
	return &Stop{CodeIdentity, hint.Error(
		fmt.Errorf("fold %s: its module or configuration makes generation %s, current is %s: %s", f.opt.Name, want, have, db.Identity().Differs(f.id)),
		"put the old module and configuration back, or stop foldrun and remove %s to build the fold anew", f.dir.FoldPath(f.opt.Name))}
}

// due says whether anything expires at now, or would have to be judged anew, under the stream's MaxAge.
func (f *Fold) due(now, maxAge int64) bool {
	if f.guards.off(guardClock) {
		return false
	}
	n, err := f.db.Due(now, maxAge, 1)
	return n > 0 || err != nil || f.db.State().MaxAge != maxAge
}

// workers starts one transformer a worker, each with an instance: a module that cannot start stops the fold now.
func (f *Fold) workers(ctx context.Context) ([]*transformer, error) {
	var all []*transformer
	for range f.opt.Workers {
		all = append(all, f.transformer())
	}
	return all, all[0].worker.Warm(ctx)
}

func (f *Fold) transformer() *transformer {
	return &transformer{worker: f.module.Worker(), module: f.module.Digest(), wantsDelete: f.module.Manifest().WantsDelete(),
		byMessage: f.opt.Source.KeyingMessage, limit: 2 * f.opt.Source.BatchBytes, guards: f.guards}
}

// syncSeconds is the background half of sync = "1s".
func (f *Fold) syncSeconds(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for f.dir.Sync() == store.SyncSecond {
		select {
		case <-tick.C:
			if err := f.db.Flush(); err != nil {
				f.log.Warn("sync failed", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Close closes the store and the module, after Run has returned.
func (f *Fold) Close(ctx context.Context) error {
	var err error
	if db := f.Store(); db != nil {
		err = db.Close()
	}
	if f.module == nil {
		return err
	}
	return errors.Join(err, f.module.Close(ctx))
}

// Name returns the fold's name.
func (f *Fold) Name() string { return f.opt.Name }

// Store returns the store that answers reads, nil while there is none.
func (f *Fold) Store() *store.DB {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.db
}

// Moved returns a channel that is closed when the cursor moves next: with a commit, or because the store is opened. It
// is closed too when the fold pauses, goes on or stops. Whoever waits takes the channel first and then looks.
func (f *Fold) Moved() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.moved
}

// set changes what mu guards and wakes those who wait with Moved.
func (f *Fold) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.moved)
	f.moved = make(chan struct{})
}

// pause notes why the fold waits, once; an empty code ends the pause.
func (f *Fold) pause(code string, why error) {
	f.mu.Lock()
	changed := f.code != code
	f.code, f.reason = code, why
	f.mu.Unlock()
	if changed {
		f.set(func() {})
	}
	switch {
	case changed && code != "":
		f.log.Warn("fold paused", "code", code, "err", why)
	case changed:
		f.log.Info("fold goes on")
	}
}

// stop notes why the fold ended.
func (f *Fold) stop(err error) {
	code, text := Describe(err)
	f.set(func() { f.code, f.reason, f.stopped = code, err, true })
	f.log.Error("fold stopped", "code", code, "err", text, "hint", HintOf(err))
}

// Describe returns the stable code of why a fold stopped, and the text without it.
func Describe(err error) (code, text string) {
	var stop *Stop
	var src *source.Stop
	switch {
	case errors.As(err, &stop):
		return stop.Code, stop.Err.Error()
	case errors.As(err, &src):
		return src.Code, src.Text
	}
	return CodeStore, err.Error()
}

// HintOf returns what to do about why a fold stopped.
func HintOf(err error) string {
	var src *source.Stop
	if errors.As(err, &src) {
		return src.Hint
	}
	return hint.Of(err)
}
