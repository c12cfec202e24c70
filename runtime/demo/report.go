package demo

import (
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// about says what each fold is there for.
var about = map[string]string{
	"large-cities": "a filter: cities of at least 1,000,000 people",
	"by-country":   "a re-key: country/region/name instead of the id",
	"city-names":   "a projection with two indexes: the name by id, the id by name",
}

// samples are the rows that the report shows of an index: where to begin reading.
var samples = map[string]string{
	"by-country/main":    "IS/",
	"city-names/by_name": "reykjav",
}

const shown = 3 // rows of an index in the report

// report shows what each index holds and what to try next.
func (d *demo) report() error {
	for i, name := range plugins {
		f := d.folds[i]
		s := f.Status()
		fmt.Fprintf(d.Out, "\n%s — %s\n", name, about[name])
		if s.StartSeq > 0 {
			fmt.Fprintf(d.Out, "  resumed at seq %d, folded %d updates since\n", s.StartSeq, s.Counts.Updates)
		}
		if err := d.rows(f, s); err != nil {
			return err
		}
	}
	switch {
	case d.Once && d.kept:
		fmt.Fprintln(d.Out)
		d.again()
		return nil
	case d.Once:
		fmt.Fprintf(d.Out, "\nWithout --once the demo goes on: updates trickle in, and queries are answered. With --data-dir it keeps its indexes.\n")
		return nil
	}
	fmt.Fprintf(d.Out, "\nTry, in another terminal while this one runs:\n")
	d.commands("--url " + d.URL)
	fmt.Fprintf(d.Out, "  curl -i '%s/v1/folds/large-cities/indexes/main/scan?limit=2'\n", d.URL)
	fmt.Fprintf(d.Out, "  %s get city-names/by_name reykjavík --nats --server %s\n", d.Command, d.server.URL())
	fmt.Fprintf(d.Out, "  nats --server %s kv del cities 3413829      (Reykjavík; its rows go at once)\n", d.server.URL())
	return nil
}

// farewell says what was done, and how to look again. The folds have ended.
func (d *demo) farewell() {
	fmt.Fprintf(d.Out, "\nThe demo has ended. Updates of its own: %d. The folds held:\n", d.fed)
	for _, f := range d.folds {
		s := f.Status()
		for _, x := range s.Indexes {
			fmt.Fprintf(d.Out, "  %s/%s: %d rows, as of seq %d\n", s.Name, x.Name, x.Rows, s.Seq)
		}
	}
	if !d.kept {
		fmt.Fprintf(d.Out, "All of it was temporary. To keep it: %s demo --data-dir DIR\n", d.Command)
		return
	}
	d.again()
}

// again says how to look at what is kept.
func (d *demo) again() {
	fmt.Fprintf(d.Out, "The indexes are in %s. Try:\n", d.DataDir)
	d.commands("--data-dir " + d.DataDir)
	fmt.Fprintf(d.Out, "  %s demo --data-dir %s      goes on where this ended\n", d.Command, d.DataDir)
}

// commands shows the read verbs.
func (d *demo) commands(where string) {
	for _, line := range []string{
		"status",
		"get by-country/main 'IS/39/Reykjavík'",
		"scan city-names/by_name --prefix san --limit 5",
		"verify",
	} {
		fmt.Fprintf(d.Out, "  %s %s %s\n", d.Command, line, where)
	}
}

// rows shows the first rows of each index of a fold, all from one view.
func (d *demo) rows(f *runtime.Fold, s runtime.Status) error {
	v, err := f.Store().View()
	if err != nil {
		return err
	}
	defer v.Close()
	for i, x := range s.Indexes {
		fmt.Fprintf(d.Out, "  %s: %d rows, digest %s\n", x.Name, x.Rows, x.Digest)
		n := 0
		err := v.Scan(i, store.Range{Start: []byte(samples[s.Name+"/"+x.Name])}, func(r store.Row) bool {
			fmt.Fprintf(d.Out, "    %-28s %s\n", text(r.Key), text(r.Value))
			n++
			return n < shown
		})
		if err != nil {
			return err
		}
	}
	if s.Quarantined > 0 {
		fmt.Fprintf(d.Out, "  %d records in quarantine\n", s.Quarantined)
	}
	return nil
}

// text shows bytes on a line, cut where they would fill it.
func text(b []byte) string {
	const most = 96
	s := string(b)
	if !utf8.ValidString(s) {
		s = strconv.Quote(s)
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			s = strconv.Quote(s)
			break
		}
	}
	if r := []rune(s); len(r) > most {
		s = string(r[:most-1]) + "…"
	}
	return s
}

// bar shows progress: one line that moves on a terminal, a line now and then elsewhere.
type bar struct {
	out    io.Writer
	moving bool
	total  int
	last   time.Time
	used   bool
}

func (b *bar) show(n int, what string) {
	every := 2 * time.Second
	if b.moving {
		every = 50 * time.Millisecond
	}
	if now := time.Now(); now.Sub(b.last) < every && n < b.total {
		return
	} else {
		b.last = now
	}
	b.used = true
	if b.moving {
		fmt.Fprintf(b.out, "\r%3d%%  %d of %d records %s", 100*n/b.total, n, b.total, what)
		return
	}
	fmt.Fprintf(b.out, "%3d%%  %d of %d records %s\n", 100*n/b.total, n, b.total, what)
}

// end leaves the moving line.
func (b *bar) end() {
	if b.moving && b.used {
		fmt.Fprintln(b.out)
	}
}
