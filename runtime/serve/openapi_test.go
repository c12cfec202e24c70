package serve_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
)

// operable is a fold that takes actions, and does nothing.
type operable struct{ *fold }

func (operable) Rebuild(context.Context) error      { return nil }
func (operable) Resume(context.Context, bool) error { return nil }
func (operable) Pause(context.Context) error        { return nil }
func (operable) Apply(context.Context, bool) error  { return nil }
func (operable) Rollback(context.Context) error     { return nil }
func (operable) Sweep(context.Context, bool) (runtime.SweepReport, error) {
	return runtime.SweepReport{}, nil
}
func (operable) Retry(context.Context, []byte) (runtime.RetryReport, error) {
	return runtime.RetryReport{}, nil
}

// described is the document as it is served.
type described map[string]any

func describe(t *testing.T, d *serve.Door) described {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/v1/openapi.json", nil))
	doc, err := jsonschema.UnmarshalJSON(w.Body)
	check(t, err)
	return doc.(map[string]any)
}

// at follows keys into the document.
func (d described) at(keys ...string) any {
	v := any(map[string]any(d))
	for _, key := range keys {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// parameters returns the names of the query's parameters that an operation has, sorted.
func (d described) parameters(path, method string) []string {
	names := []string{}
	all, _ := d.at("paths", path, method, "parameters").([]any)
	for _, p := range all {
		name := strings.TrimPrefix(p.(map[string]any)["$ref"].(string), "#/components/parameters/")
		if d.at("components", "parameters", name, "in") == "query" {
			names = append(names, d.at("components", "parameters", name, "name").(string))
		}
	}
	slices.Sort(names)
	return names
}

// TestOpenAPI holds openapi.json and the server together: each has the routes, and the parameters, of the other.
func TestOpenAPI(t *testing.T) {
	f := newFold(t)
	f.commit(entry{"s", 0, "k", "v", 0})
	d := serve.NewAdmin(serve.Options{Folds: []serve.Fold{operable{f}}})
	doc := describe(t, d)
	var routed, told []string
	for path, methods := range doc["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			told = append(told, strings.ToUpper(method)+" "+path)
		}
	}
	for _, route := range d.Routes() {
		method, path, ok := strings.Cut(route, " ")
		if !ok {
			continue // what is not there
		}
		routed = append(routed, route)
		if path == "/healthz" || path == "/metrics" {
			continue // they look at no parameters
		}
		target := strings.NewReplacer("{fold}", "f", "{index}", "all").Replace(path)
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(method, "http://localhost"+target+"?no_such_parameter=1&key=k&source=s", nil))
		known := []string{}
		if _, list, ok := strings.Cut(w.Body.String(), "known are "); ok {
			list, _, _ = strings.Cut(list, `"`)
			known = strings.Split(list, ", ")
		}
		if slices.Sort(known); w.Code != http.StatusBadRequest || !slices.Equal(known, doc.parameters(path, strings.ToLower(method))) {
			t.Errorf("%s, %d:\n  it takes  %s\n  described %s", route, w.Code, known, doc.parameters(path, strings.ToLower(method)))
		}
	}
	slices.Sort(routed)
	slices.Sort(told)
	if !slices.Equal(routed, told) {
		t.Errorf("\nroutes    %s\ndescribed %s", routed, told)
	}
}

// TestSchemas holds real replies to the schemas of openapi.json.
func TestSchemas(t *testing.T) {
	f := newFold(t)
	f.commit(entry{"s1", 0, "k", "one", 0}, entry{"s1", 0, "soon", `{"a":1}`, 2_000_000_000_000_000_000}, entry{"s1", 1, "k", "old", 0},
		entry{"s2", 0, "k", "\x00", 0}, entry{"s2", 1, "k", "new", 0}, entry{"a1", 0, "kept", "v", 0})
	f.fail("v", "a1", "a2")
	f.status.Indexes = []runtime.IndexStatus{{Name: "all", Collisions: "all"}}
	d := serve.NewAdmin(serve.Options{Folds: []serve.Fold{f}})
	doc := describe(t, d)
	c := jsonschema.NewCompiler()
	check(t, c.AddResource("openapi.json", map[string]any(doc)))
	const all = "/v1/folds/{fold}/indexes/{index}/"
	tried := map[string]bool{}
	for _, x := range []struct{ path, ask, accept string }{
		{"/v1/status", "", ""}, {"/v1/folds/{fold}/status", "", ""},
		{all + "get", "key=k&key=none&key=soon&json=1&tuple=1", ""}, {all + "get", "key=kept&encoding=hex", ""}, {all + "get", "key=none", ""},
		{all + "get", "key=k&key=soon&limit=1&encoding=base64&snapshot=1ms", ""},
		{all + "scan", "limit=2", ""}, {all + "scan", "keys_only=1", ""}, {all + "scan", "bad=1", ""},
		{all + "scan", "json=1", "application/x-ndjson"}, {all + "scan", "limit=1", "application/x-ndjson"},
		{all + "count", "", ""}, {all + "count", "limit=1&snapshot=1ms", ""},
		{all + "why", "key=k", ""}, {all + "why", "key=k&limit=1", ""}, {all + "why", "key=kept", ""},
		{"/v1/folds/{fold}/why", "source=s1", ""},
		{"/v1/folds/{fold}/verify", "", ""},
		{"/v1/folds/{fold}/quarantine", "limit=1&updates=1", ""},
		{"/v1/folds/{fold}/quarantine/show", "source=a2", ""},
	} {
		r := httptest.NewRequest("GET", "http://localhost"+strings.NewReplacer("{fold}", "f", "{index}", "all").Replace(x.path)+"?"+x.ask, nil)
		kind := "application/json"
		if x.accept != "" {
			kind = x.accept
			r.Header.Set("Accept", x.accept)
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		schema := "Error"
		if w.Code == http.StatusOK {
			ref, _ := doc.at("paths", x.path, "get", "responses", "200", "content", kind, "schema", "$ref").(string)
			schema = strings.TrimPrefix(ref, "#/components/schemas/")
		}
		tried[schema] = true
		s, err := c.Compile("openapi.json#/components/schemas/" + schema)
		if err != nil {
			t.Fatalf("%s of %s: %v", schema, x.path, err)
		}
		if got := w.Header().Get("Content-Type"); got != kind {
			t.Errorf("%s?%s is %s", x.path, x.ask, got)
		}
		for body := w.Body; body.Len() > 0; {
			line, err := body.ReadBytes('\n')
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
			check(t, err)
			if err := s.Validate(v); err != nil {
				t.Errorf("%s?%s is no %s: %v\n%s", x.path, x.ask, schema, err, line)
			}
		}
	}
	for schema := range doc.at("components", "schemas").(map[string]any) {
		if part := slices.Contains([]string{"Bytes", "Row", "Mark", "Snapshot", "Owner", "Quarantined", "Index", "Fold"}, schema); !part && !tried[schema] {
			t.Errorf("no reply is held to %s", schema)
		}
	}
}
