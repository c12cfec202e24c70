package abi_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

var update = flag.Bool("update", false, "write the vectors in testdata/vectors again")

const vectorDir = "../testdata/vectors"

// A vector is a frame and what must become of it. In mem an in frame is alone; an out frame lies at addr, as it does
// in guest memory.
type vector struct {
	name, about  string
	mem          []byte
	out          bool
	addr, length uint32
	records      int
}

func allVectors() []vector {
	return append(inVectors(), outVectors()...)
}

// TestVectors compares each vector with its file, byte by byte: the frame, what it means, or why it is refused.
func TestVectors(t *testing.T) {
	known := map[string]bool{}
	for _, v := range allVectors() {
		file := filepath.Join(vectorDir, v.name+".txt")
		if known[file] {
			t.Fatalf("two vectors are named %s", v.name)
		}
		known[file] = true
		if *update {
			if err := os.WriteFile(file, []byte(v.text()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%v: run go test ./abi -update", err)
			continue
		}
		if got := v.text(); got != string(want) {
			t.Errorf("%s differs: a change of it is a change of the ABI\n--- got\n%s\n--- want\n%s", file, got, want)
		}
	}
	for _, pattern := range []string{"in-*.txt", "out-*.txt"} {
		files, _ := filepath.Glob(filepath.Join(vectorDir, pattern))
		for _, file := range files {
			if !known[file] {
				t.Errorf("%s: no test makes this vector: delete it", file)
			}
		}
	}
}

// text is the whole file of a vector.
func (v vector) text() string {
	var b strings.Builder
	for _, line := range strings.Split(v.about, "\n") {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	meaning, err := v.meaning()
	if v.out {
		fmt.Fprintf(&b, "frame: out\naddress: %d\nlength: %d\nrecords: %d\n", v.addr, v.length, v.records)
	} else {
		fmt.Fprintf(&b, "frame: in\n")
	}
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	} else {
		fmt.Fprintf(&b, "meaning:\n%s", meaning)
	}
	fmt.Fprintf(&b, "hex:\n%s", hex.Dump(v.mem))
	return b.String()
}

func (v vector) meaning() (string, error) {
	if !v.out {
		u, err := abi.DecodeIn(v.mem)
		if err != nil {
			return "", err
		}
		return inMeaning(u), nil
	}
	var o abi.Out
	if err := o.Decode(v.mem, v.addr, v.length, v.records); err != nil {
		return "", err
	}
	return outMeaning(&o), nil
}

func inMeaning(u *abi.Updates) string {
	var b strings.Builder
	for i, r := range u.Records {
		op := map[abi.Op]string{abi.OpPut: "put", abi.OpDelete: "delete", abi.OpPurge: "purge"}[r.Op]
		fmt.Fprintf(&b, "  record %d %s seq %d time %d\n", i, op, r.Seq, r.Time)
		fmt.Fprintf(&b, "    subject %+q\n    key     %+q\n    value   %+q\n", u.At(r.Subject), u.Key(i), u.Value(i))
		for _, h := range u.Headers[r.Header : r.Header+r.Headers] {
			fmt.Fprintf(&b, "    header  %+q %+q\n", u.At(h.Name), u.At(h.Value))
		}
	}
	return b.String()
}

func outMeaning(o *abi.Out) string {
	var b strings.Builder
	j := 0
	for i := range o.Results() {
		r := o.Result(i)
		fmt.Fprintf(&b, "  result %d %s code %d message %+q\n", i, r.Status, r.Code, r.Message)
		for range r.Entries {
			e := o.Entry(j)
			fmt.Fprintf(&b, "    entry %d index %d ttl %d\n      key   %+q\n      value %+q\n", j, e.Index, e.TTL, e.Key, e.Value)
			j++
		}
	}
	return b.String()
}
