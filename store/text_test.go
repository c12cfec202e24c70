package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A block of a text test is a command with its input lines, "----", and what it must print, up to an empty line:
//
//	commit 5 now=100
//	put s1 1 a:k=v
//	----
//	written 1
type block struct {
	pos   string // file:line
	note  string // comment lines before it
	input []string
	want  string
}

// cmd returns the words of the command.
func (b *block) cmd() []string { return words(b.input[0]) }

// runText runs each block of the files through what f returns for a file, and compares, or with -update rewrites, what
// that prints.
func runText(t *testing.T, glob string, f func(t *testing.T) func(b *block) string) {
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatal("no files at ", glob, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			run, out := f(t), strings.Builder{}
			for _, b := range parseText(t, name, string(text)) {
				out.WriteString(b.note)
				if len(b.input) == 0 {
					continue
				}
				got := strings.TrimRight(run(&b), "\n")
				if got != "" {
					got += "\n"
				}
				fmt.Fprintf(&out, "%s\n----\n%s\n", strings.Join(b.input, "\n"), got)
				if got != b.want && !*update {
					t.Errorf("%s: %s\n is:\n%swant:\n%s", b.pos, b.input[0], got, b.want)
				}
			}
			if *update && out.String() != string(text) {
				if err := os.WriteFile(name, []byte(out.String()), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func parseText(t *testing.T, name, text string) (all []block) {
	var b block
	wants := false
	for i, line := range strings.SplitAfter(text, "\n") {
		bare := strings.TrimSuffix(line, "\n")
		switch {
		case wants && bare == "":
			all, b, wants = append(all, b), block{}, false
		case wants:
			b.want += line
		case len(b.input) == 0 && (bare == "" || bare[0] == '#'):
			b.note += line
		case bare == "----":
			wants = true
		case bare == "":
			t.Fatalf("%s:%d: a block without ----", name, i+1)
		default:
			if len(b.input) == 0 {
				b.pos = fmt.Sprintf("%s:%d", name, i+1)
			}
			b.input = append(b.input, bare)
		}
	}
	return append(all, b)
}

// words splits a line at spaces outside of quotes.
func words(line string) (all []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		n := 0
		for n < len(line) && line[n] != ' ' {
			if line[n] == '"' {
				q, err := strconv.QuotedPrefix(line[n:])
				if err != nil {
					panic(fmt.Sprintf("%s: %v", line, err))
				}
				n += len(q)
				continue
			}
			n++
		}
		all, line = append(all, line[:n]), line[n:]
	}
	return all
}

// bare takes the quotes off a word.
func bare(s string) string {
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	u, err := strconv.Unquote(s)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", s, err))
	}
	return u
}

// quoted cuts s after a word that may be in quotes and ends at one of seps.
func quoted(s, seps string) (word, rest string) {
	n := strings.IndexAny(s, seps)
	if strings.HasPrefix(s, `"`) {
		q, err := strconv.QuotedPrefix(s)
		if err != nil {
			panic(err)
		}
		n = len(q)
	}
	if n < 0 || n >= len(s) {
		return bare(s), ""
	}
	return bare(s[:n]), s[n:]
}

// number reads a number, which may be a sum: 65536+3.
func number(s string) (n int64) {
	for part := range strings.SplitSeq(s, "+") {
		x, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			panic(err)
		}
		n += x
	}
	return n
}

// flags reads name=value words and plain ones.
func flags(words []string) map[string]string {
	m := map[string]string{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		m[name] = value
	}
	return m
}

// brief prints an error; one that is known by its name alone, without the figures of the machine.
func brief(err error) string {
	for _, known := range []error{ErrDuplicateEntry, ErrDiskLow, ErrClosed} {
		if errors.Is(err, known) {
			return "error: " + known.Error()
		}
	}
	return "error: " + err.Error()
}
