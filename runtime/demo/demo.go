// Package demo runs foldrun with nothing to configure: a JetStream server in the process, a bucket with a real data
// set, three folds on it, and a report of what they hold.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/plugins/examples"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
	"github.com/foldrun/foldrun/testdata/cities"
)

// Options say how to run the demo. All but DataDir, NATSPort, Once and Terminal must be given.
type Options struct {
	DataDir  string // kept; "" = a temporary one, removed at the end
	NATSPort uint16 // where the NATS server listens; 0 = any free port
	Once     bool   // end after the load
	Terminal bool   // Out is a terminal: progress is one line that moves
	Command  string // how the user calls foldrun, for the commands to try
	URL      string // where Host answers queries
	Out      io.Writer
	Log      *slog.Logger
	// Host runs the folds, which it closes, and answers queries, over NATS at a server too, until ctx is done.
	Host func(ctx context.Context, dir *store.Dir, folds []*runtime.Fold, server string) error
}

// memory is the demo's budget, bytes.
const memory = 256 << 20

// the folds: each of the example modules, in the order of the report.
var plugins = []string{"large-cities", "by-country", "city-names"}

// demo is a running demo.
type demo struct {
	Options
	server *embedded.Server
	conn   *source.Conn
	dir    *store.Dir
	folds  []*runtime.Fold // in the order of plugins
	kept   bool            // the data directory is the user's
	fed    int             // updates of the trickle
}

// Run runs the demo until ctx is done, or with Once until the load is folded.
func Run(ctx context.Context, o Options) (err error) {
	kept := o.DataDir != ""
	if !kept {
		if o.DataDir, err = os.MkdirTemp("", "foldrun-demo-"); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer os.RemoveAll(o.DataDir)
	}
	d := &demo{Options: o, kept: kept}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.open(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- o.Host(running, d.dir, d.folds, d.server.URL())
	}()
	err = d.show(running)
	if err == nil && !o.Once {
		err = d.follow(running)
	}
	stop()
	if ctx.Err() != nil {
		err = nil // the user's wish
	}
	if err = errors.Join(err, <-ended); err == nil && !o.Once {
		d.farewell()
	}
	return err
}

// show loads the data set and reports what the folds make of it.
func (d *demo) show(ctx context.Context) error {
	if err := d.fill(ctx); err != nil {
		return err
	}
	return d.report()
}

// open starts the server and makes the folds.
func (d *demo) open(ctx context.Context) (err error) {
	m, err := store.SplitMemory(memory, len(plugins), 0)
	if err != nil {
		return err
	}
	if d.dir, err = store.OpenDir(d.DataDir, store.Options{Memory: m, LockWait: 2 * time.Second, Log: d.Log}); err != nil {
		return err
	}
	if d.server, err = embedded.Start(embedded.Options{StoreDir: filepath.Join(d.DataDir, "nats"), Port: int(d.NATSPort), Log: d.Log}); err != nil {
		if d.NATSPort != 0 {
			err = hint.Error(err, "if the port is taken: free it, or give --nats-port another; 0 picks one")
		}
		return err
	}
	if d.conn, err = source.Connect(source.Target{URL: d.server.URL(), Name: "foldrun demo"}, d.Log); err != nil {
		return err
	}
	if err := makeBucket(ctx, d.conn); err != nil {
		return err
	}
	for _, name := range plugins {
		wasm, err := examples.Module(name)
		if err != nil {
			return err
		}
		f, err := runtime.NewFold(ctx, d.dir, runtime.FoldOptions{Name: name, Conn: d.conn,
			Source: source.Options{Bucket: bucket}, Wasm: wasm, Log: d.Log})
		if err != nil {
			return err
		}
		d.folds = append(d.folds, f)
	}
	return nil
}

// close ends what open started, in reverse. Host has closed the folds.
func (d *demo) close() error {
	if d.conn != nil {
		d.conn.Close()
	}
	if d.server != nil {
		d.server.Stop()
	}
	if d.dir != nil {
		return d.dir.Close()
	}
	return nil
}

// fill loads the data set and waits until every fold has folded it.
func (d *demo) fill(ctx context.Context) error {
	fmt.Fprintf(d.Out, "NATS with JetStream at %s, data in %s\n", d.server.URL(), d.DataDir)
	start := time.Now()
	bar := bar{out: d.Out, moving: d.Terminal, total: cities.Count, last: start}
	loaded, err := load(ctx, d.conn, func(n int) { bar.show(n, "loaded into bucket "+bucket) })
	if err != nil {
		return err
	}
	bar.end()
	for _, f := range d.folds {
		if err := d.wait(ctx, f); err != nil {
			return err
		}
	}
	if loaded {
		fmt.Fprintf(d.Out, "%d records loaded and folded three times in %v\n", cities.Count, time.Since(start).Round(time.Millisecond))
		return nil
	}
	fmt.Fprintf(d.Out, "bucket %s holds the data set already\n", bucket)
	return nil
}

// wait waits until a fold has caught up with the stream, or has stopped.
func (d *demo) wait(ctx context.Context, f *runtime.Fold) error {
	for {
		moved := f.Moved()
		s := f.Status()
		switch {
		case s.State == runtime.StateStopped:
			return fmt.Errorf("demo: fold %s stopped: %s: %s", s.Name, s.Code, s.Reason)
		case s.CaughtUp && s.Seq >= cities.Count:
			return nil
		}
		select {
		case <-moved:
		case <-time.After(100 * time.Millisecond): // that it has caught up moves nothing
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
