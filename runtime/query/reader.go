package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// A Fold is what is read of one fold: a *runtime.Fold, or a store that nothing follows.
type Fold interface {
	Name() string
	Status() runtime.Status
	Store() *store.DB // nil while there is none
}

// A viewer is a Fold that can wait for a position: one that follows its stream.
type viewer interface {
	ViewAt(ctx context.Context, want runtime.AtLeast) (*store.DB, *store.View, error)
}

// A Reader answers requests. It is safe for many goroutines.
type Reader struct {
	folds []Fold
	named map[string]Fold
	holds *Holds
}

// Holds are what requests hold for long, of all readers that share them: snapshots, streams and counts.
type Holds struct {
	kept snapshots
	long long
}

// NewHolds returns holds of nothing.
func NewHolds() *Holds {
	return &Holds{snapshots{all: map[string]*kept{}}, make(long, MaxLong)}
}

// Close ends the snapshots that are kept; no more can be. What reads one reads on.
func (h *Holds) Close() { h.kept.close() }

// New returns a reader of folds, in the order in which they are shown. Nothing is started.
func New(folds []Fold, holds *Holds) *Reader {
	r := &Reader{folds: folds, named: map[string]Fold{}, holds: holds}
	for _, f := range folds {
		r.named[f.Name()] = f
	}
	return r
}

// Folds returns the folds, in the order in which they are shown.
func (r *Reader) Folds() []Fold { return r.folds }

// Fold returns a fold.
func (r *Reader) Fold(name string) (Fold, error) {
	if f := r.named[name]; f != nil {
		return f, nil
	}
	names := make([]string, len(r.folds))
	for i, f := range r.folds {
		names[i] = f.Name()
	}
	return nil, &Fault{Status: http.StatusNotFound, Code: UnknownFold, Message: fmt.Sprintf("there is no fold %q", name), Hint: "there are " + quoted(names)}
}

func quoted(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	for i, name := range names {
		names[i] = strconv.Quote(name)
	}
	return strings.Join(names, ", ")
}

// Status returns what the folds know of themselves.
func (r *Reader) Status() []runtime.Status {
	all := make([]runtime.Status, len(r.folds))
	for i, f := range r.folds {
		all[i] = f.Status()
	}
	return all
}

// A Position says what a reply reflects: everything up to Seq of one incarnation of the stream, folded by one
// generation of the fold.
type Position struct {
	Seq         uint64
	Created     int64  // the stream's incarnation, ns since 1970; 0 before the first commit
	Generation  string // "": there is no store yet
	State, Code string // of the fold
	Withheld    uint64 // source keys whose rows are missing because their record is in quarantine
}

// Incarnation returns Created as text, "" for 0.
func (p *Position) Incarnation() string {
	if p.Created == 0 {
		return ""
	}
	return rfc3339(p.Created)
}

func rfc3339(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

func (p *Position) set(db *store.DB, state *store.State) {
	at := state.Position()
	p.Seq, p.Created, p.Generation, p.Withheld = at.Seq, at.Created, db.Generation(), state.Quarantined-state.Kept
}

// At returns the position of a state of a fold's store; nil: of no state.
func At(f Fold, db *store.DB, state *store.State) *Position {
	status := f.Status()
	p := &Position{State: status.State, Code: status.Code}
	if state != nil {
		p.set(db, state)
	}
	return p
}

// Store returns a fold with its store, or why it has none.
func (r *Reader) Store(name string) (Fold, *store.DB, error) {
	f, err := r.Fold(name)
	if err != nil {
		return nil, nil, err
	}
	status, db := f.Status(), f.Store()
	if db != nil {
		return f, db, nil
	}
	none := &Fault{Status: http.StatusServiceUnavailable, Code: status.Code, At: At(f, nil, nil),
		Message: fmt.Sprintf("fold %q has nothing to read: %s", name, status.Reason), Hint: status.Hint}
	if status.Code == "" {
		none.Code, none.Message, none.Hint = Starting, fmt.Sprintf("fold %q is starting", name), "ask again in a moment"
	}
	return nil, nil, none
}

// A Moment says of what fold, and of what moment of it, a request reads: of the last commit, unless it says more.
type Moment struct {
	Fold  string
	Want  *runtime.AtLeast // the position that it is at least of; nil: any
	Keep  time.Duration    // if not 0: the moment is kept for so long, up to MaxKeep, and the reply has the token of it
	Token string           // if not "": the moment is the one that was kept. It goes with neither Want nor Keep
}

// A moment is what one request reads.
type moment struct {
	fold     Fold
	db       *store.DB
	view     *store.View
	index    int // that the request names
	at       *Position
	snapshot *Snapshot // that the request has kept
	until    time.Time // when what is kept expires; zero: nothing is
	close    func()
	forget   func() // the snapshot, whose token nobody will know
}

func newMoment(f Fold, db *store.DB, v *store.View) *moment {
	return &moment{fold: f, db: db, view: v, at: At(f, db, v.State()), close: func() { v.Close() }}
}

// fault makes err a fault about the moment: it is what is replied, and has no token.
func (m *moment) fault(err error) error {
	if m.forget != nil {
		m.forget()
	}
	f := FaultOf(err, m.db)
	if f.At == nil {
		f.At = m.at
	}
	return f
}

// openIndex opens what a request reads of an index. One that is not there is not waited for.
func (r *Reader) openIndex(ctx context.Context, what Moment, index string) (*moment, error) {
	if f := r.named[what.Fold]; f != nil && what.Token == "" {
		if db := f.Store(); db != nil {
			if _, err := indexOf(what.Fold, db, index); err != nil {
				return nil, err
			}
		}
	}
	m, err := r.open(ctx, what)
	if err != nil {
		return nil, err
	}
	if m.index, err = indexOf(what.Fold, m.db, index); err != nil { // of a generation that came meanwhile
		m.close()
		return nil, m.fault(err)
	}
	return m, nil
}

// open opens what a request reads.
func (r *Reader) open(ctx context.Context, what Moment) (m *moment, err error) {
	if what.Token != "" {
		return r.again(what)
	}
	if f, follows := r.named[what.Fold].(viewer); follows && what.Want != nil {
		m, err = r.wait(ctx, r.named[what.Fold], f, *what.Want)
	} else {
		m, err = r.last(what)
	}
	if err != nil || what.Keep == 0 {
		return m, err
	}
	defer m.close()
	return r.keep(m, what.Keep)
}

// again opens what was kept.
func (r *Reader) again(what Moment) (*moment, error) {
	if what.Want != nil || what.Keep != 0 {
		return nil, bad("a token is given, and a position or a time to keep it", "a token is of one moment, and lives for as long as was asked first")
	}
	if _, err := r.Fold(what.Fold); err != nil {
		return nil, err
	}
	k, err := r.holds.kept.use(what.Fold, what.Token)
	if err != nil {
		return nil, err
	}
	return r.momentOf(k), nil
}

func (r *Reader) momentOf(k *kept) *moment {
	m := newMoment(k.fold, k.db, k.view)
	m.until, m.close = k.Until, func() { r.holds.kept.release(k) }
	return m
}

// keep keeps the store of a moment as it is now: that moment, or a later one of the same history.
func (r *Reader) keep(m *moment, keep time.Duration) (*moment, error) {
	if keep < 0 || keep > MaxKeep {
		return nil, bad("a snapshot of "+keep.String()+" is asked for", "it is kept for "+MaxKeep.String()+" at most")
	}
	v, err := m.pin()
	if err != nil {
		return nil, err
	}
	k, err := r.holds.kept.keep(m.fold, m.db, v, keep)
	if err != nil {
		v.Close()
		return nil, m.fault(err)
	}
	m = r.momentOf(k)
	m.snapshot, m.forget = &k.Snapshot, func() { r.holds.kept.end(k) }
	return m, nil
}

// pin opens a view of the moment's store as it is now, for long.
func (m *moment) pin() (*store.View, error) {
	v, err := m.db.Pin()
	if err != nil {
		return nil, m.fault(err)
	}
	was, is := m.view.State().Position(), v.State().Position()
	if is.Created != was.Created || is.Seq < was.Seq { // what was demanded of the one is not known of the other
		v.Close()
		return nil, m.fault(&Fault{Status: http.StatusConflict, Code: runtime.CodeBehind, Message: "the fold was set back just now", Hint: "ask again"})
	}
	return v, nil
}

// last opens the last commit.
func (r *Reader) last(what Moment) (*moment, error) {
	f, db, err := r.Store(what.Fold)
	if err != nil {
		return nil, err
	}
	v, err := db.View()
	for next := f.Store(); errors.Is(err, store.ErrClosed) && next != nil && next != db; next = f.Store() { // the generation was replaced just now
		db = next
		v, err = db.View()
	}
	if err != nil {
		return nil, FaultOf(err, db)
	}
	m := newMoment(f, db, v)
	if what.Want == nil {
		return m, nil
	}
	if why := what.Want.Judge(v.State()); why != nil {
		m.close()
		if why.Code != runtime.CodeIncarnation {
			why.Code = NotFollowing
		}
		return nil, &Fault{Status: http.StatusConflict, Code: why.Code, Message: why.Text + "; nothing follows the source of this fold",
			Hint: "start foldrun: only a running fold reads its source", At: m.at}
	}
	return m, nil
}

// wait opens a view of a position that is demanded.
func (r *Reader) wait(ctx context.Context, f Fold, waits viewer, want runtime.AtLeast) (*moment, error) {
	db, v, err := waits.ViewAt(ctx, want)
	var why *runtime.Refusal
	switch {
	case err == nil:
		return newMoment(f, db, v), nil
	case ctx.Err() != nil: // where it was the client that went, nobody reads this
		return nil, closing()
	case !errors.As(err, &why):
		return nil, FaultOf(err, f.Store())
	case why.DB == nil:
		if _, _, err := r.Store(f.Name()); err != nil {
			return nil, err
		}
	}
	return nil, &Fault{Status: http.StatusConflict, Code: why.Code, Message: why.Text, Hint: why.Hint, At: At(f, why.DB, why.State)}
}

// indexOf returns which index of a store has a name.
func indexOf(fold string, db *store.DB, name string) (int, error) {
	var names []string
	for i, x := range db.Indexes() {
		if x.Name == name {
			return i, nil
		}
		names = append(names, x.Name)
	}
	return 0, &Fault{Status: http.StatusNotFound, Code: UnknownIndex, Message: fmt.Sprintf("fold %q has no index %q", fold, name),
		Hint: "it has " + quoted(names)}
}
