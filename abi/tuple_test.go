package abi_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// tupleVectors are in ascending order.
var tupleVectors = []abi.Tuple{
	{},
	tuple().Null(),
	tuple().Null().Null(),
	tuple().Null().NullDesc(),
	tuple().Bool(false),
	tuple().Bool(true),
	tuple().Int(math.MinInt64),
	tuple().Int(math.MinInt64 + 1),
	tuple().Int(-1<<56 - 1),
	tuple().Int(-1 << 56),
	tuple().Int(-1<<56 + 1),
	tuple().Int(-1 << 32),
	tuple().Int(-65536),
	tuple().Int(-65535),
	tuple().Int(-256),
	tuple().Int(-255),
	tuple().Int(-254),
	tuple().Int(-1),
	tuple().Int(0),
	tuple().Int(1),
	tuple().Int(1).Int(math.MinInt64),
	tuple().Int(1).String(""),
	tuple().Int(2),
	tuple().Int(255),
	tuple().Int(256),
	tuple().Int(65535),
	tuple().Int(65536),
	tuple().Int(1 << 32),
	tuple().Int(1700000000123456789),
	tuple().Int(math.MaxInt64),
	tuple().Uint(math.MaxInt64 + 1),
	tuple().Uint(math.MaxUint64),
	tuple().Float(math.Inf(-1)),
	tuple().Float(-math.MaxFloat64),
	tuple().Float(-1.5),
	tuple().Float(-1),
	tuple().Float(-math.SmallestNonzeroFloat64),
	tuple().Float(math.Copysign(0, -1)),
	tuple().Float(math.SmallestNonzeroFloat64),
	tuple().Float(0.1),
	tuple().Float(1),
	tuple().Float(1e21),
	tuple().Float(math.MaxFloat64),
	tuple().Float(math.Inf(1)),
	tuple().Float(math.Float64frombits(0xfff8000000000123)),
	tuple().Bytes(nil),
	tuple().Bytes([]byte{0}),
	tuple().Bytes([]byte{0, 0}),
	tuple().Bytes([]byte{0, 1}),
	tuple().Bytes([]byte{0, 255}),
	tuple().Bytes([]byte{1}),
	tuple().Bytes([]byte{255}),
	tuple().String(""),
	tuple().String("").Null(),
	tuple().String("\x00"),
	tuple().String("\x00\xff"),
	tuple().String("\x01"),
	tuple().String("DE"),
	tuple().String("DE").Int(42).Float(-1.5),
	tuple().String("DE").Int(43),
	tuple().String("DE").IntDesc(3426354),
	tuple().String("DE").IntDesc(42),
	tuple().String("DE\x00"),
	tuple().String("DEU"),
	tuple().String("Z\"\\\n"),
	tuple().String("Zürich"),
	tuple().String("\U0001F30D"),
	tuple().String("\xff"),
	tuple().StringDesc("\xff"),
	tuple().StringDesc("ab"),
	tuple().StringDesc("a\x00"),
	tuple().StringDesc("a"),
	tuple().StringDesc("a").Null(),
	tuple().StringDesc(""),
	tuple().BytesDesc([]byte{0, 255}),
	tuple().BytesDesc([]byte{0}),
	tuple().BytesDesc(nil),
	tuple().FloatDesc(math.NaN()),
	tuple().FloatDesc(1),
	tuple().FloatDesc(0),
	tuple().FloatDesc(-1),
	tuple().UintDesc(math.MaxUint64),
	tuple().IntDesc(256),
	tuple().IntDesc(255),
	tuple().IntDesc(0),
	tuple().IntDesc(-1),
	tuple().IntDesc(-256),
	tuple().IntDesc(math.MinInt64),
	tuple().BoolDesc(true),
	tuple().BoolDesc(false),
	tuple().NullDesc(),
}

// refusedTuples are bytes that no tuple has.
var refusedTuples = []string{
	"00", "01", "fe", "ff", "05", "fa", "21", "0f",
	"19", "1a01", "1900", "1a00ff", "17", "17ff", "16ffff", "107fffffffffffffff00", "1000000000000000ff",
	"100000000000000000", "107ffffffffffffffe",
	"30", "3080000000000000", "307fffffffffffffff", "30fff8000000000001", "300007ffffffffffff",
	"40", "4000", "400002", "40000000", "4000ff", "506162", "50610001" + "00", "af9e00", "afffff", "afff",
	"0404ff",
}

func tuple() abi.Tuple { return nil }

// TestTupleVectors compares the vectors with their file, and their order with that of their bytes.
func TestTupleVectors(t *testing.T) {
	for i := 1; i < len(tupleVectors); i++ {
		if bytes.Compare(tupleVectors[i-1], tupleVectors[i]) >= 0 {
			t.Errorf("%x is not before %x", tupleVectors[i-1], tupleVectors[i])
		}
	}
	var b strings.Builder
	b.WriteString("# Tuple keys, codec 1: abi/TUPLE.md. After tuples: bytes, text; in ascending order. After refused: bytes, reason.\n")
	b.WriteString("tuples:\n")
	for _, key := range tupleVectors {
		elements, err := abi.DecodeTuple(key)
		if err != nil {
			t.Fatalf("%x: %v", []byte(key), err)
		}
		fmt.Fprintf(&b, "  %x\t%s\n", []byte(key), abi.FormatTuple(elements))
	}
	b.WriteString("refused:\n")
	for _, text := range refusedTuples {
		key, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		elements, err := abi.DecodeTuple(key)
		if err == nil {
			t.Errorf("%s is read as %s", text, abi.FormatTuple(elements))
		}
		fmt.Fprintf(&b, "  %s\t%v\n", text, err)
	}
	file := filepath.Join(vectorDir, "tuple.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: run go test ./abi -update", err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs: a change of it is a change of the codec\n--- got\n%s\n--- want\n%s", file, b.String(), want)
	}
}

// TestTupleText reads text forms, and compares with what is written again.
func TestTupleText(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{`()`, `()`},
		{` ( "DE" , 42 , -1.5 ) `, `("DE",42,-1.5)`},
		{`(42desc)`, `"42desc" is no element`},
		{`(42 desc,null desc,"x"desc,x"00fF"desc)`, `(42 desc,null desc,"x" desc,x"00ff" desc)`},
		{`(-0,-0.0,1e3,1E400000)`, `1E400000 is beyond the largest float`},
		{`(-0,-0.0,1e3,1e300)`, `(0,0.0,1000.0,1e+300)`},
		{`(9223372036854775807,9223372036854775808,18446744073709551615)`, `(9223372036854775807,9223372036854775808,18446744073709551615)`},
		{`(18446744073709551616)`, `not within`},
		{`(-9223372036854775809)`, `not within`},
		{`(true,false,null,nan,inf,-inf)`, `(true,false,null,nan,inf,-inf)`},
		{`("\u00fc\x00\xff\n\"")`, `("ü\x00\xff\n\"")`},
		{`(`, `"" is no element`},
		{`42`, `no "("`},
		{``, `no "("`},
		{`(1,)`, `"" is no element`},
		{`(1 2)`, `neither "," nor ")"`},
		{`(1))`, `more text`},
		{`(01)`, `"01" is no element`},
		{`(+1)`, `"+1" is no element`},
		{`(0x10)`, `"0x10" is no element`},
		{`(.5)`, `".5" is no element`},
		{`(NULL)`, `"NULL" is no element`},
		{`("a)`, `a string without an end`},
		{"(`a`)", "is no element"},
		{`('a')`, "is no element"},
		{`(x"0")`, `no pairs`},
		{`(x"0`, `bytes without an end`},
		{`(desc)`, `"desc" is no element`},
		{`(1 desc desc)`, `neither`},
	} {
		elements, err := abi.ParseTuple(x.text)
		if err != nil {
			if !strings.Contains(err.Error(), x.want) {
				t.Errorf("%s: error %q, want %q", x.text, err, x.want)
			}
			continue
		}
		if got := abi.FormatTuple(elements); got != x.want {
			t.Errorf("%s: got %s, want %s", x.text, got, x.want)
		}
	}
}

// compareElements is the order of TUPLE.md, by values.
func compareElements(a, b abi.TupleElement) int {
	if a.Desc != b.Desc {
		if b.Desc {
			return -1
		}
		return 1
	}
	if a.Desc {
		a, b = b, a
	}
	if a.Kind != b.Kind {
		return cmp.Compare(a.Kind, b.Kind) // KindUint is above all KindInt
	}
	switch a.Kind {
	case abi.KindBool:
		return len(fmt.Sprint(b.Bool)) - len(fmt.Sprint(a.Bool)) // "true" is the shorter, and the greater
	case abi.KindInt:
		return cmp.Compare(a.Int, b.Int)
	case abi.KindUint:
		return cmp.Compare(a.Uint, b.Uint)
	case abi.KindFloat:
		switch aNaN, bNaN := a.Float != a.Float, b.Float != b.Float; {
		case aNaN && bNaN:
			return 0
		case aNaN:
			return 1
		case bNaN:
			return -1
		}
		return cmp.Compare(a.Float, b.Float)
	}
	return bytes.Compare(a.Text, b.Text)
}

func compareTuples(a, b []abi.TupleElement) int { return slices.CompareFunc(a, b, compareElements) }

// FuzzTuple: what decodes is encoded to the same bytes, by way of its text too, and its prefixes are prefixes.
func FuzzTuple(f *testing.F) {
	for _, key := range tupleVectors {
		f.Add([]byte(key))
	}
	for _, text := range refusedTuples {
		key, _ := hex.DecodeString(text)
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		var elements []abi.TupleElement
		var err error
		if n := allocated(func() { elements, err = abi.DecodeTuple(key) }); n > uint64(512*len(key))+allocSlack {
			t.Fatalf("%d bytes of input made it allocate %d", len(key), n)
		}
		if err != nil {
			return
		}
		if again := tuple().Append(elements...); !bytes.Equal(again, key) {
			t.Fatalf("%x decodes, and is encoded as %x", key, []byte(again))
		}
		text := abi.FormatTuple(elements)
		parsed, err := abi.ParseTuple(text)
		if err != nil {
			t.Fatalf("%s cannot be parsed: %v", text, err)
		}
		if again := tuple().Append(parsed...); !bytes.Equal(again, key) {
			t.Fatalf("%x has the text %s, which is encoded as %x", key, text, []byte(again))
		}
		for i := range elements {
			if !bytes.HasPrefix(key, tuple().Append(elements[:i]...)) {
				t.Fatalf("the first %d elements of %s are no prefix", i, text)
			}
		}
	})
}

// FuzzTupleText: the parser survives any text, and what it takes means the same when it is written again.
func FuzzTupleText(f *testing.F) {
	for _, key := range tupleVectors {
		elements, _ := abi.DecodeTuple(key)
		f.Add(abi.FormatTuple(elements))
	}
	f.Fuzz(func(t *testing.T, text string) {
		elements, err := abi.ParseTuple(text)
		if err != nil {
			return
		}
		again, err := abi.ParseTuple(abi.FormatTuple(elements))
		if err != nil || compareTuples(elements, again) != 0 {
			t.Fatalf("%q is written as %q: %v", text, abi.FormatTuple(elements), err)
		}
	})
}

// FuzzTupleOrder makes two tuples of a few bytes each and compares their order with that of their encodings. The bytes
// choose from values that lie close together.
func FuzzTupleOrder(f *testing.F) {
	f.Add([]byte("\x02\x01\x00\x00"), []byte("\x02\x81\x00\x00"), uint8(0))
	f.Add([]byte("\x06ab"), []byte("\x86ab"), uint8(1))
	f.Add([]byte("\x04\x10\x06\x00\x00"), []byte("\x04\x10\x06\x00\xff"), uint8(2))
	f.Fuzz(func(t *testing.T, a, b []byte, common uint8) {
		n := min(int(common), len(a))
		x, y := makeTuple(a), makeTuple(append(slices.Clone(a[:n]), b...))
		ex, ey := tuple().Append(x...), tuple().Append(y...)
		if got, want := sign(bytes.Compare(ex, ey)), sign(compareTuples(x, y)); got != want {
			t.Fatalf("%s and %s compare as %d, their encodings %x and %x as %d",
				abi.FormatTuple(x), abi.FormatTuple(y), want, []byte(ex), []byte(ey), got)
		}
		for _, key := range []abi.Tuple{ex, ey} {
			if decoded, err := abi.DecodeTuple(key); err != nil || !bytes.Equal(tuple().Append(decoded...), key) {
				t.Fatalf("%x is not read as it was written: %v", []byte(key), err)
			}
		}
	})
}

func sign(n int) int { return cmp.Compare(n, 0) }

// makeTuple reads bytes as a program: the kind of an element, then what its value takes.
func makeTuple(program []byte) (elements []abi.TupleElement) {
	take := func(n int) []byte {
		n = min(n, len(program))
		b := program[:n]
		program = program[n:]
		return b
	}
	word := func() uint64 {
		var b [8]byte
		copy(b[:], take(2))
		shift := b[0] % 64
		return uint64(b[1])<<shift - uint64(b[0]>>6)
	}
	for len(program) > 0 && len(elements) < 8 {
		op := take(1)[0]
		e := abi.TupleElement{Kind: abi.TupleKind(op&0x7f) % 7, Desc: op >= 0x80}
		switch e.Kind {
		case abi.KindBool:
			e.Bool = op&8 != 0
		case abi.KindInt:
			e.Int = int64(word())
		case abi.KindUint:
			e.Uint = word() | 1<<63
		case abi.KindFloat:
			var b [8]byte
			copy(b[:], take(3))
			e.Float = math.Float64frombits(binary.BigEndian.Uint64(b[:]))
			if op&8 != 0 {
				e.Float = float64(int8(b[0])) / 2
			}
		case abi.KindBytes, abi.KindString:
			e.Text = take(int(op>>3) % 8)
		}
		elements = append(elements, e)
	}
	return elements
}

func BenchmarkTuple(b *testing.B) {
	key := make(abi.Tuple, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		key = key[:0].String("DE").String("Berlin").IntDesc(3426354)
	}
	b.SetBytes(int64(len(key)))
}
