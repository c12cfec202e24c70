package foldrun

import (
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// TestInVectors reads the in frames of testdata/vectors: the good ones as their files say, the bad ones somehow.
func TestInVectors(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/vectors/in-*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	defer func(before func(*Record, *Out)) { Register(before) }(guest.transform)
	for _, file := range files {
		want, frame := readVector(t, file)
		var got strings.Builder
		n := 0
		Register(func(r *Record, out *Out) {
			op := map[Op]string{Put: "put", Delete: "delete", Purge: "purge"}[r.Op]
			fmt.Fprintf(&got, "  record %d %s seq %d time %d\n", n, op, r.Seq, r.Time)
			fmt.Fprintf(&got, "    subject %+q\n    key     %+q\n    value   %+q\n", r.Subject(), r.Key(), r.Value())
			for name, value := range r.Headers() {
				fmt.Fprintf(&got, "    header  %+q %+q\n", name, value)
			}
			n++
		})
		ptr := exportBuffer(uint32(len(frame)))
		arena, _ := input(ptr, uint32(len(frame)))
		copy(arena, frame)
		taken := exportTransform(ptr, uint32(len(frame))) != 0
		if want == "" {
			continue
		}
		if !taken || got.String() != want {
			t.Errorf("%s: taken %v\n--- got\n%s--- want\n%s", file, taken, got.String(), want)
		}
		if progress := abi.Progress(arena); n > 0 && progress != uint32(n-1) {
			t.Errorf("%s: %d records left the progress at %d", file, n, progress)
		}
	}
}

// readVector returns the meaning and the bytes of a vector; a bad one has no meaning. In an empty frame there is none.
func readVector(t *testing.T, file string) (meaning string, frame []byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, dump, _ := strings.Cut(string(text), "hex:\n")
	_, meaning, _ = strings.Cut(before, "meaning:\n")
	for line := range strings.Lines(dump) {
		line, _, _ = strings.Cut(line, "|")
		_, digits, _ := strings.Cut(line, " ")
		b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		frame = append(frame, b...)
	}
	return meaning, frame
}

// TestTupleVectors makes the tuples of testdata/vectors/tuple.txt.
func TestTupleVectors(t *testing.T) {
	text, err := os.ReadFile("../../../testdata/vectors/tuple.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, tuples, _ := strings.Cut(string(text), "tuples:\n")
	tuples, _, _ = strings.Cut(tuples, "refused:\n")
	n := 0
	for line := range strings.Lines(tuples) {
		digits, form, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if form == "" {
			digits, form = "", digits
		}
		elements, err := abi.ParseTuple(form)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", []byte(appendElements(nil, elements))); got != digits {
			t.Errorf("%s: got %s, want %s", form, got, digits)
		}
		n++
	}
	if n < 80 {
		t.Errorf("%d vectors", n)
	}
	if a, b := Tuple(nil).Float(math.Copysign(0, -1)), Tuple(nil).Float(0); string(a) != string(b) {
		t.Errorf("-0 is %x, 0 is %x", a, b)
	}
	if a, b := Tuple(nil).Float(math.Float64frombits(0xfff8000000000123)), Tuple(nil).Float(math.NaN()); string(a) != string(b) {
		t.Errorf("a NaN is %x, NaN is %x", a, b)
	}
}

func appendElements(t Tuple, elements []abi.TupleElement) Tuple {
	for _, e := range elements {
		switch {
		case e.Kind == abi.KindNull && e.Desc:
			t = t.NullDesc()
		case e.Kind == abi.KindNull:
			t = t.Null()
		case e.Kind == abi.KindBool && e.Desc:
			t = t.BoolDesc(e.Bool)
		case e.Kind == abi.KindBool:
			t = t.Bool(e.Bool)
		case e.Kind == abi.KindInt && e.Desc:
			t = t.IntDesc(e.Int)
		case e.Kind == abi.KindInt:
			t = t.Int(e.Int)
		case e.Kind == abi.KindUint && e.Desc:
			t = t.UintDesc(e.Uint)
		case e.Kind == abi.KindUint:
			t = t.Uint(e.Uint)
		case e.Kind == abi.KindFloat && e.Desc:
			t = t.FloatDesc(e.Float)
		case e.Kind == abi.KindFloat:
			t = t.Float(e.Float)
		case e.Kind == abi.KindBytes && e.Desc:
			t = t.BytesDesc(e.Text)
		case e.Kind == abi.KindBytes:
			t = t.Bytes(e.Text)
		case e.Desc:
			t = t.StringDesc(string(e.Text))
		default:
			t = t.Text(e.Text)
		}
	}
	return t
}

// FuzzTuple compares with the host's codec.
func FuzzTuple(f *testing.F) {
	f.Add("text\x00", int64(-256), uint64(1)<<63, 1.5, uint8(0))
	f.Fuzz(func(t *testing.T, text string, i int64, u uint64, x float64, desc uint8) {
		elements := []abi.TupleElement{
			{Kind: abi.KindString, Text: []byte(text)}, {Kind: abi.KindInt, Int: i},
			{Kind: abi.KindUint, Uint: u}, {Kind: abi.KindFloat, Float: x}, {Kind: abi.KindBytes, Text: []byte(text)},
		}
		for i := range elements {
			elements[i].Desc = desc>>i&1 == 1
		}
		want := abi.Tuple(nil).Append(elements...)
		if got := appendElements(nil, elements); string(got) != string(want) {
			t.Fatalf("%s: got %x, want %x", abi.FormatTuple(elements), []byte(got), []byte(want))
		}
	})
}
