package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestCheckConfig holds the config of each fold of the archive against the schema beside it, and compares what is said
// with the file "want".
func TestCheckConfig(t *testing.T) {
	path, err := filepath.Abs("testdata/schema/schema.txtar")
	if err != nil {
		t.Fatal(err)
	}
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var got bytes.Buffer
	schemas := map[string]json.RawMessage{}
	for _, f := range ar.Files {
		name, isJSON := strings.CutSuffix(f.Name, ".json")
		if isJSON {
			schemas[name] = f.Data
			continue
		}
		if filepath.Ext(f.Name) != ".toml" {
			continue
		}
		schema := schemas[strings.TrimSuffix(f.Name, ".toml")]
		data := slices.Concat(f.Data, []byte("[fold.users.source]\nbucket = \"b\"\n[fold.users.module]\npath = \"m\"\n"))
		write(t, f.Name, data)
		c, err := Load(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "# %s\n", f.Name)
		tellProblems(t, &got, CheckSchema(schema))
		tellProblems(t, &got, c.Folds[0].CheckConfig(schema))
	}
	settle(t, path, ar, got.Bytes())
}

func tellProblems(t *testing.T, w *bytes.Buffer, err error) {
	var p *Problems
	if err == nil {
		return
	}
	if !errors.As(err, &p) {
		t.Fatalf("%T is no *Problems: %v", err, err)
	}
	for _, one := range p.All {
		fmt.Fprintf(w, "%s\n  hint: %s\n", one, one.Hint)
	}
}

// TestCostlyIsCheap: the steps of the archive's deep schema are counted without going them.
func TestCostlyIsCheap(t *testing.T) {
	schema := map[string]any{}
	defs := map[string]any{"30": map[string]any{}}
	for i := range 30 {
		next := map[string]any{"$ref": fmt.Sprintf("#/$defs/%d", i+1)}
		defs[fmt.Sprint(i)] = map[string]any{"allOf": []any{next, next}}
	}
	schema["$defs"], schema["$ref"] = defs, "#/$defs/0"
	text, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	s, bad := compileSchema(text)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	if !costly(s.compiled, map[string]any{}) {
		t.Error("a thousand million steps are taken for few")
	}
}

// FuzzSchema: no schema and no config make the check panic, or hang.
func FuzzSchema(f *testing.F) {
	ar, err := txtar.ParseFile("testdata/schema/schema.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range ar.Files {
		if filepath.Ext(file.Name) == ".json" {
			f.Add(string(file.Data), `{"tenant":1,"list":[{"n":"x"}]}`)
		}
	}
	f.Fuzz(func(t *testing.T, schema, config string) {
		CheckSchema([]byte(schema))
		fold := DefaultFold("f")
		fold.Config = []byte(config)
		fold.CheckConfig([]byte(schema))
	})
}
