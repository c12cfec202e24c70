package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime"
)

// live shows rows move: each update of the trickle, and what the folds made of it.
type live struct {
	out    io.Writer
	moving bool // a terminal: a table that is drawn over itself
	folds  []*runtime.Fold
	before []runtime.Status
	events []string // the last ones, oldest first
	drawn  int      // lines of the table that stand on the terminal
}

const shownEvents = 8

// follow feeds the bucket with the trickle and shows what comes of it, until ctx is done.
func (d *demo) follow(ctx context.Context) error {
	js, err := jetstream.New(d.conn)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	t, err := newTrickle(ctx, js)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "\nUpdates trickle into the bucket; each line shows what the folds make of one. Ctrl-C ends it.\n%s\n\n", legend)
	l := live{out: d.Out, moving: d.Terminal, folds: d.folds}
	l.look()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		what, seq, err := t.next(ctx)
		if err == nil {
			err = d.waitSeq(ctx, seq)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("demo: update: %w", err)
		}
		d.fed++
		l.show(what)
	}
}

// legend explains what effect writes.
const legend = "+ rows written, − rows retracted, = rows that stay as they are, · no row is concerned"

// waitSeq waits until every fold that runs has folded seq.
func (d *demo) waitSeq(ctx context.Context, seq uint64) error {
	for _, f := range d.folds {
		for {
			moved := f.Moved()
			if s := f.Status(); s.Seq >= seq || s.State == runtime.StateStopped {
				break
			}
			select {
			case <-moved:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// look takes the counts that the next line is compared with.
func (l *live) look() {
	l.before = l.before[:0]
	for _, f := range l.folds {
		l.before = append(l.before, f.Status())
	}
}

// show shows one update.
func (l *live) show(what string) {
	var effects []string
	for i, f := range l.folds {
		was, is := l.before[i].Counts, f.Status().Counts
		effects = append(effects, fmt.Sprintf("%s %s", f.Name(), effect(is.Written-was.Written, is.Retracted-was.Retracted, is.Unchanged-was.Unchanged)))
	}
	l.look()
	line := fmt.Sprintf("%-52s %s", what, strings.Join(effects, "   "))
	if !l.moving {
		fmt.Fprintln(l.out, line)
		return
	}
	l.events = append(l.events, line)
	l.events = l.events[max(len(l.events)-shownEvents, 0):]
	l.draw()
}

// effect says what became of rows: +written −retracted =unchanged.
func effect(written, retracted, unchanged uint64) string {
	s := ""
	for _, x := range []struct {
		sign string
		n    uint64
	}{{"+", written}, {"−", retracted}, {"=", unchanged}} {
		if x.n > 0 {
			s += fmt.Sprintf("%s%d", x.sign, x.n)
		}
	}
	if s == "" {
		return "·"
	}
	return s
}

// draw draws the table over the last one.
func (l *live) draw() {
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", l.drawn)
	}
	lines := []string{fmt.Sprintf("%-14s %-10s %9s %9s %9s %10s %10s", "FOLD", "INDEX", "ROWS", "SEQ", "WRITTEN", "RETRACTED", "UNCHANGED")}
	for _, s := range l.before {
		for i, x := range s.Indexes {
			row := fmt.Sprintf("%-14s %-10s %9d", "", x.Name, x.Rows)
			if i == 0 {
				row = fmt.Sprintf("%-14s %-10s %9d %9d %9d %10d %10d", s.Name, x.Name, x.Rows, s.Seq, s.Counts.Written, s.Counts.Retracted, s.Counts.Unchanged)
			}
			lines = append(lines, row)
		}
	}
	lines = append(append(lines, ""), l.events...)
	for _, line := range lines {
		fmt.Fprintf(&b, "%s\x1b[K\n", line)
	}
	l.drawn = len(lines)
	io.WriteString(l.out, b.String())
}
