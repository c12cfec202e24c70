// Package measure says how fast foldrun is on a machine, beside what else one would run there: what `foldrun bench` does.
//
// # Why are figures ratios?
//
// A machine is as fast as it is, and as busy. So each figure is taken beside another of the same run, round by round, and the
// first compares a thing with itself: how far that is from 1 says how much the others can mean.
//
// A ratio of 1 is as fast as what the figure is beside, 2 is twice as fast; so it is for rates and for latencies.
package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/rig"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
	"github.com/foldrun/foldrun/testdata/modules"
)

// MinUpdates is the least that can be measured: a scan reads 40 rows, and should find them.
const MinUpdates = 1000

// Options say what to measure. All but Target and Dir must be given.
type Options struct {
	Target  source.Target              // a server of the user's; without URL and Context a broker is started
	Broker  func(dir string) *exec.Cmd // runs rig.Serve over a directory, in a process of its own
	Dir     string                     // where the temporary directory is made; "" = the system's
	Memory  int64                      // the fold's budget, bytes
	Updates int
	Rounds  int
	Puts    int          // of the live latency
	Reads   int          // of each kind
	Tell    func(string) // is told what has been done
}

// bench is a measurement that runs.
type bench struct {
	Options
	dir    string      // temporary
	broker *rig.Broker // nil: the server is the user's
	server *rig.Server
	kv     jetstream.KeyValue
	bucket string

	bare, again, built, settled []rig.Cost // of Updates updates each, round by round
	digest                      string     // of the first build
}

// Run measures until it is done, or ctx is, and leaves nothing behind. An error that comes with figures is of the tidying up.
func Run(ctx context.Context, o Options) (figures []Figure, err error) {
	dir, err := os.MkdirTemp(o.Dir, "foldrun-bench-")
	if err != nil {
		return nil, fmt.Errorf("measure: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	b := &bench{Options: o, dir: dir}
	leave, err := b.reach(lost)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, leave()) }()
	if err := b.makeBucket(ctx); err != nil {
		return nil, stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, b.removeBucket()) }()
	if err := b.fill(ctx); err != nil {
		return nil, stopped(ctx, err)
	}
	figures, err = b.rounds(ctx)
	if err != nil {
		return nil, stopped(ctx, err)
	}
	return figures, nil
}

// stopped returns why ctx ended in the place of what an end of it leads to.
func stopped(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case err == nil || cause == nil:
		return err
	case cause == context.Canceled:
		return errors.New("measure: stopped before the end")
	default:
		return fmt.Errorf("measure: stopped before the end: %w", cause)
	}
}

// reach connects to the server, which it starts if none is named; lost is told when that one ends by itself.
func (b *bench) reach(lost context.CancelCauseFunc) (leave func() error, err error) {
	t, stop := b.Target, func() error { return nil }
	if t.URL == "" && t.Context == "" {
		if b.broker, err = rig.StartBroker(b.Broker(filepath.Join(b.dir, "nats")), lost); err != nil {
			return nil, fmt.Errorf("measure: %w", err)
		}
		t.URL, stop = b.broker.URL, b.broker.Stop
	}
	t.Name, t.Once = "foldrun bench", true
	if b.server, err = rig.Connect(t); err != nil {
		return nil, errors.Join(err, stop())
	}
	return func() error {
		b.server.Close()
		return stop()
	}, nil
}

// rounds does the rounds, and then the reads over the last build.
func (b *bench) rounds(ctx context.Context) (figures []Figure, err error) {
	for round := range b.Rounds {
		if err := b.drains(ctx); err != nil {
			return nil, err
		}
		f, err := b.build(ctx)
		if err != nil {
			return nil, err
		}
		b.Tell(fmt.Sprintf("round %d of %d: bare consumer %.1f s, again %.1f s, build %.1f s, settled %.1f s", round+1, b.Rounds,
			b.bare[round].Wall.Seconds(), b.again[round].Wall.Seconds(), b.built[round].Wall.Seconds(), b.settled[round].Wall.Seconds()))
		if round == b.Rounds-1 {
			figures, err = b.reads(ctx, f)
		}
		if err := errors.Join(err, f.end()); err != nil {
			return nil, err
		}
	}
	return append(b.rates(), figures...), nil
}

// reads measures what is done with a fold that has caught up.
func (b *bench) reads(ctx context.Context, f *fold) ([]Figure, error) {
	if _, err := f.Store().Compact(ctx, store.CompactOptions{}); err != nil { // else the fold, which stands, has it done meanwhile
		return nil, err
	}
	gets, err := b.lookUp(ctx, f)
	if err != nil {
		return nil, err
	}
	live, err := b.live(ctx, f)
	if err != nil {
		return nil, err
	}
	_, err = rig.Check(f.Fold, b.Updates)
	return append(live, gets...), err
}

// wasm is the module that the folds run.
var wasm = modules.Rekey
