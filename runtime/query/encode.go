package query

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/foldrun/foldrun/store"
)

// appendRow appends a row as JSON.
func (f *Format) appendRow(dst []byte, row store.Row) []byte {
	dst = f.appendKey(append(dst, '{'), row.Key)
	dst = f.appendValue(dst, row.Value)
	dst = f.Encoding.append(append(dst, `,"source":`...), row.Source)
	if row.Seq != 0 {
		dst = strconv.AppendUint(append(dst, `,"seq":`...), row.Seq, 10)
	}
	if row.Expiry != 0 {
		dst = append(append(append(dst, `,"expires":"`...), rfc3339(row.Expiry)...), '"')
	}
	if row.Kept != 0 {
		dst = strconv.AppendUint(append(dst, `,"kept_seq":`...), row.Kept, 10)
	}
	return append(dst, '}')
}

// appendBytes appends bytes as JSON: a string if they are text, else {"base64":"…"}.
func appendBytes(dst, b []byte) []byte {
	if !isText(b) {
		return appendBase64(dst, b)
	}
	dst = append(dst, '"')
	for _, c := range b {
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\t':
			dst = append(dst, `\t`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// isText reports whether b is UTF-8 without control characters that would do something to whoever looks at it.
func isText(b []byte) bool {
	for i := 0; i < len(b); {
		if c := b[i]; c >= ' ' && c < 0x7f || c == '\t' || c == '\n' || c == '\r' {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || unicode.IsControl(r) {
			return false
		}
		i += n
	}
	return true
}
