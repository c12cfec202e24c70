package foldrun

import (
	"math"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// TestTupleFloats: there is one zero and one NaN.
func TestTupleFloats(t *testing.T) {
	if a, b := Tuple(nil).Float(math.Copysign(0, -1)), Tuple(nil).Float(0); string(a) != string(b) {
		t.Errorf("-0 is %x, 0 is %x", a, b)
	}
	if a, b := Tuple(nil).Float(math.Float64frombits(0xfff8000000000123)), Tuple(nil).Float(math.NaN()); string(a) != string(b) {
		t.Errorf("a NaN is %x, NaN is %x", a, b)
	}
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
		got := one(nil, text, elements[0].Desc, Tuple.String, Tuple.StringDesc)
		got = one(got, i, elements[1].Desc, Tuple.Int, Tuple.IntDesc)
		got = one(got, u, elements[2].Desc, Tuple.Uint, Tuple.UintDesc)
		got = one(got, x, elements[3].Desc, Tuple.Float, Tuple.FloatDesc)
		got = one(got, []byte(text), elements[4].Desc, Tuple.Bytes, Tuple.BytesDesc)
		if string(got) != string(want) {
			t.Fatalf("%s: got %x, want %x", abi.FormatTuple(elements), []byte(got), []byte(want))
		}
	})
}

func one[V any](t Tuple, v V, desc bool, up, down func(Tuple, V) Tuple) Tuple {
	if desc {
		return down(t, v)
	}
	return up(t, v)
}
