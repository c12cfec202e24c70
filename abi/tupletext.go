package abi

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The text form of a tuple, for people: ("DE",42,-1.5,null,true,x"00ff",7 desc). TUPLE.md has its grammar.

const descSuffix = "desc"

// FormatTuple returns the text form of a tuple. What it holds of control characters is escaped.
func FormatTuple(elements []TupleElement) string {
	b := []byte{'('}
	for i, e := range elements {
		if i > 0 {
			b = append(b, ',')
		}
		b = e.append(b)
		if e.Desc {
			b = append(b, " "+descSuffix...)
		}
	}
	return string(append(b, ')'))
}

func (e TupleElement) append(b []byte) []byte {
	switch e.Kind {
	case KindNull:
		return append(b, "null"...)
	case KindBool:
		return strconv.AppendBool(b, e.Bool)
	case KindInt:
		return strconv.AppendInt(b, e.Int, 10)
	case KindUint:
		return strconv.AppendUint(b, e.Uint, 10)
	case KindFloat:
		return append(b, formatFloat(e.Float)...)
	case KindBytes:
		return fmt.Appendf(b, `x"%x"`, e.Text)
	case KindString:
		return strconv.AppendQuote(b, string(e.Text))
	}
	return fmt.Appendf(b, "kind %d", e.Kind)
}

// formatFloat never gives what reads as an integer.
func formatFloat(v float64) string {
	switch {
	case v != v:
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	case v == 0:
		return "0.0"
	}
	text := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// ParseTuple reads the text form of a tuple.
func ParseTuple(text string) ([]TupleElement, error) {
	p := tupleParser{text: text}
	elements, err := p.tuple()
	if err != nil {
		return nil, fmt.Errorf("abi: tuple: at character %d of %.200q: %w", p.at+1, text, err)
	}
	return elements, nil
}

// A tupleParser reads the text from at on.
type tupleParser struct {
	text string
	at   int
}

func (p *tupleParser) tuple() (elements []TupleElement, err error) {
	if !p.take("(") {
		return nil, errors.New(`no "(": write a tuple as ("DE",42)`)
	}
	for !p.take(")") {
		if len(elements) > 0 && !p.take(",") {
			return nil, errors.New(`neither "," nor ")"`)
		}
		e, err := p.element()
		if err != nil {
			return nil, err
		}
		elements = append(elements, e)
	}
	p.space()
	if p.at < len(p.text) {
		return nil, errors.New(`more text after ")"`)
	}
	return elements, nil
}

func (p *tupleParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take passes over space and a token, if that comes next.
func (p *tupleParser) take(token string) bool {
	p.space()
	if !strings.HasPrefix(p.text[p.at:], token) {
		return false
	}
	p.at += len(token)
	return true
}

func (p *tupleParser) element() (e TupleElement, err error) {
	p.space()
	switch {
	case strings.HasPrefix(p.text[p.at:], `"`):
		e, err = p.string()
	case strings.HasPrefix(p.text[p.at:], `x"`):
		e, err = p.bytes()
	default:
		e, err = p.word()
	}
	if err != nil {
		return TupleElement{}, err
	}
	p.space()
	if at := p.at; p.next() == descSuffix {
		e.Desc = true
	} else {
		p.at = at
	}
	return e, nil
}

func (p *tupleParser) string() (TupleElement, error) {
	quoted, err := strconv.QuotedPrefix(p.text[p.at:])
	if err != nil {
		return TupleElement{}, errors.New("a string without an end, or with an unknown escape")
	}
	text, err := strconv.Unquote(quoted)
	if err != nil {
		return TupleElement{}, err
	}
	p.at += len(quoted)
	return TupleElement{Kind: KindString, Text: []byte(text)}, nil
}

func (p *tupleParser) bytes() (TupleElement, error) {
	digits, _, found := strings.Cut(p.text[p.at+len(`x"`):], `"`)
	if !found {
		return TupleElement{}, errors.New(`bytes without an end: write them as x"00ff"`)
	}
	text, err := hex.DecodeString(digits)
	if err != nil {
		return TupleElement{}, errors.New(`bytes that are no pairs of hexadecimal digits: write them as x"00ff"`)
	}
	p.at += len(`x""`) + len(digits)
	return TupleElement{Kind: KindBytes, Text: text}, nil
}

// next takes what comes before the next space or punctuation.
func (p *tupleParser) next() string {
	rest := p.text[p.at:]
	if end := strings.IndexAny(rest, " \t\r\n,()\""); end >= 0 {
		rest = rest[:end]
	}
	p.at += len(rest)
	return rest
}

func (p *tupleParser) word() (TupleElement, error) {
	start := p.at
	word := p.next()
	switch word {
	case "null":
		return TupleElement{Kind: KindNull}, nil
	case "true", "false":
		return TupleElement{Kind: KindBool, Bool: word == "true"}, nil
	case "nan":
		return TupleElement{Kind: KindFloat, Float: math.NaN()}, nil
	case "inf":
		return TupleElement{Kind: KindFloat, Float: math.Inf(1)}, nil
	case "-inf":
		return TupleElement{Kind: KindFloat, Float: math.Inf(-1)}, nil
	}
	e, err := number(word)
	if err != nil {
		p.at = start
	}
	return e, err
}

// number reads a number as JSON writes it: a float if it has a point or an exponent, else an integer.
func number(word string) (TupleElement, error) {
	if word == "" || strings.Trim(word, "+-.0123456789eE") != "" || !json.Valid([]byte(word)) {
		return TupleElement{}, fmt.Errorf(`%.40q is no element: null, true, false, a number, "text" or x"00ff"`, word)
	}
	if strings.ContainsAny(word, ".eE") {
		v, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return TupleElement{}, fmt.Errorf("%.40s is beyond the largest float", word)
		}
		if v == 0 {
			v = 0 // not -0
		}
		return TupleElement{Kind: KindFloat, Float: v}, nil
	}
	if v, err := strconv.ParseInt(word, 10, 64); err == nil {
		return TupleElement{Kind: KindInt, Int: v}, nil
	}
	v, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return TupleElement{}, fmt.Errorf("%.40s is not within -2^63 and 2^64-1: write it with a point for a float", word)
	}
	return TupleElement{Kind: KindUint, Uint: v}, nil
}
