package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
)

// guards are the functions that only look whether what is read is the stream's, and whole: which stream it is, anchors,
// heartbeats, the leader's answers, requests and their answers, what expires, and the backoff.
var guards = map[string]string{
	"identity": `source\.\(\*(reader|Source)\)\.(prove|compare|judge|accept|suspect|doubt|call|request|streamInfo|messageAt|messageSince)$`,
	"anchors":  `source\.(anchorOf|addAnchor|hashAnchor)$`,
	"server":   `source\.\(\*reader\)\.(control|heartbeat|askLeader|leaderSays|moveIdle|idleClock|stampCaughtUp)$`,
	"expiry":   `source\.\(\*Batch\)\.Expiry$|source\.expiry$|\.(due|Due|expires|expiry)$`,
	"sequence": `source\.parse(Ack|Uint)$`,
}

// BenchmarkGuards folds a bucket from its beginning, as BenchmarkCatchUp does, and reports which share of the process's
// CPU time was the guards', by a profile of nothing but the folding.
func BenchmarkGuards(b *testing.B) {
	s := startBroker(b)
	s.fill(b, "bench", *updates)
	wasm := module(b, "rekey")
	profile := filepath.Join(b.TempDir(), "cpu.out")
	file, err := os.Create(profile)
	must(b, err)
	defer file.Close()
	for b.Loop() {
		must(b, pprof.StartCPUProfile(file))
		for range *rounds {
			catchUp(b, s, wasm, *updates)
		}
		pprof.StopCPUProfile()
	}
	var all []string
	for name, functions := range guards {
		all = append(all, functions)
		b.ReportMetric(share(b, profile, functions), name+"-%")
	}
	b.ReportMetric(share(b, profile, strings.Join(all, "|")), "all-%")
	b.ReportMetric(share(b, profile, `source\.\(\*reader\)\.(run|session)$`), "whole-source-%")
	b.ReportMetric(0, "ns/op")
}

var accounting = regexp.MustCompile(`Showing nodes accounting for \S+, (\S+)% of \S+ total`)

// share returns the percentage of a profile's time that was spent in functions and what they called.
func share(tb testing.TB, profile, functions string) float64 {
	out, err := exec.Command("go", "tool", "pprof", "-top", "-nodefraction=0", "-edgefraction=0", "-nodecount=100000", "-focus="+functions, os.Args[0], profile).CombinedOutput()
	if strings.Contains(string(out), "no samples") || strings.Contains(string(out), "focus expression matched no samples") {
		return 0
	}
	m := accounting.FindStringSubmatch(string(out))
	if err != nil || m == nil {
		tb.Fatalf("pprof: %v\n%s", err, out)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	must(tb, err)
	return v
}
