package plugin

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/foldrun/foldrun/hint"
)

const hostileDir = "../../testdata/hostile"

func hostileModule(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(hostileDir, name+".wasm"))
	check(t, err)
	return b
}

var update = flag.Bool("update", false, "write testdata/hostile/fates.txt anew: read the difference")

// A fate is what becomes of a hostile module.
type fate struct {
	who  string // refused: it is not loaded; unstarted: no instance starts; record: those whose value begins with "!"; all: every record
	text string // the error, or the verdict
}

// TestHostile runs every module of testdata/hostile among honest records, in frames of several cuts, and compares what
// becomes of it with fates.txt. With -v it prints the table of docs/sandbox.md.
func TestHostile(t *testing.T) {
	found, err := filepath.Glob(filepath.Join(hostileDir, "*.wasm"))
	check(t, err)
	file := filepath.Join(hostileDir, "fates.txt")
	text, err := os.ReadFile(file)
	check(t, err)
	want := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, " | ")
		want[name] = line
	}
	if len(want) != len(found) && !*update {
		t.Errorf("%d modules, and the fates of %d", len(found), len(want))
	}
	var have strings.Builder
	for _, path := range found {
		name := strings.TrimSuffix(filepath.Base(path), ".wasm")
		t.Run(name, func(t *testing.T) {
			begun, peak := time.Now(), peakMemory()
			got := meet(t, name)
			t.Logf("| %s | %s: %.100s | %s | %s |", name, got.who, got.text, time.Since(begun).Round(100*time.Microsecond), peak())
			line := fmt.Sprintf("%s | %s | %.200s\n", name, got.who, got.text)
			have.WriteString(line)
			if line != want[name] && !*update {
				t.Errorf("fates.txt says\n%sand it is\n%s", want[name], line)
			}
		})
	}
	if *update {
		check(t, os.WriteFile(file, []byte(have.String()), 0o644))
	}
}

// meet loads a module and gives it records, two of which make it misbehave, and returns what became of it.
func meet(t *testing.T, name string) fate {
	ctx := t.Context()
	m, err := Compile(ctx, hostileModule(t, name), Options{FuelPerRecord: 2_000_000, Log: slog.New(slog.NewTextHandler(discard{}, nil))})
	if err != nil {
		if hint.Of(err) == "" {
			t.Errorf("no mend is given: %v", err)
		}
		return fate{"refused", err.Error()}
	}
	defer func() { check(t, m.Close(ctx)) }()
	w := m.Worker()
	defer w.Close(ctx)
	if err := w.Warm(ctx); err != nil {
		return fate{"unstarted", strings.TrimPrefix(err.Error(), "plugin: module "+name+" does not start: ")}
	}
	values := []string{"a", "b", "!", "c", "!", "d", "e"}
	got := judge(t, w, 256, values...)
	bad, honest := map[string]bool{}, 0
	for i, value := range values {
		have := got.text[int32(i)]
		switch {
		case value[0] == '!':
			if name == "state" {
				got.text[int32(i)], have = "", "what it was called before for"
			}
			bad[strings.ReplaceAll(have, fmt.Sprintf("k%d", i), "KEY")] = true
		case have == fmt.Sprintf("0 \"k%d\"=%q+0;", i, value):
			honest++
		default:
			bad[have] = true
		}
	}
	if len(bad) != 1 {
		t.Errorf("several verdicts: %.1000v", bad)
	}
	for cut := 1; cut < 4; cut++ {
		w := m.Worker()
		again := judge(t, w, cut, values...)
		w.Close(ctx)
		for i := range values {
			if got.text[int32(i)] != "" && again.text[int32(i)] != got.text[int32(i)] {
				t.Errorf("record %d: %.200q in frames of %d, %.200q in one", i, again.text[int32(i)], cut, got.text[int32(i)])
			}
		}
	}
	for text := range bad {
		if honest == 0 {
			return fate{"all", text}
		} else if honest == 5 {
			return fate{"record", text}
		}
	}
	t.Errorf("%d honest records of 5 are as they should be: %.1000v", honest, got.text)
	return fate{}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// peakMemory returns what tells how much more memory the process took since, at its peak.
func peakMemory() func() string {
	runtime.GC()
	before := status("VmRSS:")
	reset := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	return func() string {
		if before == 0 || reset != nil {
			return "?"
		}
		return fmt.Sprintf("%d MiB", max(status("VmHWM:")-before, 0)>>10)
	}
}

// status returns a line of the process's status, in KiB; 0 where the system does not say.
func status(line string) int {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), line)
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(f[0])
	return n
}
