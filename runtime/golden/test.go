package golden

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/foldrun/foldrun/config"
)

// Test is one file.
type Test struct {
	Name string // the file's, without folder and .txtar
	Path string

	sections  []section
	config    json.RawMessage // canonical
	byMessage bool
	parts     []part // in the order of the file
	last      *update
	used      map[string]bool // sections that a value names
}

// The sections that mean something of themselves.
const (
	sectionConfig     = "config.json"
	sectionKeying     = "keying"
	sectionUpdates    = "updates"
	sectionRows       = "rows"
	sectionQuarantine = "quarantine"
	sectionRefused    = "refused"
)

var sectionNames = []string{sectionConfig, sectionKeying, sectionUpdates, sectionRows, sectionQuarantine, sectionRefused}

// A part is a section that is run.
type part struct {
	section int // of Test.sections
	steps   []step
	wants   []want // of rows and quarantine
	tail    []string
}

// A step is an update, or a movement of the clock, with all that must come of it.
type step struct {
	entry
	update update
	wants  []want
}

// A want is a line that is expected, as it would be written.
type want struct {
	entry
	text  string
	index string // of a row
}

// Parse reads a test. What it says is wrong has a line, and the mend as a hint.
func Parse(path string, text []byte) (*Test, error) {
	t := &Test{Name: strings.TrimSuffix(filepath.Base(path), ".txtar"), Path: path, sections: split(string(text)),
		config: json.RawMessage("{}"), used: map[string]bool{}}
	if err := t.settings(); err != nil {
		return nil, err
	}
	for i := range t.sections {
		if err := t.part(i); err != nil {
			return nil, err
		}
	}
	return t, t.whole()
}

// settings reads what holds for all of a test.
func (t *Test) settings() error {
	var seen []string
	for i := range t.sections {
		s := &t.sections[i]
		if s.name != sectionUpdates && s.name != sectionRows && s.name != sectionQuarantine && slices.Contains(seen, s.name) {
			return fault(t.Path, s.at, "a second section %s", s.name)("leave one of them")
		}
		seen = append(seen, s.name)
		switch s.name {
		case sectionConfig:
			if err := t.readConfig(s); err != nil {
				return err
			}
		case sectionKeying:
			switch keying := strings.TrimSpace(s.text()); keying {
			case "message", "subject":
				t.byMessage = keying == "message"
			default:
				return fault(t.Path, s.at, "keying %q", keying)("write subject or message")
			}
		}
	}
	return nil
}

func (t *Test) readConfig(s *section) error {
	d := json.NewDecoder(strings.NewReader(s.text()))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil || d.More() {
		at := d.InputOffset()
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			at = syntax.Offset
		} else if err == nil {
			err = errors.New("there is more than one value")
		}
		line := s.at + 1 + strings.Count(s.text()[:min(int(at), len(s.text()))], "\n")
		return fault(t.Path, line, "the config is not a JSON object: %v", err)("write what [fold.NAME.config] would hold, as JSON")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	t.config = bytes.TrimSpace(b.Bytes())
	return nil
}

func (t *Test) part(i int) (err error) {
	s := &t.sections[i]
	if s.name != sectionUpdates && s.name != sectionRows && s.name != sectionQuarantine {
		return nil
	}
	p := part{section: i}
	var all []entry
	if all, p.tail, err = s.entries(t.Path); err != nil {
		return err
	}
	if s.name != sectionUpdates && t.last == nil {
		return fault(t.Path, s.at, "%s stands before the first updates", s.name)("move it below the updates that it follows")
	}
	for _, e := range all {
		if s.name == sectionUpdates {
			err = t.change(&p, e)
		} else {
			err = t.want(&p.wants, e, s.name)
		}
		if err != nil {
			return err
		}
	}
	t.parts = append(t.parts, p)
	return nil
}

// change reads an entry of a section of updates: an update, or a line that is expected of the one before it.
func (t *Test) change(p *part, e entry) error {
	if strings.ContainsRune("+-!", rune(e.raw[0][0])) {
		if len(p.steps) == 0 {
			return fault(t.Path, e.at, "no update stands above it")("begin with an update: put KEY VALUE")
		}
		return t.want(&p.steps[len(p.steps)-1].wants, e, sectionUpdates)
	}
	u, err := t.update(e)
	if err != nil {
		return err
	}
	p.steps = append(p.steps, step{entry: e, update: *u})
	t.last = u
	return nil
}

func (t *Test) want(to *[]want, e entry, section string) error {
	w, err := t.expectation(e, section)
	if err == nil {
		*to = append(*to, w)
	}
	return err
}

// whole judges the file as a whole.
func (t *Test) whole() error {
	refused := t.has(sectionRefused)
	for i := range t.sections {
		s := &t.sections[i]
		switch {
		case s.at == 0 || slices.Contains(sectionNames, s.name) || t.used[s.name]:
		default:
			mend := "the sections are " + strings.Join(sectionNames, ", ") + "; any other is a value, put KEY @" + s.name
			if near := config.Nearest(s.name, sectionNames); near != "" {
				mend = "the nearest is " + near
			}
			return fault(t.Path, s.at, "there is no section %s", s.name)("%s", mend)
		}
	}
	switch {
	case !refused && t.last == nil:
		return fault(t.Path, 1, "it has no updates")("write a section: -- updates --, with lines put KEY VALUE")
	case refused && t.last != nil:
		return fault(t.Path, t.last.at, "updates, and the config is to be refused")("make two files of it")
	}
	return nil
}

func (t *Test) has(name string) bool {
	return slices.ContainsFunc(t.sections, func(s section) bool { return s.at > 0 && s.name == name })
}
