package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// A Problem is one thing that is wrong with a configuration file, and its mend. It never holds a secret's value.
type Problem struct {
	File   string // as named to Load; an included file: its path from there
	Line   int    // from 1; 0 when the file could not be read
	Column int    // from 1, in bytes, of a syntax error; else 0
	Key    string // dotted, quoted as TOML would: fold.users.source.filter; "" when the problem is of no key
	Text   string // what is wrong
	Hint   string // what to write instead

	// Fatal: nothing may run. Problems of the main file are fatal. One of an included file is not: it leaves out the
	// folds of that file alone; a name that two files claim leaves out that fold alone, but for the main file's.
	Fatal bool
}

// String is one line, without the hint: "foldrun.toml:3: store.sync: …".
func (p Problem) String() string {
	var b strings.Builder
	if p.File == "" { // a place in something else: the manifest of a module
		return p.Key + ": " + p.Text
	}
	b.WriteString(p.File)
	for _, n := range []int{p.Line, p.Column} {
		if n > 0 {
			fmt.Fprintf(&b, ":%d", n)
		}
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is the error of Load: everything that is wrong with a file and its includes.
type Problems struct {
	All     []Problem // the main file's first, then by file and line
	LeftOut []string  // names that no fold has because of a problem, as far as they could be read, sorted
	NATS    []string  // connections that folds name, those that are left out too, sorted
	Unread  bool      // the main file cannot be read, or is no TOML: the Config says nothing of what is in it, but
	Placed  bool      // its DataDir is what the main file names, before the mistake
	Folds   []Fold    // those that are left out, as far as they could be read, by name: good only for looking for further mistakes
}

// Error is a line per problem, each with its hint in brackets.
func (p *Problems) Error() string {
	lines := make([]string, len(p.All))
	for i, one := range p.All {
		lines[i] = one.String()
		if one.Hint != "" {
			lines[i] += " (" + one.Hint + ")"
		}
	}
	return strings.Join(lines, "\n")
}

// Fatal reports whether a problem forbids running the Config that Load returned with p.
func (p *Problems) Fatal() bool {
	return slices.ContainsFunc(p.All, func(one Problem) bool { return one.Fatal })
}

func (p *Problems) sort(main string) {
	slices.SortStableFunc(p.All, func(a, b Problem) int {
		if a.File != b.File && (a.File == main || b.File == main) {
			return cmp.Compare(b2i(a.File != main), b2i(b.File != main))
		}
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	slices.Sort(p.LeftOut)
	p.LeftOut = slices.Compact(p.LeftOut)
	slices.Sort(p.NATS)
	p.NATS = slices.Compact(p.NATS)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// In reports whether a problem lies in a table of a fold, or of something in it.
func (p *Problems) In(f Fold, table string) bool {
	at := dotted([]string{"fold", f.Name, table})
	return slices.ContainsFunc(p.All, func(one Problem) bool {
		return one.File == f.File && (one.Key == at || strings.HasPrefix(one.Key, at+"."))
	})
}

// dotted writes a path as TOML does. Elements of arrays, "[1]", follow without a dot.
func dotted(path []string) string {
	var b strings.Builder
	for i, part := range path {
		if isElement(part) {
			b.WriteString(part)
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(toml.Key{part}.String())
	}
	return b.String()
}

func element(i int) string { return fmt.Sprintf("[%d]", i) }

func isElement(part string) bool { return strings.HasPrefix(part, "[") && strings.HasSuffix(part, "]") }
