package sdk_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
)

// inGo is what becomes of records that only the plugin in Go understands.
var inGo = []behaved{
	{"stack", `0 "a"="a";0 "b"="b";0 "c"="c";`},
	{"panic string", `module 65535: panic: text`},
	{"panic error", `module 65535: panic: an error`},
	{"panic stringer", `module 65535: panic: named stringer`},
	{"panic int", `module 65535: panic: 42`},
	{"panic other", `module 65535: panic: a value that is no error, string or int`},
	{"panic nil", `module 65535: panic: panic called with nil argument`},
	{"panic again", `module 65535: panic: its value panicked when it was asked for its text`},
	{"panic long", `module 65535: panic: ` + strings.Repeat("x", 1024-len("panic: "))},
	{"panic after error", `module 65535: panic: text`},
	{"index", `module 65535: panic: runtime error: index out of range [101] with length 5`},
	{"map", `module 65535: panic: assignment to entry in nil map`},
	{"nil", `module 65535: panic: runtime error: invalid memory address or nil pointer dereference`},
	{"divide", `module 65535: panic: runtime error: integer divide by zero`},
	{"length", `module 65535: panic: runtime error: makeslice: len out of range`},
	{"bad index", `module 65535: panic: foldrun: no index 65536`},
	{"bad ttl", `module 65535: panic: foldrun: a negative ttl`},
	// What Go cannot recover from: the host says how it failed.
	{"exit", "trap 0: "},
	{"exit 0", "trap 0: "},
	{"goexit", "trap 0: "},
	{"deadlock", "trap 0: "},
	{"memory", "trap 0: "},
	{"leak", "trap 0: "},
	{"recurse", `out_of_fuel 0: it needs more than 140000000 fuel`},
	{"goroutine", "trap 0: "},
	{"sleep", `0 "slept"="";`},
	{"channel", `0 "received"="";`},
}

// TestExamplesAreVetted vets what the main module's go vet does not see, as a plugin and as what go test runs.
func TestExamplesAreVetted(t *testing.T) {
	for _, target := range [][]string{nil, {"GOOS=wasip1", "GOARCH=wasm"}} {
		cmd := exec.Command("go", "vet", "./...")
		cmd.Dir = "../examples/go"
		cmd.Env = append(os.Environ(), target...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", target, err, out)
		}
	}
}

// TestGarbage: a module that makes garbage of every record, some 500 MB in all, lives within a small memory.
func TestGarbage(t *testing.T) {
	wasm := built(t, "go", "go/testdata/garbage/main.go", abi.Manifest{Name: "garbage"})
	m := compile(t, wasm, plugin.Options{Memory: 16 << 20})
	if _, stats := fold(t, m, allCities(t), 300_000); stats.Instances != 1 {
		t.Errorf("%d instances were needed", stats.Instances)
	}
}

// TestLargeGarbage: a record that makes more than a MiB of garbage is no danger for the others of its frame.
func TestLargeGarbage(t *testing.T) {
	wasm := built(t, "go", "go/testdata/behave/main.go", abi.Manifest{Name: "behave", Indexes: []string{"main", "other"}})
	m := compile(t, wasm, plugin.Options{FuelPerRecord: 1 << 40})
	u := &abi.Updates{}
	for range 600 {
		put(u, "k", []byte("waste"))
	}
	_, stats := fold(t, m, u, u.Len())
	t.Logf("%d instances", stats.Instances)
	if stats.Instances > 60 { // a call of many is given up where collecting the garbage of all is dear, and cut smaller
		t.Errorf("%d instances were needed", stats.Instances)
	}
}
