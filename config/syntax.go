package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// parse returns the tables of src, or a problem of its syntax. toml stops at the first mistake, so there is one.
func (f *file) parse(src string) bool {
	if line := notUTF8(src); line > 0 {
		f.refuse(line, "is not UTF-8", "save the file as UTF-8")
		return false
	}
	src = stripBOM(src)
	marks, deep := scan(src)
	if deep > 0 {
		f.refuse(deep, fmt.Sprintf("nests deeper than %d tables and lists", maxDepth), "")
		return false
	}
	if _, err := toml.Decode(src, &f.values); err != nil {
		f.problems = append(f.problems, f.syntax(src, marks, err))
		return false
	}
	f.lines = linesOf(marks)
	return true
}

// maxCuts bounds how often a file is read again without its end.
const maxCuts = 100

// head returns the tables of the lines before a mistake. Where what they begin is not ended there, fewer lines are taken; nil:
// it cannot be told which.
func head(src string, mistake int) map[string]any {
	lines := strings.SplitAfter(src, "\n")
	for range maxCuts {
		f := &file{}
		lines = lines[:mistake-1]
		if f.parse(strings.Join(lines, "")) {
			return f.values
		}
		mistake = f.problems[0].Line
	}
	return nil
}

// refuse reports what is wrong with a line of a file that is not parsed.
func (f *file) refuse(line int, text, hint string) {
	f.problems = append(f.problems, Problem{File: f.name, Line: line, Text: text, Hint: hint, Fatal: f.main})
}

// notUTF8 returns the line of the first byte that is not, or 0. toml would mangle such a file before it refused it.
func notUTF8(src string) int {
	for i, r := range src {
		if r != utf8.RuneError {
			continue
		}
		if _, size := utf8.DecodeRuneInString(src[i:]); size == 1 {
			return 1 + strings.Count(src[:i], "\n")
		}
	}
	return 0
}

func (f *file) syntax(src string, marks []mark, err error) Problem {
	p := Problem{File: f.name, Line: 1, Text: "is not TOML", Hint: "https://toml.io/en/v1.0.0", Fatal: f.main}
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return p
	}
	p.Hint = mendSyntax(pe.Message)
	p.Line, p.Column = position(src, pe)
	if m := duplicate.FindStringSubmatch(pe.Message); m != nil {
		p.Key, p.Column = m[1], 0
		p.Text = "stands twice" + firstOf(marks, p)
		return p
	}
	if !mayShowSecret(src, p.Line, pe.LastKey) {
		p.Text += ": " + pe.Message
	}
	return p
}

// position counts from toml's offset: its own line is one too many when the mistake is the end of a line.
func position(src string, pe toml.ParseError) (line, column int) {
	before := src[:max(min(pe.Position.Start, len(src)), 0)]
	return 1 + strings.Count(before, "\n"), len(before) - strings.LastIndex(before, "\n")
}

var duplicate = regexp.MustCompile(`^Key '(.*)' (?:has already been defined|was already created)`)

// firstOf says where the key of p stands first. Before the mistake the document is TOML, so that it can be scanned.
func firstOf(marks []mark, p Problem) string {
	for _, m := range marks {
		if m.line < p.Line && dotted(m.path) == p.Key {
			return fmt.Sprintf(", first in line %d", m.line)
		}
	}
	return ""
}

var secretKey = regexp.MustCompile(`(?i)pass|token|secret|seed|nkey|cred|url`)

// mayShowSecret reports whether toml's message might repeat a secret, as `password = hunter2` would make it.
func mayShowSecret(src string, line int, lastKey string) bool {
	text := strings.Split(src, "\n")[line-1]
	return strings.HasPrefix(lastKey, "nats") || secretKey.MatchString(lastKey+text)
}

// mendSyntax turns toml's message into what to do about it.
func mendSyntax(message string) string {
	for _, m := range []struct{ has, mend string }{
		{"already", "keep one of them"},
		{`found "True"`, "write true, in small letters"},
		{`found "False"`, "write false, in small letters"},
		{`found '\n'`, "write a value after the ="},
		{"expected value but found", `strings stand in quotes: key = "value"`},
		{"expected value", "write a value after the ="},
		{"strings cannot contain newlines", "close the quote at the end of the line"},
		{"expected '\"", "close the quote"},
		{"expected \"'", "close the quote"},
		{"expected '''", "close the quotes"},
		{"key separator", `write key = "value"`},
		{"expected '.' or '='", `write key = "value", [table] or # comment`},
		{"expected '.' or ']'", "close the bracket of the [table]"},
		{"to end with a newline", "one key a line, strings in quotes; after # comes a comment"},
		{"escape", `write \\ for a backslash, or put the string into single quotes`},
		{"array terminator", "a comma between the elements, ] after the last"},
		{"inline table", "a comma between the keys, } after the last"},
		{"control characters: '0x0d'", "save the file with the line ends of Unix or Windows"},
		{"control char", `write \u0001 in double quotes for the character 1`},
		{"out of range", "whole numbers end at 9223372036854775807"},
		{"NULL", "save the file as UTF-8"},
		{"float", "a number has digits on both sides of its dot; a size or a duration stands in quotes"},
		{"integer", "a number has digits only; a size or a duration stands in quotes"},
		{"datetime", "text that begins with digits stands in quotes"},
	} {
		if strings.Contains(message, m.has) {
			return m.mend
		}
	}
	return "https://toml.io/en/v1.0.0"
}
