package runtime

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
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
	From       string // where Wasm is from, for who is told what is wrong with it; "" = that is not said
	Module     plugin.Options
	Collisions map[string]store.Collisions // by index; others are store.All
	OnError    string                      // one of the OnError… constants; default OnErrorQuarantine
	DiskQuota  int64                       // bytes that all generations may take on disk; 0: no bound
	Budget     *store.Budget               // bounds quarantine; default 1 % of the live source keys, at least 100
	OnEvict    string                      // "remove", "keep"
	KeepSource bool                        // the store keeps the records of the source, and a build reads them there
	OnDiverged Divergence                  // what is done when the stream holds another history; default DivergedRebuild
	Jitter     time.Duration               // a build that no operator asked for begins within so long; 0 = at once
	AtOnce     bool                        // somebody waits for what comes of a change: no build waits for a moment within Jitter
	Rollback   time.Duration               // how long a generation that an upgrade replaced is kept as the way back; 0 = not at all
	Upgrade    Upgrade                     // what is done when the generation that serves has another identity; default UpgradeAuto
	Gates      []GateQuery                 // what a generation must answer before it replaces another one
	Batches    int                         // batches in flight; default the memory budget's
	Workers    int                         // default: one a processor, at most Batches
	Staleness  time.Duration               // the fold is stale when it last held everything longer ago than this; 0 = never
	SweepEvery time.Duration               // the source keys are compared with the stream's this often, give or take a tenth; default 6h
	Log        *slog.Logger

	format int // of the store, see store.Identity: that of the data directory; 0 = store.FormatVersion
}

// Fold is one derived index: it follows its source and is read through its store.
type Fold struct {
	recipe // what is configured; replaced by Configure
	name   string
	dir    *store.Dir
	log    *slog.Logger
	broken error // why the fold could not be made: see Broken

	farBehind    uint64                            // seqs that are left when commits may wait: see pipeline.mayWait
	sweepPause   time.Duration                     // the least between two sweeps that nobody asked for; 0: none
	compactAfter time.Duration                     // how long it stands before its store is compacted
	guards       guards                            // tests turn them off, to see what they guard against
	draw         func(time.Duration) time.Duration // tests draw another moment: see drawn
	tamper       func(*source.Batch)               // tests break the law here, with each batch before it is transformed, to see it noticed

	compares func() // tests hold up a comparison of what was built with what serves here

	commands chan command  // to Run, or to the daemon while the fold is stopped
	wanted   chan struct{} // a fold of the daemon wants the place in builds that a way back is followed in
	builds   chan struct{} // holds one value while a fold of the daemon builds a generation beside its current one

	accept atomic.Int64 // the operator accepts what the next switch or reconcile loses: see accepts
	lifted atomic.Bool  // the operator accepts failures beyond the budget: see follower.within

	// The stream, by when it was created, that had stopped the fold when an operator had it go on: what is built may be built of that.
	// It is 0 once that is built, or nothing is.
	answered atomic.Int64

	closing  chan any    // closed when all that later was told to close is; owned by Run, and by Close after it
	removing atomic.Bool // what a switch replaced is on its way out

	mu        sync.Mutex
	cur       *follower     // of the generation that answers reads; nil until it is open
	prev      *follower     // of the generation that is kept as the way back, while it follows
	prevUntil time.Time     // when it is given up
	next      *follower     // of the generation that is being built to replace it
	queued    queued        // what is built next, while that waits
	held      error         // why next does not replace cur, though it has caught up, or is not built on
	cause     *Stop         // why next is built; nil when an operator asked for it
	stopped   error         // why the fold ended
	refused   error         // why it did not become what it was to be: see Refuse
	moved     chan struct{} // closed and replaced when the cursor moves
}

// NewFold checks and compiles the module of a fold. Nothing is opened yet. Its error is a *Stop;
// Broken makes a fold of it.
func NewFold(ctx context.Context, dir *store.Dir, o FoldOptions) (*Fold, error) {
	r, err := newRecipe(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	return newFold(dir, r), nil
}

func newFold(dir *store.Dir, r recipe) *Fold {
	return &Fold{recipe: r, name: r.opt.Name, dir: dir, log: r.opt.Log, moved: make(chan struct{}), sweepPause: sweepPause, farBehind: farBehind, draw: drawn,
		compactAfter: compactAfter, commands: make(chan command), builds: make(chan struct{}, 1), wanted: make(chan struct{})}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// bucketStream begins the name of a KV bucket's stream.
const bucketStream = "KV_"

// Close closes the stores and the module, after Run has returned.
func (f *Fold) Close(ctx context.Context) error {
	f.retire()
	var err error
	for _, g := range []*follower{f.cur, f.next} {
		if g != nil {
			err = errors.Join(err, g.db.Close())
		}
		err = errors.Join(err, closeModule(ctx, f.stray(g)))
	}
	if f.module == nil {
		return err
	}
	return errors.Join(err, f.module.Close(ctx))
}

// Name returns the fold's name.
func (f *Fold) Name() string { return f.name }

// Store returns the store that answers reads, nil while there is none.
func (f *Fold) Store() *store.DB {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cur == nil {
		return nil
	}
	return f.cur.db
}

// Moved returns a channel that is closed when the cursor moves next: with a commit, or because the store is opened. It
// is closed too when the fold pauses, goes on or stops. That the fold has caught up, which is the leader's word, moves nothing:
// whoever waits for that looks again now and then. Whoever waits takes the channel first and then looks.
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

// stop notes why the fold ended.
func (f *Fold) stop(err error) {
	code, text := Describe(err)
	f.set(func() { f.stopped = err })
	if code == CodePaused {
		f.log.Info("fold paused by an operator")
		return
	}
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
