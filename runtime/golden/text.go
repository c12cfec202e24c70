package golden

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/foldrun/foldrun/store"
)

// word writes a key: as it is, or as a Go string where it would not read as one word.
func word(b []byte) string {
	s := string(b)
	if s == "" || s[0] == '#' || s == "--" || strings.ContainsRune(s, ' ') {
		return strconv.Quote(s)
	}
	return plain(s)
}

// rest writes a value, which reads up to the line's end.
func rest(b []byte) string {
	s := string(b)
	if s == "" || s[0] == '@' || strings.TrimSpace(s) != s {
		return strconv.Quote(s)
	}
	return plain(s)
}

func plain(s string) string {
	if s[0] == '"' || !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// cutWord reads a word and returns what follows it.
func cutWord(s string) (w, after string, err error) {
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		w, after, _ = strings.Cut(s, " ")
		return w, strings.TrimLeft(after, " \t"), nil
	}
	q, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", fmt.Errorf("%s is not a Go string", s)
	}
	after = s[len(q):]
	if after != "" && after[0] != ' ' && after[0] != '\t' {
		return "", "", fmt.Errorf("%s is followed by %q, and no space", q, after)
	}
	w, err = strconv.Unquote(q)
	return w, strings.TrimLeft(after, " \t"), err
}

// readTime reads a time in ns since 1970.
func readTime(s string) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time", s)
	}
	return t.UnixNano(), nil
}

func writeTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// A rowText is a row as tests write it.
type rowText struct {
	index, key, source, value string // written, source too
	expires                   int64
}

// standing writes a row below the update that made it stand so.
func (r rowText) standing(source string) string {
	return fmt.Sprintf("+ %s %s %s", r.index, r.key, r.value) + r.more(source)
}

// gone writes a row below the update that retracted it.
func (r rowText) gone(source string) string {
	r.expires = 0
	return fmt.Sprintf("- %s %s", r.index, r.key) + r.more(source)
}

// listed writes a row for the section rows.
func (r rowText) listed() string {
	return fmt.Sprintf("%s %s %s %s", r.index, r.key, r.source, r.value) + r.more(r.source)
}

// more writes what stands below the line, where the update has the given source key.
func (r rowText) more(source string) (s string) {
	if r.source != source {
		s += "\n  source " + r.source
	}
	if r.expires != 0 {
		s += "\n  expires " + writeTime(r.expires)
	}
	return s
}

// reason writes why an update is in quarantine.
func reason(f *store.Failure) string { return rest([]byte(f.Reason())) }
