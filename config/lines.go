package config

import (
	"strconv"
	"strings"
)

// toml tells no lines for keys, so this scanner finds them. It reads documents that toml has accepted, and so need
// judge nothing: it only has to find its way past strings, arrays, inline tables and comments. On anything else it
// ends, with marks that are of no use. Its keys, in order, are those of toml's MetaData; a fuzz target compares them.

// lines maps each key of a document, and each table that one implies, to the line it first stands on.
type lines map[string]int

func linesOf(marks []mark) lines {
	l := lines{}
	for _, m := range marks {
		for n := 1; n <= len(m.path); n++ {
			if at := lineKey(m.path[:n]); l[at] == 0 {
				l[at] = m.line
			}
		}
	}
	return l
}

// at returns the line of path, or of the nearest table around it that stands in the document; of none of them, 0.
func (l lines) at(path []string) int {
	for n := len(path); n > 0; n-- {
		if line := l[lineKey(path[:n])]; line > 0 {
			return line
		}
	}
	return 0
}

func lineKey(path []string) string { return strings.Join(path, "\x00") }

// A mark is a key of a document, or an element of an array, and the line it stands on.
type mark struct {
	path    []string
	line    int
	element bool
}

type scanner struct {
	src   string
	pos   int
	line  int
	table []string // the table that a top-level key belongs to
	marks []mark
	deep  int // the line of the first key or array below maxDepth; 0 = there is none
}

// maxDepth bounds how deep keys, tables and arrays nest. toml recurses, and takes time and memory by the square.
const maxDepth = 64

// scan returns the keys of src in the order of the document, and the line on which it nests too deep, or 0.
func scan(src string) (marks []mark, deep int) {
	s := &scanner{src: src, line: 1}
	for s.skip(" \t\r\n"); s.pos < len(s.src) && s.deep == 0; s.skip(" \t\r\n") {
		from := s.pos
		s.item()
		if s.pos == from { // not TOML: never stand still
			s.advance(1)
		}
	}
	return s.marks, s.deep
}

// stripBOM drops the byte order mark that some editors begin a file with, and toml passes over.
func stripBOM(src string) string { return strings.TrimLeft(src, "\ufeff") }

func (s *scanner) item() {
	if s.peek() != '[' {
		s.pair(s.table)
		return
	}
	for s.peek() == '[' {
		s.advance(1)
	}
	line := s.line
	s.table = s.key(nil)
	s.mark(s.table, line)
	for s.peek() == ']' {
		s.advance(1)
	}
}

// pair reads `key = value`.
func (s *scanner) pair(table []string) {
	line := s.line
	path := s.key(table)
	s.mark(path, line)
	s.blanks()
	if s.peek() != '=' {
		return
	}
	s.advance(1)
	s.blanks()
	s.value(path)
}

// key reads a dotted key and returns it below table.
func (s *scanner) key(table []string) []string {
	path := table[:len(table):len(table)]
	for {
		s.blanks()
		path = append(path, s.part())
		s.blanks()
		if s.peek() != '.' || s.tooDeep(path) {
			return path
		}
		s.advance(1)
	}
}

func (s *scanner) part() string {
	switch s.peek() {
	case '"':
		return unescape(trimQuotes(s.quoted(`"`, true)))
	case '\'':
		return trimQuotes(s.quoted(`'`, false))
	}
	return s.until(" \t\r\n.=]}\"'#")
}

func (s *scanner) value(path []string) {
	if s.tooDeep(path) {
		return
	}
	rest := s.src[s.pos:]
	switch {
	case strings.HasPrefix(rest, `"""`):
		s.quoted(`"""`, true)
	case strings.HasPrefix(rest, `'''`):
		s.quoted(`'''`, false)
	case strings.HasPrefix(rest, `"`):
		s.quoted(`"`, true)
	case strings.HasPrefix(rest, `'`):
		s.quoted(`'`, false)
	case strings.HasPrefix(rest, `[`):
		s.array(path)
	case strings.HasPrefix(rest, `{`):
		s.inline(path)
	default:
		s.until(",]}#\r\n")
	}
}

func (s *scanner) array(path []string) {
	s.advance(1)
	for i := 0; ; i++ {
		s.skip(" \t\r\n,")
		if s.pos >= len(s.src) || s.peek() == ']' {
			s.advance(1)
			return
		}
		from := s.pos
		at := append(path[:len(path):len(path)], element(i))
		s.marks = append(s.marks, mark{at, s.line, true})
		s.value(at)
		if s.pos == from {
			return
		}
	}
}

func (s *scanner) inline(path []string) {
	s.advance(1)
	for {
		s.skip(" \t\r\n,")
		if s.pos >= len(s.src) || s.peek() == '}' {
			s.advance(1)
			return
		}
		from := s.pos
		s.pair(path)
		if s.pos == from {
			return
		}
	}
}

// quoted reads a string and returns it with its quotes. The text of a multi-line string may end in quotes of its own:
// of those that stand together the last three close it.
func (s *scanner) quoted(quote string, escapes bool) string {
	from := s.pos
	end := from + len(quote)
	for end < len(s.src) && !strings.HasPrefix(s.src[end:], quote) {
		if escapes && s.src[end] == '\\' {
			end++
		}
		end++
	}
	end += len(quote)
	for len(quote) == 3 && end < len(s.src) && s.src[end] == quote[0] {
		end++
	}
	s.advance(end - from)
	return s.src[from:s.pos]
}

// tooDeep ends the scan when path is too long.
func (s *scanner) tooDeep(path []string) bool {
	if len(path) > maxDepth && s.deep == 0 {
		s.deep, s.pos = s.line, len(s.src)
	}
	return s.deep > 0
}

func (s *scanner) mark(path []string, line int) {
	s.marks = append(s.marks, mark{path: path, line: line})
}

// skip passes the bytes of set, and comments.
func (s *scanner) skip(set string) {
	for {
		s.run(set)
		if s.peek() != '#' {
			return
		}
		s.until("\n")
	}
}

func (s *scanner) blanks() { s.run(" \t") }

func (s *scanner) run(set string) {
	rest := s.src[s.pos:]
	s.advance(len(rest) - len(strings.TrimLeft(rest, set)))
}

// until passes everything before the first byte of set.
func (s *scanner) until(set string) string {
	rest := s.src[s.pos:]
	if n := strings.IndexAny(rest, set); n >= 0 {
		rest = rest[:n]
	}
	s.advance(len(rest))
	return rest
}

func (s *scanner) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

func (s *scanner) advance(n int) {
	end := min(s.pos+n, len(s.src))
	s.line += strings.Count(s.src[s.pos:end], "\n")
	s.pos = end
}

func trimQuotes(s string) string {
	if len(s) < 2 {
		return ""
	}
	return s[1 : len(s)-1]
}

// unescape reads the escapes of a quoted key.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		digits := strings.IndexByte("x_u___U", s[i])
		if digits < 0 || s[i] == '_' {
			b.WriteString(shortEscape(s[i]))
			continue
		}
		digits += 2 // \x12, \u1234, \U12345678
		end := min(i+1+digits, len(s))
		r, _ := strconv.ParseUint(s[i+1:end], 16, 32)
		b.WriteRune(rune(r))
		i = end - 1
	}
	return b.String()
}

func shortEscape(c byte) string {
	if i := strings.IndexByte("btnfre", c); i >= 0 {
		return "\b\t\n\f\r\x1b"[i : i+1]
	}
	return string(c)
}
