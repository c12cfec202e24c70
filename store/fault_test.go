package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/foldrun/foldrun/hint"
)

// A fault is what a child's disk does wrong: operation number at (of a sort, or "" for any) fails with an error, once or
// from then on. at 0 fails nothing.
type fault struct {
	dir   string
	sort  string
	at    int
	errno syscall.Errno
	on    bool
}

func (f fault) String() string {
	return fmt.Sprintf("%s|%s|%d|%d|%t", f.dir, f.sort, f.at, int(f.errno), f.on)
}

// parseFault reads what String wrote.
func parseFault(s string) (f fault, err error) {
	var rest string
	f.dir, rest, _ = strings.Cut(s, "|")
	f.sort, rest, _ = strings.Cut(rest, "|")
	_, err = fmt.Sscanf(rest, "%d|%d|%t", &f.at, &f.errno, &f.on)
	return f, err
}

// faultHistory is the same in parent and child.
func faultHistory() []step { return crashHistory(rand.New(rand.NewPCG(7, 7)), 40) }

// faultChild does a history on a failing disk. It says on stdout "ack SEQ" for each commit that was acknowledged and read
// back, "op KIND FILE" for each operation when nothing is to fail, "failed …" for the one that did, and "done". What stops
// it goes to stderr as the command line prints it, with exit 1.
func faultChild() {
	f, err := parseFault(os.Getenv("STORE_TEST_FAULT"))
	if err != nil {
		panic(err)
	}
	var n atomic.Int64
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	fs := &hookFS{FS: vfs.Default, before: func(kind, name string) error {
		op := kind + " " + fileSort(name)
		if f.at == 0 {
			say("op %s", op)
		}
		if kind == "close" || f.sort != "" && f.sort != op {
			return nil
		}
		if i := int(n.Add(1)); i != f.at && !(f.on && f.at > 0 && i > f.at) {
			return nil
		} else if i == f.at {
			say("failed %s", op)
		}
		return f.errno
	}}
	if err := faultRun(f.dir, fs, say); err != nil {
		fmt.Fprintf(os.Stderr, "foldrun: error: %v\nfoldrun: hint: %s\n", err, hint.Of(err))
		os.Exit(1)
	}
	say("done")
}

// faultRun opens the store and does what is left of the history; an error of a commit means: close, open, read the
// cursor, go on from there.
func faultRun(dir string, fs vfs.FS, say func(string, ...any)) error {
	h := faultHistory()
	worlds := replay(twoIndexes, h)
	for range 5 {
		d, db, err := openStore(dir, Options{fs: fs, Memory: small}, twoIndexes)
		if err != nil {
			return err
		}
		if err := d.SetCurrent("f", db.Generation()); err != nil {
			return err
		}
		cerr := error(nil)
		for _, s := range h {
			if s.pos.Seq <= db.State().Position().Seq {
				continue
			}
			if _, cerr = commitStep(db, s); cerr != nil {
				say("commit: %v", cerr)
				break
			}
			if err := worlds[s.pos.Seq].compare(db); err != nil {
				return fmt.Errorf("served what is not there: %w", err)
			}
			say("ack %d", s.pos.Seq)
		}
		if err := closeStore(d, db); err != nil {
			return err
		}
		if cerr == nil {
			return nil
		}
	}
	return errors.New("commits went on failing")
}

// A faultResult is how a child took its fault.
type faultResult struct {
	fault
	op    string // that failed
	acked uint64
	done  bool
	ops   []string
	err   string // its stderr
}

func (f fault) run(ctx context.Context) (r faultResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=fault", "STORE_TEST_FAULT="+f.String())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	r = faultResult{fault: f, err: stderr.String()}
	for line := range strings.Lines(stdout.String()) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "ack":
			fmt.Sscan(rest, &r.acked)
		case "op":
			r.ops = append(r.ops, rest)
		case "failed":
			r.op = rest
		case "done":
			r.done = true
		}
	}
	switch code := cmd.ProcessState.ExitCode(); {
	case ctx.Err() != nil:
		return r, errors.New("it hung")
	case err == nil && !r.done:
		return r, errors.New("exit 0, and not done")
	case err == nil:
		return r, nil
	case code != 1 || strings.Contains(r.err, "served what"):
		return r, fmt.Errorf("%w: %s", err, r.err)
	case !strings.Contains(r.err, f.dir) || !strings.Contains(r.err, f.errno.Error()) || len(strings.SplitN(r.err, "hint: ", 2)[1]) < 10:
		return r, fmt.Errorf("stderr does not name path, error and mend: %s", r.err)
	}
	return r, nil
}

// judge opens what the child left, on a disk that works: is all there that was acknowledged, and can it go on?
func (r faultResult) judge(worlds map[uint64]*world) error {
	d, db, err := openStore(r.dir, options(vfs.Default), twoIndexes)
	if err != nil {
		return err
	}
	defer func() { closeStore(d, db) }()
	seq := db.State().Position().Seq
	w := worlds[seq]
	if w == nil || seq < r.acked {
		return fmt.Errorf("cursor %d, acknowledged %d", seq, r.acked)
	}
	if err := errors.Join(checkStore(db), w.compare(db)); err != nil {
		return err
	}
	h := faultHistory()
	for _, s := range h {
		if s.pos.Seq > seq {
			if _, err := commitStep(db, s); err != nil {
				return err
			}
		}
	}
	return errors.Join(checkStore(db), worlds[h[len(h)-1].pos.Seq].compare(db))
}

func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("starts hundreds of processes")
	}
	root := t.TempDir()
	healthy, err := fault{dir: root + "/healthy"}.run(t.Context())
	if err != nil || !healthy.done {
		t.Fatalf("without a fault: %v\n%s", err, healthy.err)
	}
	sorts, total := map[string]int{}, 0
	for _, op := range healthy.ops {
		if !strings.HasPrefix(op, "close ") {
			sorts[op]++
			total++
		}
	}
	if i := slices.Index(healthy.ops, "reuse .log"); i < 0 || !slices.Contains(healthy.ops[i:], "write .log") || !slices.Contains(healthy.ops[i:], "sync .log") {
		t.Fatal("no log was recycled and written")
	}
	faults := planFaults(sorts, total)
	t.Logf("%d operations: %v; %d faults", total, sorts, len(faults))

	worlds := replay(twoIndexes, faultHistory())
	var mu sync.Mutex
	ended, wentOn, missed, hit := 0, 0, 0, map[string]int{}
	work := make(chan fault)
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for f := range work {
				r, err := f.run(t.Context())
				if err == nil {
					err = r.judge(worlds)
				}
				mu.Lock()
				switch {
				case err != nil:
					t.Errorf("fault %v (%s), acked %d: %v", f, r.op, r.acked, err)
				case r.op == "":
					missed++ // this run did fewer operations than the healthy one
				case r.done:
					wentOn++
				default:
					ended++
				}
				hit[r.op]++
				mu.Unlock()
				os.RemoveAll(f.dir)
			}
		})
	}
	for i, f := range faults {
		f.dir = fmt.Sprintf("%s/%d", root, i)
		work <- f
	}
	close(work)
	workers.Wait()
	t.Logf("%d ended, %d went on, %d never came to their operation; hit: %v", ended, wentOn, missed, hit)
	if ended == 0 || wentOn == 0 {
		t.Errorf("%d ended, %d went on: one of the two cannot be", ended, wentOn)
	}
	for _, sort := range slices.Sorted(maps.Keys(sorts)) {
		if hit[sort] == 0 {
			t.Errorf("no %q failed", sort)
		}
	}
}

// planFaults returns a middle, the first and the last operation of each sort, and of all operations together every so
// many-eth, or each: with both errors, once and from then on, of which a place has two unless all are asked for.
func planFaults(sorts map[string]int, total int) (faults []fault) {
	var places []fault
	for _, sort := range slices.Sorted(maps.Keys(sorts)) {
		n := sorts[sort]
		places = append(places, fault{sort: sort, at: (n + 1) / 2})
		if slow == 1 && n > 2 {
			places = append(places, fault{sort: sort, at: 1}, fault{sort: sort, at: n})
		}
	}
	stride := 8 * slow * slow
	if *all {
		stride = 1
	}
	for at := 1; at <= total; at += stride {
		places = append(places, fault{at: at})
	}
	for i, f := range places {
		for j, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
			for k, on := range []bool{false, true} {
				if *all || i%2 == (j+k)%2 {
					f.errno, f.on = errno, on
					faults = append(faults, f)
				}
			}
		}
	}
	return faults
}
