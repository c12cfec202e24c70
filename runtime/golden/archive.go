package golden

import (
	"fmt"
	"strings"

	"github.com/foldrun/foldrun/hint"
)

// A section is one part of a file: its marker and the lines up to the next one. The first of a file has no marker.
type section struct {
	name string
	at   int // line of the marker; the body begins at the next
	head string
	body []string
}

// split takes a file apart. Its lines, put together again, are the file, but for carriage returns and a last line's end.
func split(text string) (all []section) {
	now := section{}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i, l := range lines {
		name, is := strings.CutPrefix(l, "-- ")
		name, ends := strings.CutSuffix(strings.TrimRight(name, " "), " --")
		if is && ends && strings.TrimSpace(name) != "" {
			all = append(all, now)
			now = section{name: strings.TrimSpace(name), at: i + 1, head: l}
			continue
		}
		now.body = append(now.body, l)
	}
	return append(all, now)
}

// text is the section's body without the last line's end.
func (s *section) text() string { return strings.Join(s.body, "\n") }

// An entry is a line of a section with the indented lines below it.
type entry struct {
	lead []string // comments and empty lines before it
	at   int
	raw  []string // as they are written
}

// entries takes a section apart; tail is what comments and empty lines follow the last entry.
func (s *section) entries(file string) (all []entry, tail []string, err error) {
	for i, l := range s.body {
		at := s.at + 1 + i
		bare := strings.TrimSpace(l)
		switch {
		case bare == "" || bare[0] == '#':
			tail = append(tail, l)
		case l[0] != ' ' && l[0] != '\t':
			all, tail = append(all, entry{lead: tail, at: at, raw: []string{l}}), nil
		case len(all) == 0 || len(tail) > 0:
			return nil, nil, fault(file, at, "indented, and no line stands right above that it could say more of")("begin it at the first column, or move it below its line")
		default:
			e := &all[len(all)-1]
			e.raw = append(e.raw, l)
		}
	}
	return all, tail, nil
}

// fault makes the error for a line of a file; it takes the mend.
func fault(file string, line int, format string, args ...any) func(mend string, args ...any) error {
	err := fmt.Errorf("%s:%d: %s", file, line, fmt.Sprintf(format, args...))
	return func(mend string, args ...any) error { return hint.Error(err, mend, args...) }
}
