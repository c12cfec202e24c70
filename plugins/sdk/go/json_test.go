package foldrun_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	foldrun "github.com/foldrun/foldrun/plugins/sdk/go"
)

// jsonTexts are objects, and what is nearly one: those that all SDKs are asked to read.
func jsonTexts(t testing.TB) (texts []string) {
	t.Helper()
	b, err := os.ReadFile("../testdata/json.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		text, err := strconv.Unquote(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		texts = append(texts, text)
	}
	return texts
}

var abc = foldrun.NewFields("a", "b", "c", "", "b\n", "long name of a field that nobody asks for")

// TestJSON compares with encoding/json on texts that this takes, where no name comes twice.
func TestJSON(t *testing.T) {
	for _, text := range jsonTexts(t) {
		compareJSON(t, []byte(text))
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range jsonTexts(f) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { compareJSON(t, text) })
}

func compareJSON(t *testing.T, text []byte) {
	t.Helper()
	names := []string{"a", "b", "c", "", "b\n", "long name of a field that nobody asks for"}
	var raw [6]foldrun.JSON
	found := abc.Scan(text, raw[:])
	for i, name := range names {
		if raw[i] != nil {
			found--
		}
		if one := foldrun.Field(text, name); !bytes.Equal(one, raw[i]) || (one == nil) != (raw[i] == nil) {
			t.Fatalf("%q in %q: alone %q, with others %q", name, text, one, raw[i])
		}
		readValue(raw[i])
	}
	if found != 0 {
		t.Fatalf("%q: the count is %d off", text, found)
	}
	var want map[string]json.RawMessage
	if json.Unmarshal(text, &want) != nil || want == nil || ambiguous(text, len(want)) {
		return
	}
	for i, name := range names {
		w, there := want[name]
		if there != (raw[i] != nil) || !bytes.Equal(raw[i], w) {
			t.Fatalf("%q in %q: got %q, want %q", name, text, raw[i], w)
		}
		if there {
			compareValue(t, raw[i])
		}
	}
}

// ambiguous reports whether a name comes twice, or holds what encoding/json replaces.
func ambiguous(text []byte, names int) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	depth, n := 0, 0
	for {
		token, err := d.Token()
		if err != nil {
			return n != 2*names || bytes.ContainsRune(text, '\ufffd') || !bytes.Equal(text, bytes.ToValidUTF8(text, nil)) || bytes.Contains(text, []byte(`\ud`)) || bytes.Contains(text, []byte(`\uD`))
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth == 2 {
				n++
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		default:
			if depth == 1 {
				n++
			}
		}
	}
}

// readValue asks a value for everything.
func readValue(v foldrun.JSON) {
	v.Text()
	v.Int()
	v.Float()
	v.Bool()
	foldrun.Field(v, "x", "x")
}

func compareValue(t *testing.T, v foldrun.JSON) {
	t.Helper()
	var want any
	if err := json.Unmarshal(v, &want); err != nil {
		if x, ok := v.Float(); ok { // beyond float64
			t.Fatalf("%s is read as %v", v, x)
		}
		return
	}
	text, isText := v.Text()
	x, isFloat := v.Float()
	b, isBool := v.Bool()
	switch want := want.(type) {
	case string:
		if !isText || string(text) != want || isFloat || isBool {
			t.Fatalf("%s: got %q, want %q", v, text, want)
		}
	case float64:
		if !isFloat || math.Float64bits(x) != math.Float64bits(want) || isText || isBool {
			t.Fatalf("%s: got %v, want %v", v, x, want)
		}
		var i int64
		err := json.Unmarshal(v, &i)
		if n, ok := v.Int(); ok != (err == nil) || n != i {
			t.Fatalf("%s: got %d %v, want %d %v", v, n, ok, i, err)
		}
	case bool:
		if !isBool || b != want || isText || isFloat {
			t.Fatalf("%s: got %v, want %v", v, b, want)
		}
	default:
		if isText || isFloat || isBool {
			t.Fatalf("%s is read as a text, number or bool", v)
		}
	}
}

func TestField(t *testing.T) {
	const text = `{"address":{"city":{"name":"Berlin"},"zip":null},"address.city":1}`
	for _, x := range []struct {
		want string
		path []string
	}{
		{text, nil},
		{`"Berlin"`, []string{"address", "city", "name"}},
		{`null`, []string{"address", "zip"}},
		{``, []string{"address", "zip", "x"}},
		{``, []string{"address", "none"}},
		{``, []string{"none", "city"}},
		{`1`, []string{"address.city"}},
	} {
		if got := foldrun.Field([]byte(text), x.path...); string(got) != x.want {
			t.Errorf("%q: got %s, want %s", x.path, got, x.want)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	every := make([]byte, 0, 256)
	for c := range 128 {
		every = append(every, byte(c))
	}
	for _, text := range []string{"", "plain", "\"\\\n\t\r\x00", string(every), "Zürich \U0001F30D"} {
		quoted := foldrun.AppendJSON([]byte("x"), []byte(text))[1:]
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != text {
			t.Errorf("%q is written as %s: %v", text, quoted, err)
		}
		if again, ok := foldrun.JSON(quoted).Text(); !ok || string(again) != text {
			t.Errorf("%s is read as %q", quoted, again)
		}
	}
}

// TestManyFields: sets in which names share slots.
func TestManyFields(t *testing.T) {
	var names []string
	object := []byte("{")
	for i := range 64 {
		names = append(names, fmt.Sprintf("n%d", i))
		object = fmt.Appendf(object, `"n%d":%d,`, i, i)
	}
	object[len(object)-1] = '}'
	values := make([]foldrun.JSON, len(names))
	if n := foldrun.NewFields(names...).Scan(object, values); n != len(names) {
		t.Errorf("%d found", n)
	}
	for i, v := range values {
		if string(v) != fmt.Sprint(i) {
			t.Errorf("%s has %s", names[i], v)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	text := []byte(`{"id":3040051,"name":"les Escaldes","country":"AD","admin1":"08","lat":42.50729,"lon":1.53414,"population":15853,"timezone":"Europe/Andorra"}`)
	fields := foldrun.NewFields("country", "admin1", "name", "id", "population")
	var raw [5]foldrun.JSON
	b.ReportAllocs()
	for b.Loop() {
		fields.Scan(text, raw[:])
	}
}
