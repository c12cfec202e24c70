package sdk_test

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
)

// A behaved is what becomes of a record whose value is the verb.
type behaved struct{ verb, want string }

// endings are what ends the instance, by language: the host says how the record failed. Go recovers from most.
var endings = map[string][]behaved{
	"go": inGo,
	"assemblyscript": {
		{"throw", "trap 0: the module aborted: thrown, in plugin.ts:"},
		{"byte", "trap 0: the module aborted: there is no such byte, in foldrun.ts:"},
		{"slice", "trap 0: the module aborted: there is no such slice, in foldrun.ts:"},
		{"header", "trap 0: the module aborted: there is no such header, in foldrun.ts:"},
		{"null", "trap 0: the module aborted: Unexpected 'null'"},
		{"int", "trap 0: the module aborted: no whole number: 1.5, in foldrun.ts:"},
		{"bad index", "trap 0: the module aborted: an index is 0 to 65535, in foldrun.ts:"},
		{"bad ttl", "trap 0: the module aborted: a negative ttl, in foldrun.ts:"},
		{"bad code", "trap 0: the module aborted: a code is 0 to 65535, in foldrun.ts:"},
		{"memory", "trap 0: "},
		{"leak", "trap 0: "},
		{"recurse", "stack_overflow 0: its calls nest deeper than 16 MiB of stack"},
	},
	"c": {
		{"throw", "trap 0: "},
		{"memory", "trap 0: "},
		{"leak", "trap 0: "},
		{"recurse", "trap 0: "},
	},
	"rust": {
		{"throw", "trap 0: "},
		{"byte", "trap 0: "},
		{"null", "trap 0: "},
		{"memory", "trap 0: "},
		{"leak", "trap 0: "},
		{"recurse", "trap 0: "},
	},
	"zig": {
		{"name", "module 65535: NoNameAtAll"},
		{"throw", "trap 0: "},
		{"byte", "trap 0: "},
		{"null", "trap 0: "},
		{"memory", "trap 0: "},
		{"leak", "trap 0: "},
		{"recurse", "trap 0: "},
	},
}

// panics are what a language says of a panic in the log.
var panics = map[string][]string{
	"go":   {`level=ERROR msg=module module=behave text="foldrun: transform called runtime.Goexit, which ends the instance"`},
	"rust": {`level=ERROR msg=module module=behave text="panicked at .*thrown`, `text="panicked at .*index out of bounds`},
	"zig":  {`level=ERROR msg=module module=behave text="panic: thrown"`, `text="panic: .*out of bounds`},
}

// TestBehaviour shows what becomes of records whose transform does odd things, each between two good ones.
func TestBehaviour(t *testing.T) { inEach(t, behaviour) }

func behaviour(t *testing.T, behave behaving) {
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	m := compile(t, behave.wasm(t, "main", "other"), plugin.Options{Config: []byte(`{"wanted":"k\u0065pt"}`), Log: log})
	for _, x := range append([]behaved{
		{"anything", `0 "k"="anything";`},
		{"record", `0 "k"="2 1700000000000000000 $KV.b.k put X-Tag=red X-Tag=blue X-Empty= red";1 "$KV.b.k"="";`},
		{"kinds", `0 "string ü"="a\xff";0 "b\xff"="cönst";0 "numbers"="-9223372036854775808 18446744073709551615 -7 0";` +
			`0 "json"="\"\\\"\\\\\\n\\t\\u0001ü\"";0 "Pt\x00\x01\x19\x01"="kinds";`},
		{"escaped", `0 "aü\n"="ü\n";`},
		{"ttl", `0 "k"="" ttl 3600000000000;`},
		{"config", `0 "config"="kept";`},
		{"skip", ``},
		{"error", `module 7: text of error`},
		{"log", ``},
		{"unknown index", `unknown_index 0: index 7, the manifest has 2`},
	}, endings[behave.language]...) {
		t.Run(x.verb, func(t *testing.T) {
			u := &abi.Updates{}
			put(u, "before", []byte("1"))
			put(u, "k", []byte(x.verb))
			for _, h := range [][2]string{{"X-Tag", "red"}, {"X-Tag", "blue"}, {"X-Empty", ""}} {
				u.Headers = append(u.Headers, abi.Header{Name: u.AppendString(h[0]), Value: u.AppendString(h[1])})
				u.Records[1].Headers++
			}
			put(u, "after", []byte("3"))
			got, stats := transform(t, m, u)
			trapped := strings.HasPrefix(x.want, "trap 0: ")
			if got[1] != x.want && !(trapped && strings.HasPrefix(got[1], x.want)) {
				t.Errorf("got  %s\nwant %s", got[1], x.want)
			}
			if got[0] != `0 "before"="1";` || got[2] != `0 "after"="3";` {
				t.Errorf("the neighbours have %s and %s", got[0], got[2])
			}
			alone := trapped || x.verb == "recurse" || x.verb == "sleep" // one that sleeps is judged alone: its clock moves
			if alone == (stats.Instances == 1) {
				t.Errorf("%d instances were needed", stats.Instances)
			}
		})
	}
	for _, want := range append(panics[behave.language], `level=WARN msg=module module=behave text="a line"`) {
		if !regexp.MustCompile(want).MatchString(lines.String()) {
			t.Errorf("the log has no line %s\n%s", want, lines.String())
		}
	}
}

// TestFrames: answers do not depend on how many records a frame holds, and large ones keep their bytes.
func TestFrames(t *testing.T) { inEach(t, frames) }

func frames(t *testing.T, behave behaving) {
	// the long record takes some 150 million fuel in AssemblyScript, which makes a string of UTF-16 of it
	m := compile(t, behave.wasm(t, "main", "other"), plugin.Options{BytesPerRecord: 8 << 20, FuelPerRecord: 1 << 30})
	u := &abi.Updates{}
	verbs := []string{"one", "record", "kinds", "escaped", "skip", "error", "ttl"}
	if behave.language == "go" {
		verbs = append(verbs, "panic string", "map", "config")
	}
	for i := range 300 {
		put(u, fmt.Sprint("key", i), []byte(verbs[i%len(verbs)]))
	}
	put(u, "large", []byte("large"))
	put(u, "large too", []byte("large"))
	put(u, "long", bytes.Repeat([]byte("0123456789"), 90_000))
	together, stats := transform(t, m, u)
	if stats.Frames > 10 || stats.Instances > 2 { // a call that makes many large entries may be cut smaller
		t.Errorf("%d frames, %d instances", stats.Frames, stats.Instances)
	}
	w := m.Worker()
	defer w.Close(t.Context())
	alone := make(verdicts, u.Len())
	for i := range u.Len() {
		check(t, w.Transform(t.Context(), u, []int32{int32(i)}, alone))
		if alone[i] != together[i] {
			t.Fatalf("%q: alone %.200s, together %.200s", u.Value(i), alone[i], together[i])
		}
	}
	if want := `0 "long"="` + strings.Repeat("0123456789", 90_000) + `";`; alone[302] != want {
		t.Errorf("a long record is not what it was: %.300s", alone[302])
	}
	if n := strings.Count(alone[300], ";"); n != 250 {
		t.Errorf("%d entries of a large record", n)
	}
}

// TestStart: what stops a module from starting, with the text that an operator reads.
func TestStart(t *testing.T) { inEach(t, start) }

func start(t *testing.T, behave behaving) {
	module := behave.wasm(t, "main", "other")
	thrown := map[string]string{
		"assemblyscript": "the module aborted: configure",
		"go":             "refuses the config with code 1: panic: configure",
	}[behave.language]
	for _, x := range []struct{ config, want string }{
		{`{"refuse":"tenant is missing"}`, "refuses the config with code 1: tenant is missing"},
		{`{"throw":true}`, cmp.Or(thrown, "foldrun_init: wasm error: unreachable")},
	} {
		m := compile(t, module, plugin.Options{Config: []byte(x.config)})
		w := m.Worker()
		err := w.Warm(t.Context())
		w.Close(t.Context())
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("got %v, want %s", err, x.want)
		}
	}
}

// TestUnregistered: in AssemblyScript and in Go a plugin can forget to name its transform.
func TestUnregistered(t *testing.T) {
	m := abi.Manifest{Name: "unregistered"}
	for _, x := range []struct {
		language, hint string
		build          func(t testing.TB) []byte
	}{
		{"assemblyscript", "call register at the top level", func(t testing.TB) []byte {
			return asc(t, "assemblyscript/testdata/unregistered/plugin.ts", m)
		}},
		{"go", "call foldrun.Register in an init function", func(t testing.TB) []byte {
			return built(t, "go", "go/testdata/unregistered/main.go", m)
		}},
	} {
		t.Run(x.language, func(t *testing.T) {
			w := compile(t, x.build(t), plugin.Options{}).Worker()
			defer w.Close(t.Context())
			if err := w.Warm(t.Context()); err == nil || !strings.Contains(err.Error(), "the plugin has no transform: "+x.hint) {
				t.Error(err)
			}
		})
	}
}

// TestGrowth: records that are each a little longer than the last do not use up the memory, with a config that stays, too.
func TestGrowth(t *testing.T) { inEach(t, growth) }

func growth(t *testing.T, behave behaving) {
	m := compile(t, behave.wasm(t, "main", "other"), plugin.Options{Memory: 16 << 20, Config: []byte(`{"wanted":"kept"}`)})
	u := &abi.Updates{}
	for n := 0; n < 2<<20; n += 60 << 10 {
		first := uint32(len(u.Headers))
		u.Headers = append(u.Headers, abi.Header{Name: u.AppendString("X-Long"), Value: u.Append(bytes.Repeat([]byte("x"), n))})
		put(u, "k", []byte("config"))
		last := &u.Records[u.Len()-1]
		last.Header, last.Headers = first, 1
	}
	got, stats := transform(t, m, u)
	for i, v := range got {
		if v != `0 "config"="kept";` {
			t.Errorf("record %d: %.200s", i, v)
		}
	}
	if stats.Instances != 1 {
		t.Errorf("%d instances were needed", stats.Instances)
	}
}
