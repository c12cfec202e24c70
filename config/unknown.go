package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// done reports the keys that nobody asked for.
func (t *table) done() {
	for _, key := range slices.Sorted(maps.Keys(t.values)) {
		if !slices.Contains(t.known, key) {
			text, hint := t.unknown(key)
			t.problem(key, text, hint)
		}
	}
}

func (t *table) unknown(key string) (text, hint string) {
	if t.schema == "" && !t.file.main && slices.Contains(t.file.schemaKeys(), key) {
		return "does not belong into an included file", "an included file holds [fold.NAME] tables only: move it to the main file"
	}
	if word := sameWord(key, t.known); word != "" {
		t.faulted[word] = true
		return "unknown key", fmt.Sprintf("write %s: keys are exact, case included", word)
	}
	if home := t.home(key); home != "" {
		return "unknown key here", "it belongs " + home
	}
	if word := Nearest(key, t.known); word != "" {
		t.faulted[word] = true
		return "unknown key", "the nearest is " + word
	}
	return "unknown key", "known here: " + strings.Join(slices.Sorted(slices.Values(t.known)), ", ")
}

// home says in which other table key would be right. Of several, the one that shares most of its path with t.
func (t *table) home(key string) string {
	best, most := "", -1
	for _, full := range t.file.schemaKeys() {
		parent, ok := strings.CutSuffix("."+full, "."+key)
		if !ok || !t.file.main && !strings.HasPrefix(parent, ".fold") {
			continue
		}
		parent = strings.TrimPrefix(parent, ".")
		if n := t.shared(parent); n > most {
			best, most = parent, n
		}
	}
	switch {
	case most < 0:
		return ""
	case best == "":
		return "to the top of the file, before the first [table]"
	}
	return "in [" + t.fill(best) + "]"
}

// shared counts the leading parts that schema has in common with t's.
func (t *table) shared(schema string) int {
	a, b := strings.Split(t.schema, "."), strings.Split(schema, ".")
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// fill puts the names of t's own path, as far as it is shared, in place of each *.
func (t *table) fill(schema string) string {
	parts, n := strings.Split(schema, "."), t.shared(schema)
	for i, part := range parts {
		switch {
		case part == "*" && i < n:
			parts[i] = dotted(t.path[i : i+1])
		case part == "*":
			parts[i] = "NAME"
		}
	}
	return strings.Join(parts, ".")
}
