package runtime

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var tableFlag = flag.String("table", "", "append to this file what happened to each row of docs/source.md's tables")

// A table notes what happened to each row that a test tried.
type table struct {
	mu   sync.Mutex
	rows []string
}

// newTable returns a table that is written when t and its subtests have ended.
func newTable(t *testing.T) *table {
	x := new(table)
	t.Cleanup(func() {
		if *tableFlag == "" {
			return
		}
		slices.Sort(x.rows)
		f := must(os.OpenFile(*tableFlag, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644))(t)
		must(fmt.Fprintf(f, "%s\n%s\n\n", t.Name(), strings.Join(x.rows, "\n")))(t)
		check(t, f.Close())
	})
	return x
}

// row notes a row when its test has ended.
func (x *table) row(t *testing.T, row, how string) {
	began := time.Now()
	t.Cleanup(func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		ended := "as the table says"
		if t.Failed() {
			ended = "FAILED"
		}
		x.rows = append(x.rows, fmt.Sprintf("%-34s %-34s %-18s %5.1fs", row, how, ended, time.Since(began).Seconds()))
	})
}
