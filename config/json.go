package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"
)

// json reads a table of any content as canonical JSON: equal tables give equal bytes, whatever the order or spelling in
// the file, for the bytes are part of a generation's identity. Keys are sorted, there are no spaces, whole numbers stand
// without a fraction (so 1.0 is 1), and <, > and & stand as they are. What JSON has no form for is a problem.
func (t *table) json(key string, dst *json.RawMessage) {
	child := t.sub(key)
	if child.values == nil || !child.jsonable(child.path, child.values) {
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(child.values); err != nil {
		child.lacks("has no form in JSON", "")
		return
	}
	*dst = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func (t *table) jsonable(path []string, v any) bool {
	good := true
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			good = t.jsonable(join(path, key), v[key]) && good
		}
	case []any:
		for i, item := range v {
			good = t.jsonable(join(path, element(i)), item) && good
		}
	case []map[string]any:
		for i, item := range v {
			good = t.jsonable(join(path, element(i)), item) && good
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.file.problem(path, "has no form in JSON", "write a finite number")
			return false
		}
	case time.Time:
		t.file.problem(path, "a date has no form in JSON", "write it in quotes")
		return false
	}
	return good
}

func join(path []string, part string) []string { return append(path[:len(path):len(path)], part) }
