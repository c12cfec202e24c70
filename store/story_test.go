package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// patience is how long a test waits for an event before it fails.
const patience = time.Minute

// storyOptions are those of the store that a story is told on.
func storyOptions() store.Options {
	o := store.Options{Memory: store.Small}
	o.Fatal = func(dir string, err error) { panic(dir + ": " + err.Error()) }
	return o
}

// newer is added to a version by a foldrun that writes format 2, and reads format 1 too: another generation of the same rows.
const newer = 100

// A stage is one thing that an operator does with a fold. Each writes its module's version into every value.
type stage struct {
	name    string
	version int           // what is configured while it lasts
	window  time.Duration // and for how long what an upgrade replaces is kept; 0 = an hour
	fuel    int64         // and this limit, if it is not 0
	jitter  time.Duration // and within which a build begins
	do      func(s *story) error
	ends    []ending // what may stand when a start has carried it through, the first one when it was acknowledged
}

// An ending is what stands when nothing is under way.
type ending struct {
	version, previous int  // that serves, that is the way back
	number            int  // of the generation that serves; 0 = any
	back, paused      bool // it was rolled back, paused
	refused           bool // what serves is of a format that is not read
}

// stages are the life of a fold: first build, upgrade, rollback, apply, another upgrade for which the way back is removed, a
// rollback that is called off, a rebuild, a way back whose time passes, a rollback that another configuration ends.
var stages = []stage{
	{name: "first build", version: 1, ends: []ending{{version: 1}}},
	{name: "upgrade", version: 2, do: (*story).configure, ends: []ending{{version: 2, previous: 1}}},
	{name: "rollback", version: 2, do: (*story).rollback, ends: []ending{{version: 1, previous: 2, back: true}, {version: 2, previous: 1}}},
	{name: "restart", version: 2, do: (*story).restart, ends: []ending{{version: 1, previous: 2, back: true}}},
	{name: "apply", version: 2, do: (*story).apply, ends: []ending{{version: 2, previous: 1}, {version: 1, previous: 2, back: true}}},
	{name: "another upgrade", version: 3, do: (*story).configure, ends: []ending{{version: 3, previous: 2}}},
	{name: "a rollback that is called off", version: 3, do: (*story).callOff, ends: []ending{{version: 3, previous: 2}, {version: 2, previous: 3, back: true}}},
	{name: "pause", version: 3, do: (*story).pause, ends: []ending{{version: 3, previous: 2, paused: true}, {version: 3, previous: 2}}},
	{name: "resume", version: 3, do: (*story).resume, ends: []ending{{version: 3, previous: 2}, {version: 3, previous: 2, paused: true}}},
	{name: "rebuild", version: 3, do: (*story).rebuild, ends: []ending{{version: 3, number: 2}, {version: 3, previous: 2}, {version: 3}}},
	{name: "a window that passes", version: 1, window: 1, do: (*story).configure, ends: []ending{{version: 1}}},
	{name: "third upgrade", version: 2, do: (*story).configure, ends: []ending{{version: 2, previous: 1}}},
	{name: "second rollback", version: 2, do: (*story).rollback, ends: []ending{{version: 1, previous: 2, back: true}, {version: 2, previous: 1}}},
	{name: "another configuration", version: 3, do: (*story).configure, ends: []ending{{version: 3, previous: 1}}},
	{name: "a raised limit", version: 3, fuel: 1 << 30, do: (*story).configure, ends: []ending{{version: 3, previous: 1}}},
	{name: "stop", version: 3, fuel: 1 << 30, do: (*story).restart, ends: []ending{{version: 3, previous: 1}}},
}

// formatStages are the life of a fold under two releases, of which the second writes another format: it upgrades, by itself, what
// the first one built; it goes back, the first one goes on with that and leaves alone what it does not read, and the second takes
// it up again. What only the second reads the first one refuses, until an operator has it built anew; then that is the way back.
var formatStages = []stage{
	{name: "first build", version: 1, ends: []ending{{version: 1}}},
	{name: "the newer foldrun", version: newer + 1, do: (*story).restart, ends: []ending{{version: newer + 1, previous: 1}}},
	{name: "rollback", version: newer + 1, do: (*story).rollback, ends: []ending{{version: 1, previous: newer + 1, back: true}, {version: newer + 1, previous: 1}}},
	{name: "the older foldrun", version: 1, do: (*story).restart, ends: []ending{{version: 1, previous: newer + 1}}},
	{name: "the newer one again", version: newer + 1, do: (*story).restart, ends: []ending{{version: newer + 1, previous: 1}}},
	{name: "upgrade", version: newer + 2, do: (*story).configure, ends: []ending{{version: newer + 2, previous: newer + 1}}},
	{name: "the older one, refused", version: 1, do: (*story).restart, ends: []ending{{refused: true, previous: newer + 1}}},
	{name: "rebuild", version: 1, do: (*story).rebuild, ends: []ending{{version: 1, previous: newer + 2}, {refused: true, previous: newer + 1}, {refused: true}}},
	{name: "the newer one at last", version: newer + 2, do: (*story).restart, ends: []ending{{version: newer + 2, previous: 1}}},
	{name: "stop", version: newer + 2, do: (*story).restart, ends: []ending{{version: newer + 2, previous: 1}}},
}

// formats are those that the foldrun of a stage reads.
func (x *stage) formats() []int {
	if x.version > newer {
		return []int{1, 2}
	}
	return []int{1}
}

// A storyteller has what the starts of one fold have in common.
type storyteller struct {
	ctx     context.Context
	conn    *source.Conn
	bucket  string
	modules map[int][]byte // by version
	names   map[string]int // the version of a generation, by the name of the first of its identity
	stages  []stage
}

func newStoryteller(ctx context.Context, conn *source.Conn, bucket string) (*storyteller, error) {
	one, err := os.ReadFile("../testdata/modules/version.wasm")
	if err != nil {
		return nil, err
	}
	s := &storyteller{ctx, conn, bucket, map[int][]byte{}, map[string]int{}, stages}
	for v := 1; v <= 3; v++ {
		s.modules[v] = bytes.Replace(one, []byte("version 1: "), fmt.Appendf(nil, "version %d: ", v), 1)
		id, err := runtime.Try(ctx, s.fold(&stage{version: v}))
		if err != nil {
			return nil, err
		}
		for format, version := range map[int]int{1: v, 2: newer + v} {
			id.Format = format
			name, err := id.Generation()
			if err != nil {
				return nil, err
			}
			s.names[name] = version
		}
	}
	if len(s.names) != 6 {
		return nil, fmt.Errorf("%d generations of 3 modules in 2 formats", len(s.names))
	}
	return s, nil
}

// fold returns the options of the fold as they are configured in a stage.
func (s *storyteller) fold(x *stage) runtime.FoldOptions {
	o := runtime.FoldOptions{Name: "f", Conn: s.conn, Source: source.Options{Bucket: s.bucket}, Wasm: s.modules[x.version%newer], Module: plugin.Options{}}
	if o.Rollback = x.window; o.Rollback == 0 {
		o.Rollback = time.Hour
	}
	o.Module.FuelPerRecord, o.Jitter = x.fuel, x.jitter
	o.Log = storyLog
	return o
}

var storyLog = slog.New(slog.DiscardHandler)

// version returns the version that makes a generation, 0 for none.
func (s *storyteller) version(generation string) int {
	for name, v := range s.names {
		if store.SameIdentity(name, generation) {
			return v
		}
	}
	return 0
}

// message is the n-th message of the source, counted from 1, which is its seq: a key and its value, "" for a deletion.
func message(n uint64) (key, value string) {
	key, value = fmt.Sprint("k", n*7%5), fmt.Sprint("value ", n)
	if n%6 == 5 {
		value = ""
	}
	return key, value
}

// rows are what the rows of a version are after so many messages: value by key.
func rows(version int, seq uint64) map[string]string {
	all := map[string]string{}
	for n := uint64(1); n <= seq; n++ {
		key, value := message(n)
		if all[key] = fmt.Sprintf("version %d: %s", version, value); value == "" {
			delete(all, key)
		}
	}
	return all
}

// agrees says in what the rows of a store are not those that one version makes of the source up to the cursor.
func (s *storyteller) agrees(db *store.DB) error {
	report, err := db.Check()
	if err != nil {
		return err
	}
	if report.Found > 0 {
		return fmt.Errorf("generation %s is not whole: %q", db.Generation(), report.Problems)
	}
	v, err := db.View()
	if err != nil {
		return err
	}
	defer v.Close()
	have := map[string]string{}
	if err := v.Scan(0, store.Range{}, func(r store.Row) bool {
		have[string(r.Key)] = string(r.Value)
		return true
	}); err != nil {
		return err
	}
	seq := v.State().Position().Seq
	if want := rows(s.version(db.Generation())%newer, seq); !maps.Equal(have, want) {
		return fmt.Errorf("generation %s, version %d, at %d: %q, want %q", db.Generation(), s.version(db.Generation()), seq, have, want)
	}
	return nil
}

// A story is one start of the fold, as a daemon has it.
type story struct {
	*storyteller
	options store.Options
	path    string
	stage   *stage // what is done now

	dir  *store.Dir
	fold *runtime.Fold
	end  func() error

	// ahead is called before a stage, and after what is asked for in it is acknowledged.
	ahead func(stage int, acknowledged bool)
	// insists has the operator ask again where something failed, and resume a fold that stopped or is held for it.
	insists bool
}

// open starts the fold as a stage configures it.
func (s *story) open() (err error) {
	if s.dir, err = store.OpenDir(s.path, store.Reading(s.options, s.stage.formats()...)); err != nil {
		return err
	}
	if s.fold, err = runtime.NewFold(s.ctx, s.dir, s.storyteller.fold(s.stage)); err != nil {
		return errors.Join(err, s.dir.Close())
	}
	ctx, stop := context.WithCancel(s.ctx)
	over := make(chan struct{})
	go func() {
		runtime.NewDaemon(s.dir, []*runtime.Fold{s.fold}).Run(ctx)
		close(over)
	}()
	s.end = func() error {
		stop()
		<-over
		s.end = nil
		return errors.Join(s.fold.Close(context.WithoutCancel(s.ctx)), s.dir.Close())
	}
	return nil
}

// tell does all stages, one after the other.
func (s *story) tell() error {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(s.ctx, s.bucket)
	if err != nil {
		return err
	}
	for i := range s.stages {
		s.stage = &s.stages[i]
		if err := s.write(kv, uint64(3*i)); err != nil {
			return err
		}
		s.ahead(i, false)
		err := s.do()
		for again := 0; err != nil && s.insists && again < 3; again++ {
			s.revive()
			err = s.do() // refused where it is under way: then it arrives
		}
		if err != nil && (!s.insists || s.end == nil) {
			return fmt.Errorf("%s: %w", s.stage.name, err)
		}
		s.ahead(i, true)
		if _, err := s.arrives(uint64(3*i+3), s.stage.ends[:1]); err != nil {
			return fmt.Errorf("%s: %w", s.stage.name, err)
		}
	}
	return s.end()
}

// revive resumes a fold that stopped for its disk, or whose build did.
func (s *story) revive() {
	if s.end != nil && s.fold.Status().Code == runtime.CodeStore {
		s.fold.Resume(s.ctx, false) // refused where it goes on by itself just now
	}
}

// do does what the stage is.
func (s *story) do() error {
	if s.end == nil {
		return s.open()
	}
	return s.stage.do(s)
}

// write puts three messages, the first with the seq after last.
func (s *story) write(kv jetstream.KeyValue, last uint64) (err error) {
	for n := last + 1; n <= last+3; n++ {
		var seq uint64
		key, value := message(n)
		if seq = n; value == "" {
			err = kv.Delete(s.ctx, key)
		} else {
			seq, err = kv.PutString(s.ctx, key, value)
		}
		if err != nil || seq != n {
			return fmt.Errorf("message %d has the seq %d: %v", n, seq, err)
		}
	}
	return nil
}

// arrives waits until the fold stands as one of these endings says, and has folded last.
func (s *story) arrives(last uint64, ends []ending) (is ending, err error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	look := time.NewTicker(10 * time.Millisecond) // not all that a status tells is told as it changes
	defer look.Stop()
	for {
		for _, is := range ends {
			if ok, err := s.stands(is, last); ok || err != nil {
				return is, err
			}
		}
		if s.insists {
			s.revive()
		}
		select {
		case <-look.C:
		case <-late.C:
			return is, fmt.Errorf("not %+v within %s: %+v", ends, patience, s.fold.Status())
		}
	}
}

// stands says whether the fold stands as an ending says.
func (s *story) stands(x ending, last uint64) (bool, error) {
	next, err := s.dir.Next("f")
	p, err2 := s.dir.Previous("f")
	if err := errors.Join(err, err2); err != nil {
		return false, err
	}
	st := s.fold.Status()
	kept := next.Generation == "" && s.version(p.Generation) == x.previous // else a switch is not over
	if s.insists && x.previous == 0 {
		kept = next.Generation == "" || next.Generation == st.Generation // what could not be removed stays until the next start
	}
	state := runtime.StateFollowing
	switch {
	case x.paused:
		state, last = runtime.StatePaused, 0
	case x.back:
		state = runtime.StateHeld
	case x.refused:
		state, last = runtime.StateStopped, 0
	}
	return kept && s.version(st.Generation) == x.version && (x.number == 0 || store.Number(st.Generation) == x.number) && st.State == state && st.Seq >= last &&
		st.Build == nil && (x.back == (st.Code == runtime.CodeRolledBack)) && (x.refused == (st.Code == runtime.CodeFormat)), nil
}

func (s *story) configure() error {
	p, err := runtime.Prepare(s.ctx, s.dir, s.storyteller.fold(s.stage))
	if err != nil {
		return err
	}
	return s.fold.Configure(s.ctx, p)
}

func (s *story) restart() error {
	if err := s.end(); err != nil {
		return err
	}
	return s.open()
}

func (s *story) rollback() error { return s.fold.Rollback(s.ctx) }
func (s *story) apply() error    { return s.fold.Apply(s.ctx, false) }

// callOff goes back, and thinks better of it before that is over, unless it was quicker: then it goes forth again.
func (s *story) callOff() error {
	if err := s.rollback(); err != nil && s.fold.Status().Code != runtime.CodeRolledBack {
		return err
	}
	return s.apply()
}

func (s *story) pause() error   { return s.fold.Pause(s.ctx) }
func (s *story) resume() error  { return s.fold.Resume(s.ctx, false) }
func (s *story) rebuild() error { return s.fold.Rebuild(s.ctx) }
