package golden

import (
	"slices"
	"strings"
)

// A Difference is a line that is expected and not there, or there and not expected.
type Difference struct {
	Line int    `json:"line"`           // of what is expected; else of what it should stand below
	Of   string `json:"of"`             // the update, or the section
	Want string `json:"want,omitempty"` // one of the two
	Got  string `json:"got,omitempty"`
}

// compare notes how what came differs from what was expected, in whatever order, and returns the lines as they should be.
func (x *run) compare(at int, of string, wants []want, got []string) (lines []string) {
	missing, extra := slices.Clone(wants), []string(nil)
	for _, g := range got {
		i := slices.IndexFunc(missing, func(w want) bool { return w.text == g })
		if i < 0 {
			extra = append(extra, g)
			continue
		}
		missing = slices.Delete(missing, i, i+1)
	}
	for _, w := range missing {
		x.differ(Difference{Line: w.at, Of: of, Want: oneLine(w.text)})
	}
	for _, g := range extra {
		x.differ(Difference{Line: at, Of: of, Got: oneLine(g)})
	}
	if len(missing)+len(extra) > 0 {
		return rewritten(wants, got)
	}
	for _, w := range wants {
		lines = append(append(lines, w.lead...), w.raw...)
	}
	return lines
}

// rewritten writes what came. A line that was expected stays as it is written, below its comments; the comments of those
// that did not come follow.
func rewritten(wants []want, got []string) (lines []string) {
	left := slices.Clone(wants)
	for _, g := range got {
		i := slices.IndexFunc(left, func(w want) bool { return w.text == g })
		if i < 0 {
			lines = append(lines, strings.Split(g, "\n")...)
			continue
		}
		lines = append(append(lines, left[i].lead...), left[i].raw...)
		left = slices.Delete(left, i, i+1)
	}
	for _, w := range left {
		lines = append(lines, w.lead...)
	}
	return lines
}

// oneLine writes a row with its indented lines behind it.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n  ", ", ") }

// text returns the file with the bodies that the run gave its sections.
func (x *run) text() []byte {
	var b strings.Builder
	for i, s := range x.test.sections {
		if s.at > 0 {
			b.WriteString(s.head + "\n")
		}
		body, ran := x.bodies[i]
		if !ran {
			body = s.body
		}
		for _, l := range body {
			b.WriteString(l + "\n")
		}
	}
	return []byte(b.String())
}

// line returns the line of a section's marker, 0 if there is none.
func (t *Test) line(name string) int {
	for _, s := range t.sections {
		if s.name == name {
			return s.at
		}
	}
	return 0
}
