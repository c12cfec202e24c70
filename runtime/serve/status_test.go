package serve_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/runtime"
)

func TestStates(t *testing.T) {
	f := newFold(t)
	f.commit(entry{"s", 0, "k", "v", 0})
	f.status.State, f.status.Code = runtime.StateStopped, "source_rewound"
	starting := &fold{status: runtime.Status{Name: "starting", State: runtime.StateStarting}}
	never := &fold{status: runtime.Status{Name: "never", State: runtime.StateStopped, Code: "module_invalid", Reason: "it is text", Hint: "build it"}}
	s := newServer(t, f, starting, never)

	// A stopped fold answers, marked.
	got, h := ask(t, s, "/v1/folds/f/indexes/all/get?key=k")
	if got != `200 {"rows":[{"key":"k","value":"v","source":"s"}],"more":false}` || h.Get("Foldrun-State") != "stopped" || h.Get("Foldrun-Code") != "source_rewound" {
		t.Errorf("%s %v", got, h)
	}
	for path, want := range map[string]string{
		"/v1/folds/starting/indexes/all/scan": `503 {"error":{"code":"fold_starting","message":"fold \"starting\" is starting","hint":"ask again in a moment"}}`,
		"/v1/folds/never/verify":              `503 {"error":{"code":"module_invalid","message":"fold \"never\" has nothing to read: it is text","hint":"build it"}}`,
	} {
		if got, _ := ask(t, s, path); got != want {
			t.Errorf("%s\n got %s\nwant %s", path, got, want)
		}
	}
	check(t, f.db.Close())
	if got, _ := ask(t, s, "/v1/folds/f/indexes/all/scan"); got != `503 {"error":{"code":"closing","message":"foldrun is stopping","hint":"ask again once it has started"}}` {
		t.Error(got)
	}
}

func TestVerify(t *testing.T) {
	f := newFold(t)
	f.commit(entry{"s", 0, "k", "v", 0}, entry{"t", 1, "k", "v", 0})
	c := client.New(newServer(t, f).URL)
	r, err := c.Verify(context.Background(), "f")
	check(t, err)
	if !r.OK || r.Rows != 2 || r.Lineages != 2 || r.At.Seq != 2 || len(r.Indexes) != 2 || r.Indexes[0].Rows != 1 ||
		r.Indexes[0].Digest != f.db.State().Indexes[0].Digest.String() {
		t.Errorf("%+v", r)
	}
}

// TestStatus compares what a status is here and at the client, field by field.
func TestStatus(t *testing.T) {
	var full runtime.Status
	fill(reflect.ValueOf(&full).Elem())
	f := newFold(t)
	f.status = full
	s := newServer(t, f)
	raw, _ := ask(t, s, "/v1/status")
	d := json.NewDecoder(strings.NewReader(strings.TrimPrefix(raw, "200 ")))
	d.DisallowUnknownFields()
	var got client.Status
	check(t, d.Decode(&got))
	back, err := json.Marshal(got)
	check(t, err)
	if "200 "+string(back) != raw {
		t.Errorf("the client loses something:\n%s\n%s", raw, back)
	}
}

// fill sets every field to something that is not zero.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(1700000000, 5).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		of := reflect.New(v.Type().Elem()).Elem()
		fill(of)
		v.SetMapIndex(reflect.ValueOf("m"), of)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint64, reflect.Uint32, reflect.Uint8:
		v.SetUint(9)
	case reflect.Int64, reflect.Int32, reflect.Int:
		v.SetInt(8)
	default:
		panic(v.Kind())
	}
}
