package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	is "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// A module's manifest may hold a JSON Schema, config_schema, for the [fold.NAME.config] that it takes: draft 2020-12,
// unless it names another one that is known. Formats are asserted. Nothing is loaded for it, neither from the network
// nor from a file: a $ref leads into the schema itself.

// schemaURL is what a config_schema is to the library, so that a relative $ref has something to start from. It is of a
// domain that cannot exist.
const schemaURL = "https://foldrun.invalid/config_schema"

// A jsonSchema is a config_schema that can be used.
type jsonSchema struct {
	doc      any // as it was decoded
	compiled *jsonschema.Schema
}

// A defect is what is wrong at a place of a JSON document. The path is as in a Problem.
type defect struct {
	path       []string
	text, hint string
}

// compileSchema reads a config_schema, or says all that is wrong with it.
func compileSchema(text json.RawMessage) (*jsonSchema, []defect) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, []defect{{text: "is not JSON: " + err.Error()}}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.AssertFormat()
	if err = c.AddResource(schemaURL, doc); err == nil {
		var compiled *jsonschema.Schema
		if compiled, err = c.Compile(schemaURL); err == nil {
			return &jsonSchema{doc, compiled}, nil
		}
	}
	return nil, schemaDefects(doc, err)
}

var errNotLoaded = errors.New("nothing is loaded for a config_schema")

type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errNotLoaded }

func schemaDefects(doc any, err error) []defect {
	var invalid *jsonschema.ValidationError
	var load *jsonschema.LoadURLError
	var outer *jsonschema.SchemaValidationError
	switch {
	case errors.As(err, &outer) && errors.As(outer.Err, &invalid):
		return defectsOf(invalid, doc, nil)
	case errors.As(err, &load):
		return []defect{{text: fmt.Sprintf("refers to %s, and nothing is loaded", strings.TrimPrefix(load.URL, "https://foldrun.invalid/")),
			hint: "put it into the schema, under $defs, and refer to #/$defs/NAME"}}
	}
	return []defect{{text: strings.ReplaceAll(err.Error(), schemaURL, ""), hint: "https://json-schema.org says what a schema may hold"}}
}

// CheckSchema returns what is wrong with the config_schema of a manifest, nil for a good one and for none.
func CheckSchema(schema json.RawMessage) error {
	if len(schema) == 0 {
		return nil
	}
	_, defects := compileSchema(schema)
	if len(defects) == 0 {
		return nil
	}
	p := &Problems{}
	for _, d := range defects {
		p.All = append(p.All, Problem{Key: dotted(append([]string{"config_schema"}, d.path...)), Text: d.text, Hint: d.hint, Fatal: true})
	}
	return p
}

// CheckConfig holds [fold.NAME.config] against the config_schema of the fold's module. The error is nil or a *Problems.
// Of a schema that is none itself it says nothing: see CheckSchema.
func (f Fold) CheckConfig(schema json.RawMessage) error {
	if len(schema) == 0 {
		return nil
	}
	s, bad := compileSchema(schema)
	if len(bad) > 0 {
		return nil
	}
	p := &Problems{}
	for _, d := range s.judge(f.Config) {
		one := f.At(append([]string{"config"}, d.path...)...)
		one.Text, one.Hint = d.text, strings.ReplaceAll(d.hint, "[config", "["+dotted([]string{"fold", f.Name, "config"}))
		p.All = append(p.All, one)
	}
	if len(p.All) == 0 {
		return nil
	}
	p.sort(f.File)
	return p
}

// judge says what of a config is not as the schema wants.
func (s *jsonSchema) judge(config json.RawMessage) []defect {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return []defect{{text: "is not JSON: " + err.Error()}}
	}
	if costly(s.compiled, v) {
		return []defect{{text: "cannot be held against the module's config_schema: that takes too many steps",
			hint: "build the module with a schema that is simpler, or has no combinations inside combinations"}}
	}
	var invalid *jsonschema.ValidationError
	if err := s.compiled.Validate(v); errors.As(err, &invalid) {
		return defectsOf(invalid, v, s.doc)
	}
	return nil
}

// defectsOf returns the leaves of what the library found in a document, in words of ours. schema is the schema's own
// document, for hints; nil for none.
func defectsOf(e *jsonschema.ValidationError, doc, schema any) []defect {
	at := pathIn(doc, e.InstanceLocation)
	here := func(text, hint string) []defect { return []defect{{at, text, hint}} }
	part := lookUp(schema, e.SchemaURL)
	key := "it"
	if len(at) > 0 {
		key = dotted(at[len(at)-1:])
	}
	switch k := e.ErrorKind.(type) {
	case *is.Type:
		return here(fmt.Sprintf("wants %s, has %s", typeNames(k.Want), typeNames([]string{k.Got})), wanted(part, key, k.Want))
	case *is.Required:
		var all []defect
		for _, name := range k.Missing {
			all = append(all, defect{at, "needs " + dotted([]string{name}), described(member(part, "properties", name),
				fmt.Sprintf("write %s = … in [%s]", dotted([]string{name}), dotted(append([]string{"config"}, at...))))})
		}
		return all
	case *is.AdditionalProperties:
		var all []defect
		for _, name := range k.Properties {
			all = append(all, defect{append(slices.Clone(at), name), "unknown key", knownOf(part, name)})
		}
		return all
	case *is.Enum:
		return here("is none of its values", described(part, "legal are "+values(k.Want)))
	case *is.Const:
		return here("is not the value it must have", described(part, "write "+values([]any{k.Want})))
	case *is.Pattern:
		return here("has not the right form", described(part, "it must match the regular expression "+k.Want))
	case *is.Format:
		mend := map[string]string{"regex": "write it as Go does: RE2, without look-around and back references"}[k.Want]
		return here("is not a valid "+k.Want, described(part, orElse(mend, inspectHint)))
	case *is.RefCycle:
		return here("cannot be held against the module's config_schema, which refers to itself in a circle", "build the module with a schema without the circle")
	case *is.FalseSchema:
		return here("must not be here", "leave it out")
	case *is.AnyOf:
		return here(alternatives(e, doc), described(part, "the module's config_schema has the alternatives"))
	case *is.OneOf:
		if len(e.Causes) > 0 {
			return here(alternatives(e, doc), described(part, "the module's config_schema has the alternatives"))
		}
	}
	if len(e.Causes) == 0 {
		return here(libraryText(e), described(part, inspectHint))
	}
	var all []defect
	for _, cause := range e.Causes {
		all = append(all, defectsOf(cause, doc, schema)...)
	}
	return all
}

// libraryText is what the library says of a leaf, without its place.
func libraryText(e *jsonschema.ValidationError) string {
	leaf := *e
	leaf.InstanceLocation, leaf.Causes = nil, nil
	return strings.TrimPrefix(leaf.Error(), "at '': ")
}

// alternatives says why a value is none of several.
func alternatives(e *jsonschema.ValidationError, doc any) string {
	var texts []string
	for _, cause := range e.Causes {
		for _, d := range defectsOf(cause, doc, nil) {
			text := d.text
			if n := len(e.InstanceLocation); len(d.path) > n {
				text = dotted(d.path[n:]) + ": " + text
			}
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	const most = 4
	if len(texts) > most {
		texts = append(texts[:most], "…")
	}
	return "fits none of its alternatives: " + strings.Join(texts, "; ")
}

// pathIn returns a JSON pointer's parts as a path of ours: places in lists are elements.
func pathIn(doc any, location []string) []string {
	var path []string
	for _, part := range location {
		switch v := doc.(type) {
		case []any:
			i, _ := strconv.Atoi(part)
			path = append(path, element(i))
			doc = nil
			if i < len(v) {
				doc = v[i]
			}
		case map[string]any:
			path = append(path, part)
			doc = v[part]
		default:
			return path
		}
	}
	return path
}

// lookUp returns the part of a schema that a location of the library names, nil if there is none.
func lookUp(schema any, location string) any {
	pointer, ok := strings.CutPrefix(location, schemaURL+"#")
	if !ok {
		return nil
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if part == "" {
			continue
		}
		if plain, err := url.PathUnescape(part); err == nil {
			part = plain
		}
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch v := schema.(type) {
		case map[string]any:
			schema = v[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			schema = v[i]
		default:
			return nil
		}
	}
	return schema
}

// member returns what lies below a part of a schema, nil if nothing does.
func member(part any, path ...string) any {
	for _, key := range path {
		m, ok := part.(map[string]any)
		if !ok {
			return nil
		}
		part = m[key]
	}
	return part
}

const inspectHint = "foldrun plugin inspect shows the module's config_schema"

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// described puts a schema's description of a value before the hint.
func described(part any, hint string) string {
	text, ok := member(part, "description").(string)
	if !ok || text == "" {
		return hint
	}
	return hint + "; the module says: " + cut(text)
}

func wanted(part any, key string, types []string) string {
	form := map[string]string{"string": `"…"`, "integer": "1", "number": "1.5", "boolean": "true", "array": "[…]"}[types[0]]
	if form == "" || isElement(key) {
		return described(part, inspectHint)
	}
	return described(part, "write "+key+" = "+form)
}

// knownOf is the hint for a key that the schema does not have.
func knownOf(part any, key string) string {
	properties, _ := member(part, "properties").(map[string]any)
	known := slices.Sorted(maps.Keys(properties))
	if near := Nearest(key, known); near != "" {
		return "the nearest is " + near
	}
	if len(known) == 0 {
		return "the module's config_schema knows no keys here"
	}
	return "the module's config_schema knows " + strings.Join(known, ", ")
}

var typeWords = map[string]string{"string": "a string", "integer": "a whole number", "number": "a number", "boolean": "true or false",
	"array": "a list", "object": "a table"}

func typeNames(types []string) string {
	words := make([]string, len(types))
	for i, t := range types {
		if words[i] = typeWords[t]; words[i] == "" {
			words[i] = t
		}
	}
	return strings.Join(words, " or ")
}

// values shows values of a schema as JSON.
func values(all []any) string {
	texts := make([]string, len(all))
	for i, v := range all {
		b, _ := json.Marshal(v)
		texts[i] = cut(string(b))
	}
	return cut(strings.Join(texts, ", "))
}

// cut shortens a text of a stranger to one line of reasonable length.
func cut(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
}
