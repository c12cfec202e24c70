package golden

import (
	"errors"
	"strconv"
	"strings"
)

// forms are what the lines of a section look like.
var forms = map[byte]string{'+': "+ INDEX KEY VALUE", '-': "- INDEX KEY", '!': "! REASON"}

// expectation reads a line that is expected.
func (t *Test) expectation(e entry, section string) (want, error) {
	switch section {
	case sectionRows:
		return t.listedRow(e)
	case sectionQuarantine:
		key, why, err := cutWord(e.raw[0])
		if err == nil && why == "" {
			err = errors.New("it has no reason")
		}
		return want{entry: e, text: heldText(word([]byte(key)), why)}, t.wrong(e, alone(e, err), "KEY REASON")
	}
	sign, after := e.raw[0][0], strings.TrimLeft(e.raw[0][1:], " \t")
	if sign == '!' {
		b, err := t.value(after)
		if err == nil && len(b) == 0 {
			err = errors.New("it has no reason")
		}
		return want{entry: e, text: "! " + rest(b)}, t.wrong(e, alone(e, err), forms[sign])
	}
	return t.changedRow(e, sign, after)
}

func (t *Test) listedRow(e entry) (want, error) {
	r, err := t.row(e.raw[0], true, true)
	if err == nil {
		err = more(&r, e, false)
	}
	return want{e, r.listed(), r.index}, t.wrong(e, err, "INDEX KEY SOURCE VALUE")
}

func (t *Test) changedRow(e entry, sign byte, after string) (want, error) {
	r, err := t.row(after, false, sign == '+')
	if err == nil {
		err = more(&r, e, true)
	}
	text := r.gone("")
	if sign == '+' {
		text = r.standing("")
	}
	return want{e, text, r.index}, t.wrong(e, err, forms[sign])
}

// wrong gives an error its line, nil where there is none.
func (t *Test) wrong(e entry, err error, form string) error {
	if err == nil {
		return nil
	}
	return fault(t.Path, e.at, "%v", err)("write %s; a key that holds spaces, and a value that begins with a quotation mark, as a Go string", form)
}

// row reads a row.
func (t *Test) row(line string, source, value bool) (r rowText, err error) {
	index, after, err := cutWord(line)
	if err != nil {
		return r, err
	}
	if index == "" || after == "" {
		return r, errors.New("it has no key")
	}
	key, after, err := cutWord(after)
	if err != nil {
		return r, err
	}
	r.index, r.key = index, word([]byte(key))
	if source {
		if key, after, err = cutWord(after); err != nil {
			return r, err
		}
		r.source = word([]byte(key))
	}
	if !value {
		if after != "" {
			err = errors.New(strconv.Quote(after) + " follows the key")
		}
		return r, err
	}
	if after == "" {
		return r, errors.New(`it has no value; an empty one is ""`)
	}
	b, err := t.value(after)
	r.value = rest(b)
	return r, err
}

// more reads the indented lines below a row.
func more(r *rowText, e entry, sourced bool) (err error) {
	for _, l := range e.raw[1:] {
		name, after, _ := strings.Cut(strings.TrimSpace(l), " ")
		switch {
		case name == "expires":
			r.expires, err = readTime(strings.TrimSpace(after))
		case name == "source" && sourced:
			var key string
			key, _, err = cutWord(after)
			r.source = word([]byte(key))
		default:
			err = errors.New("there is no " + strconv.Quote(name) + " of a row")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// alone refuses indented lines.
func alone(e entry, err error) error {
	if err == nil && len(e.raw) > 1 {
		return errors.New("nothing more can be said of it")
	}
	return err
}

// heldText writes a source key that is in quarantine.
func heldText(source, why string) string { return source + " " + rest([]byte(unquoted(why))) }

func unquoted(s string) string {
	if t, err := strconv.Unquote(s); err == nil && s[0] == '"' {
		return t
	}
	return s
}
