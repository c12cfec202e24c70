package sdk_test

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	foldrun "github.com/foldrun/foldrun/plugins/sdk/go"
	"github.com/foldrun/foldrun/runtime/plugin"
)

// jsonTexts are objects, and what is nearly one; testdata/json.txt has each as a literal of Go.
func jsonTexts(t testing.TB) (texts []string) {
	t.Helper()
	b, err := os.ReadFile("testdata/json.txt")
	check(t, err)
	for line := range strings.Lines(string(b)) {
		text, err := strconv.Unquote(strings.TrimSpace(line))
		check(t, err)
		texts = append(texts, text)
	}
	return texts
}

var jsonNames = []string{"a", "b", "c", "", "b\n", "long name of a field that nobody asks for"}

// TestJSON compares the scanner with that of the Go SDK, which is compared with encoding/json: on the texts above, and on
// such as they become when bytes change.
func TestJSON(t *testing.T) { inEach(t, jsonTextsAreRead) }

func jsonTextsAreRead(t *testing.T, behave behaving) {
	r, u := seeded(t), &abi.Updates{}
	for _, text := range jsonTexts(t) {
		put(u, "k", []byte("json:"+text))
		for range 500 {
			put(u, "k", append([]byte("json:"), spoil(r, []byte(text))...))
		}
	}
	put(u, "k", []byte(`json:{"a":1.7976931348623157e308,"b":-1.7976931348623157e308}`)) // beside it, a digit more decides
	for range 3000 {                                                                     // numbers, in all lengths
		number := strconv.FormatFloat(math.Float64frombits(r.Uint64()), "efg"[r.IntN(3)], r.IntN(20)-1, 64)
		if r.IntN(2) == 0 {
			number = fmt.Sprintf("%d.%dE%+d", int16(r.Uint32()), r.IntN(1e6), r.IntN(20)-10)
		}
		put(u, "k", []byte(`json:{"a":`+number+`}`))
	}
	m := compile(t, behave.wasm(t, "raw", "text", "int", "float", "bool", "null", "inner"), plugin.Options{})
	got, stats := transform(t, m, u)
	most := uint64(1)
	if behave.language == "go" { // a call of many is given up where collecting the garbage of all is dear, and cut smaller
		most = 60
	}
	if stats.Instances > most {
		t.Errorf("%d instances were needed", stats.Instances)
	}
	for i := range got {
		text := u.Value(i)[len("json:"):]
		if want := goReads(text); !near(got[i], want) {
			t.Fatalf("%q\ngot  %s\nwant %s", text, got[i], want)
		}
	}
}

// goReads is what the plugin behave says of a JSON text, said by the Go SDK.
func goReads(text []byte) string {
	var b strings.Builder
	var raw [6]foldrun.JSON
	emit := func(index int, key string, value any) { fmt.Fprintf(&b, "%d %q=%q;", index, key, fmt.Sprint(value)) }
	emit(0, "found", foldrun.NewFields(jsonNames...).Scan(text, raw[:]))
	for i, v := range raw {
		if v == nil {
			continue
		}
		key := strconv.Itoa(i)
		emit(0, key, string(v))
		if s, ok := v.Text(); ok {
			emit(1, key, string(s))
		}
		if n, ok := v.Int(); ok {
			emit(2, key, n)
		}
		if x, ok := v.Float(); ok {
			emit(3, key, math.Float64bits(x))
		}
		if x, ok := v.Bool(); ok {
			emit(4, key, x)
		}
		if string(v) == "null" {
			emit(5, key, "")
		}
		if inner := foldrun.Field(v, "x", "x"); inner != nil {
			emit(6, key, string(inner))
		}
	}
	return b.String()
}

var floats = regexp.MustCompile(`;3 "(\d)"="(\d+)";`)

// near says whether two verdicts differ at most in the last bits of numbers, which may be off where these have more than 15
// digits or a large power of ten.
func near(got, want string) bool {
	a, b := floats.FindAllStringSubmatch(got, -1), floats.FindAllStringSubmatch(want, -1)
	if len(a) != len(b) || floats.ReplaceAllString(got, ";3 $1;") != floats.ReplaceAllString(want, ";3 $1;") {
		return false
	}
	for i := range a {
		x, _ := strconv.ParseUint(a[i][2], 10, 64)
		y, _ := strconv.ParseUint(b[i][2], 10, 64)
		if max(x, y)-min(x, y) > 16 {
			return false
		}
	}
	return true
}

// TestFloats: numbers of up to 15 digits and a power of ten within 22 are read to the last bit.
func TestFloats(t *testing.T) { inEach(t, floatsAreRead) }

func floatsAreRead(t *testing.T, behave behaving) {
	r, u := seeded(t), &abi.Updates{}
	for range 3000 {
		digits := r.Int64N(1e15) / int64(math.Pow10(r.IntN(15)))
		put(u, "k", fmt.Appendf(nil, `json:{"a":%de%+d}`, digits, r.IntN(45)-22))
	}
	m := compile(t, behave.wasm(t, "raw", "text", "int", "float", "bool", "null", "inner"), plugin.Options{})
	got, _ := transform(t, m, u)
	for i := range got {
		if want := goReads(u.Value(i)[len("json:"):]); got[i] != want {
			t.Fatalf("%q\ngot  %s\nwant %s", u.Value(i), got[i], want)
		}
	}
}
