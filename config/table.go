package config

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A table is one TOML table that schema.go walks. Each of its methods that reads a key also says that the key exists:
// what nobody asked for is unknown, and done reports it. A value that is wrong is a problem and leaves the default.
type table struct {
	file    *file
	path    []string       // where it stands: fold, users, source
	schema  string         // the same with * for the names that users choose: fold.*.source
	values  map[string]any // nil when the table is absent
	known   []string
	faulted map[string]bool // keys with a problem, or that a misspelt key was meant to be
}

// A rule judges a value. It returns what is wrong and the mend, or "" and "".
type rule func(v string) (text, hint string)

// take returns the value of key and notes that key exists.
func (t *table) take(key string) (any, bool) {
	t.known = append(t.known, key)
	t.file.keys = append(t.file.keys, t.schemaOf(key))
	v, ok := t.values[key]
	return v, ok
}

func (t *table) schemaOf(key string) string { return strings.TrimPrefix(t.schema+"."+key, ".") }

func (t *table) pathOf(key string) []string { return append(t.path[:len(t.path):len(t.path)], key) }

// problem reports what is wrong with key.
func (t *table) problem(key, text, hint string) {
	t.faulted[key] = true
	t.file.problem(t.pathOf(key), text, hint)
}

// lacks reports what is wrong with the table as a whole.
func (t *table) lacks(text, hint string) { t.file.problem(t.path, text, hint) }

// str reads a string. Only a key whose default is empty may be empty.
func (t *table) str(key string, mayBeEmpty bool) (string, bool) {
	v, ok := t.take(key)
	if !ok {
		return "", false
	}
	s, ok := v.(string)
	switch {
	case !ok:
		t.problem(key, "wants a string, has "+kind(v), "write "+key+` = "…"`)
	case s == "" && !mayBeEmpty:
		t.problem(key, "is empty", "leave it out for the default")
		return "", false
	}
	return s, ok
}

func (t *table) text(key string, dst *string, rules ...rule) {
	s, ok := t.str(key, *dst == "")
	if ok && (s == "" || t.holds(key, s, rules)) {
		*dst = s
	}
}

func (t *table) holds(key, s string, rules []rule) bool {
	text, hint := judge(s, rules)
	if text != "" {
		t.problem(key, text, hint)
	}
	return text == ""
}

// judge returns what the first rule that s breaks says.
func judge(s string, rules []rule) (text, hint string) {
	for _, r := range rules {
		if text, hint = r(s); text != "" {
			return text, hint
		}
	}
	return "", ""
}

// enum reads one of the legal strings.
func (t *table) enum(key string, dst *string, legal ...string) {
	v, ok := t.take(key)
	if !ok {
		return
	}
	s, isString := v.(string)
	if isString && slices.Contains(legal, s) {
		*dst = s
		return
	}
	hint := "one of " + quoteAll(legal)
	if near := Nearest(s, legal); near != "" {
		hint = fmt.Sprintf("write %q; legal are %s", near, quoteAll(legal))
	}
	if !isString {
		t.problem(key, "wants a string, has "+kind(v), hint)
		return
	}
	t.problem(key, quote(s)+" is none of its values", hint)
}

// filePath reads the path of a file, which is relative to the directory of the configuration file.
func (t *table) filePath(key string, dst *string) {
	s, ok := t.str(key, *dst == "")
	if ok && (s == "" || t.holds(key, s, []rule{pathRule})) {
		*dst = t.file.resolve(s)
	}
}

func pathRule(s string) (text, hint string) {
	switch {
	case strings.HasPrefix(s, "~"):
		return "begins with ~, which only a shell knows", "write the whole path"
	case strings.ContainsRune(s, 0):
		return "holds a zero byte", "write the path of a file"
	}
	return "", ""
}

// resolve returns p as an absolute path; "" stays.
func (f *file) resolve(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(f.dir, p)
}

// size reads "64MiB": bytes, from lo to hi.
func (t *table) size(key string, dst *int64, lo, hi int64) {
	v, ok := t.take(key)
	if !ok {
		return
	}
	s, isString := v.(string)
	if n, isInt := v.(int64); isInt {
		t.problem(key, "a bare number has no unit", fmt.Sprintf(`write %s = %q`, key, mendNumber(n)))
		return
	}
	if !isString {
		t.problem(key, "wants a size, has "+kind(v), fmt.Sprintf(`write %s = "64MiB"`, key))
		return
	}
	if s == "" && *dst == 0 { // as it is where nothing is said
		return
	}
	n, ok := parseSize(s)
	if !ok {
		t.problem(key, quote(s)+" is no size", fmt.Sprintf(`write %s = %q; units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB`, key, mendSize(s)))
		return
	}
	if n < lo || n > hi {
		hint := fmt.Sprintf("write %s = %q", key, formatSize(min(max(n, lo), hi)))
		t.problem(key, outOf(s, formatSize(lo), formatSize(hi), hi == math.MaxInt64), hint)
		return
	}
	*dst = n
}

// autoSize is size, where "auto" is 0.
func (t *table) autoSize(key string, dst *int64, lo, hi int64) {
	s, _ := t.values[key].(string)
	switch {
	case s == "auto":
		t.take(key)
		*dst = 0
	case strings.EqualFold(s, "auto"):
		t.take(key)
		t.problem(key, quote(s)+" is no size", fmt.Sprintf(`write %s = "auto"`, key))
	default:
		t.size(key, dst, lo, hi)
	}
}

func outOf(v, lo, hi string, endless bool) string {
	if endless {
		return fmt.Sprintf("%s is below the least, %s", v, lo)
	}
	return fmt.Sprintf("%s is not between %s and %s", v, lo, hi)
}

// duration reads "250ms" or "7d"; "" is 0.
func (t *table) duration(key string, dst *time.Duration, lo time.Duration) {
	v, ok := t.take(key)
	if !ok {
		return
	}
	s, isString := v.(string)
	d, good := parseDuration(s)
	switch {
	case isString && s == "":
		*dst = 0
	case isNumber(v):
		t.problem(key, "a bare number has no unit", fmt.Sprintf(`write %s = "%vs" or "%vms"`, key, v, v))
	case !isString:
		t.problem(key, "wants a duration, has "+kind(v), fmt.Sprintf(`write %s = "30s"`, key))
	case !good:
		t.problem(key, quote(s)+" is no duration", fmt.Sprintf(`write %s = "30s"; units are ms, s, m, h and d`, key))
	case d < lo:
		t.problem(key, fmt.Sprintf("%s is below the least, %s", s, lo), fmt.Sprintf("write %s = %q", key, lo))
	default:
		*dst = d
	}
}

// budget reads "1%", and "500".
func (t *table) budget(key string, dst *Budget) {
	v, ok := t.take(key)
	if !ok {
		return
	}
	s, _ := v.(string)
	b, good := parseBudget(s)
	switch {
	case isNumber(v):
		mend := fmt.Sprintf(`write %s = "%v%%", or "%v" for so many source keys`, key, v, v)
		if share, isShare := v.(float64); isShare {
			if share < 1 {
				share *= 100
			}
			mend = fmt.Sprintf(`write %s = "%v%%"`, key, share)
		}
		t.problem(key, "a bare number has no unit", mend)
	case !good:
		t.problem(key, "wants a percentage from 0% to 100%, or a number of source keys", fmt.Sprintf(`write %s = "1%%", or "500"`, key))
	default:
		*dst = b
	}
}

// count reads a whole number.
func count[T int | int64](t *table, key string, dst *T, lo, hi T) {
	v, ok := t.take(key)
	if !ok {
		return
	}
	n, isInt := v.(int64)
	switch {
	case !isInt:
		t.problem(key, "wants a whole number, has "+kind(v), fmt.Sprintf("write %s = %d", key, *dst))
	case n < int64(lo) || n > int64(hi):
		hint := fmt.Sprintf("write %s = %d", key, min(max(n, int64(lo)), int64(hi)))
		t.problem(key, fmt.Sprintf("%d is not between %d and %d", n, lo, hi), hint)
	default:
		*dst = T(n)
	}
}

func (t *table) flag(key string, dst *bool) {
	v, ok := t.take(key)
	if !ok {
		return
	}
	b, isBool := v.(bool)
	if !isBool {
		t.problem(key, "wants true or false, has "+kind(v), "write "+key+" = true, without quotes")
		return
	}
	*dst = b
}

// list reads a list of strings and gives each good one to add, with its place in the list.
func (t *table) list(key string, add func(i int, s string), rules ...rule) {
	v, ok := t.take(key)
	if !ok {
		return
	}
	items, isList := v.([]any)
	if !isList {
		t.problem(key, "wants a list of strings, has "+kind(v), "write "+key+` = ["…"]`)
		return
	}
	for i, item := range items {
		s, isString := item.(string)
		text, hint := "wants a string, has "+kind(item), ""
		if isString {
			text, hint = judge(s, rules)
		}
		if text != "" {
			t.file.problem(append(t.pathOf(key), element(i)), text, hint)
			continue
		}
		add(i, s)
	}
}

// sub returns the table key. It is there to be walked even when the file has none.
func (t *table) sub(key string) *table { return t.subtable(key, "") }

// subtable is sub; suffix follows the key in the hint that shows the form of its header.
func (t *table) subtable(key, suffix string) *table {
	v, ok := t.take(key)
	child := t.file.table(t.pathOf(key), t.schemaOf(key), nil)
	if !ok {
		return child
	}
	values, isTable := v.(map[string]any)
	if !isTable {
		t.problem(key, "wants a table, has "+kind(v), "write ["+dotted(child.path)+suffix+"] and its keys below")
	}
	child.values = values
	return child
}

// named calls read for each table of [key.NAME], in the order of their names.
func (t *table) named(key string, read func(name string, t *table)) {
	all := t.subtable(key, ".NAME")
	if t.file.describing {
		all.values = map[string]any{"*": map[string]any{}}
	}
	for _, name := range slices.Sorted(maps.Keys(all.values)) {
		v := all.values[name]
		values, isTable := v.(map[string]any)
		if !isTable {
			hint := fmt.Sprintf("%s holds tables: write [%s.NAME] and the keys below it", key, dotted(all.path))
			all.problem(name, "wants a table, has "+kind(v), hint)
			continue
		}
		read(name, t.file.table(all.pathOf(name), all.schema+".*", values))
	}
}

func (f *file) table(path []string, schema string, values map[string]any) *table {
	return &table{file: f, path: path, schema: schema, values: values, faulted: map[string]bool{}}
}

func isNumber(v any) bool {
	switch v.(type) {
	case int64, float64:
		return true
	}
	return false
}

// quote shows a value, cut short.
func quote(s string) string {
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
