package sdk_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// TestInVectors sends the in frames of testdata/vectors to modules that emit all they read of a record; the ones with SDKs do so
// if their config says describe. The good ones come out as their files say. A bad frame, which no host sends, may be refused
// or read to some answer, and traps at worst; in Go it does not.
func TestInVectors(t *testing.T) {
	inEach(t, func(t *testing.T, behave behaving) {
		inVectors(t, behave.wasm(t, "main", "other"), behave.language != "go")
	})
	t.Run("wat", func(t *testing.T) { inVectors(t, example(t, "wat", "describe"), true) })
}

func inVectors(t *testing.T, wasm []byte, mayTrap bool) {
	files, err := filepath.Glob("../../testdata/vectors/in-*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	start := func() guest {
		g := guestOf(t, wasm)
		g.init(t, `{"describe":true}`)
		return g
	}
	g := start()
	for _, file := range files {
		want, frame := readVector(t, file)
		got, err := g.describe(t, frame)
		switch {
		case want == "" && errors.Is(err, errTrap) && !mayTrap:
			t.Errorf("%s: %v", file, err)
			g = start()
		case want == "" && err != nil:
			g = start()
		case want == "":
		case err != nil:
			t.Errorf("%s: %v", file, err)
		case got != want:
			t.Errorf("%s\n--- got\n%s--- want\n%s", file, got, want)
		}
	}
	for _, frame := range encoded(allCities(t))[:3] { // full ones, for which the memory has to grow
		want, err := abi.DecodeIn(frame)
		check(t, err)
		got, err := g.describe(t, frame)
		if err != nil || strings.Count(got, "\n") != 4*want.Len() || !strings.Contains(got, fmt.Sprintf("%+q", want.Value(want.Len()-1))) {
			t.Errorf("%d records: %v, %s", want.Len(), err, got)
		}
	}
}

// A guest is one instance, called as abi/ABI.md has it, without what stands between in a fold.
type guest struct {
	m api.Module
}

func guestOf(t testing.TB, wasm []byte) guest {
	t.Helper()
	ctx := t.Context()
	dir, err := cache()
	check(t, err)
	kept, err := wazero.NewCompilationCacheWithDir(dir)
	check(t, err)
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(kept))
	t.Cleanup(func() { r.Close(context.Background()); kept.Close(context.Background()) })
	none := func(context.Context, api.Module, []uint64) {}
	abort := func(context.Context, api.Module, []uint64) { panic("abort") }
	i32 := api.ValueTypeI32
	_, err = r.NewHostModuleBuilder(abi.ImportModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(none), []api.ValueType{i32, i32, i32}, nil).Export(abi.ImportLog).Instantiate(ctx)
	check(t, err)
	_, err = r.NewHostModuleBuilder(abi.ImportEnv).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(abort), []api.ValueType{i32, i32, i32, i32}, nil).Export(abi.ImportAbort).Instantiate(ctx)
	check(t, err)
	_, err = wasi_snapshot_preview1.Instantiate(ctx, r)
	check(t, err)
	m, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions())
	check(t, err)
	g := guest{m}
	if start := m.ExportedFunction(abi.ExportInitialize); start != nil {
		g.fuel(1 << 40)
		_, err := start.Call(ctx)
		check(t, err)
	}
	return g
}

// write puts bytes into the arena and returns its address.
func (g guest) write(t *testing.T, b []byte) uint64 {
	t.Helper()
	at, err := g.m.ExportedFunction(abi.ExportBuffer).Call(t.Context(), uint64(len(b)))
	check(t, err)
	if at[0] == 0 || at[0]%8 != 0 || !g.m.Memory().Write(uint32(at[0]), b) {
		t.Fatalf("the arena is at %d", at[0])
	}
	return at[0]
}

// init gives the config to a module that takes one.
func (g guest) init(t *testing.T, config string) {
	t.Helper()
	f := g.m.ExportedFunction(abi.ExportInit)
	if f == nil {
		return
	}
	code, err := f.Call(t.Context(), g.write(t, []byte(config)), uint64(len(config)))
	if err != nil || code[0] != 0 {
		t.Fatal(code, err)
	}
}

var errTrap = errors.New("trapped")

// describe sends a frame and writes what came out as the vectors' files have it.
func (g guest) describe(t *testing.T, frame []byte) (string, error) {
	t.Helper()
	at := g.write(t, frame)
	packed, err := g.m.ExportedFunction(abi.ExportTransform).Call(t.Context(), at, uint64(len(frame)))
	if err != nil {
		return "", fmt.Errorf("%w: %w", errTrap, err)
	}
	if packed[0] == 0 {
		return "", fmt.Errorf("the frame is refused")
	}
	arena, _ := g.m.Memory().Read(uint32(at), uint32(len(frame)))
	records := int(binary.LittleEndian.Uint32(arena[8:]))
	if progress := abi.Progress(arena); records > 0 && progress != uint32(records-1) {
		t.Errorf("%d records left the progress at %d", records, progress)
	}
	memory, _ := g.m.Memory().Read(0, g.m.Memory().Size())
	var out abi.Out
	addr, length := abi.Unpack(packed[0])
	if err := out.Decode(memory, addr, length, records); err != nil {
		return "", err
	}
	return described(&out)
}

// described reads the entries of records that were described: numbers and op, subject, key and value, headers.
func described(out *abi.Out) (string, error) {
	var b strings.Builder
	j := 0
	for i := range out.Results() {
		n := int(out.Result(i).Entries)
		if n < 3 {
			return "", fmt.Errorf("record %d has %d entries", i, n)
		}
		numbers, subject, pair := out.Entry(j), out.Entry(j+1), out.Entry(j+2)
		if len(numbers.Key) != 16 || len(numbers.Value) != 1 {
			return "", fmt.Errorf("record %d: the numbers are %x and %x", i, numbers.Key, numbers.Value)
		}
		fmt.Fprintf(&b, "  record %d %s seq %d time %d\n", i, [...]string{"?", "put", "delete", "purge"}[numbers.Value[0]&3],
			binary.LittleEndian.Uint64(numbers.Key), int64(binary.LittleEndian.Uint64(numbers.Key[8:])))
		fmt.Fprintf(&b, "    subject %+q\n    key     %+q\n    value   %+q\n", subject.Key, pair.Key, pair.Value)
		for h := j + 3; h < j+n; h++ {
			fmt.Fprintf(&b, "    header  %+q %+q\n", out.Entry(h).Key, out.Entry(h).Value)
		}
		j += n
	}
	return b.String(), nil
}

// readVector returns the meaning and the bytes of a vector; a bad one has no meaning.
func readVector(t *testing.T, file string) (meaning string, frame []byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	check(t, err)
	before, dump, _ := strings.Cut(string(text), "hex:\n")
	_, meaning, _ = strings.Cut(before, "meaning:\n")
	for line := range strings.Lines(dump) {
		line, _, _ = strings.Cut(line, "|")
		_, digits, _ := strings.Cut(line, " ")
		b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		check(t, err)
		frame = append(frame, b...)
	}
	return meaning, frame
}

// TestTuples makes the tuples of testdata/vectors/tuple.txt, and random ones as the host's codec does.
func TestTuples(t *testing.T) { inEach(t, tuples) }

func tuples(t *testing.T, behave behaving) {
	text, err := os.ReadFile("../../testdata/vectors/tuple.txt")
	check(t, err)
	_, lines, _ := strings.Cut(string(text), "tuples:\n")
	lines, _, _ = strings.Cut(lines, "refused:\n")
	u, want := &abi.Updates{}, []string{}
	add := func(elements []abi.TupleElement) {
		put(u, "k", append([]byte("tupl:"), written(elements)...))
		want = append(want, fmt.Sprintf("0 %q=\"\";", abi.Tuple(nil).Append(elements...)))
	}
	for line := range strings.Lines(lines) {
		digits, form, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if form == "" {
			digits, form = "", digits
		}
		elements, err := abi.ParseTuple(form)
		check(t, err)
		add(elements)
		if b, _ := hex.DecodeString(digits); fmt.Sprintf("0 %q=\"\";", b) != want[len(want)-1] {
			t.Fatalf("%s: the vectors and abi differ", form)
		}
	}
	if u.Len() < 80 {
		t.Fatalf("%d vectors", u.Len())
	}
	for _, x := range []float64{math.Copysign(0, -1), math.Float64frombits(0xfff8000000000123)} { // written as 0 and the one NaN
		add([]abi.TupleElement{{Kind: abi.KindFloat, Float: x}})
	}
	r := seeded(t)
	for range 2000 {
		text := make([]byte, r.IntN(100))
		for i := range text {
			text[i] = byte(r.Uint32() >> r.IntN(9)) // zeros are frequent
		}
		elements := []abi.TupleElement{
			{Kind: abi.KindString, Text: text}, {Kind: abi.KindInt, Int: int64(r.Uint64()) >> r.IntN(64)},
			{Kind: abi.KindUint, Uint: r.Uint64() >> r.IntN(64)}, {Kind: abi.KindFloat, Float: r.NormFloat64()}, {Kind: abi.KindBytes, Text: text},
		}
		for i := range elements {
			elements[i].Desc = r.IntN(2) == 1
		}
		r.Shuffle(len(elements), func(i, j int) { elements[i], elements[j] = elements[j], elements[i] })
		add(elements)
	}
	got, _ := transform(t, compile(t, behave.wasm(t, "main", "other"), plugin.Options{}), u)
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%x: got %s, want %s", u.Value(i), got[i], want[i])
		}
	}
}

// written is how a test says to a module which tuple to make: for each element its kind, direction, length and bytes.
func written(elements []abi.TupleElement) (b []byte) {
	for _, e := range elements {
		text := e.Text
		number := func(v uint64) { text = binary.LittleEndian.AppendUint64(nil, v) }
		switch e.Kind {
		case abi.KindBool:
			number(0)
			if e.Bool {
				number(1)
			}
		case abi.KindInt:
			number(uint64(e.Int))
		case abi.KindUint:
			number(e.Uint)
		case abi.KindFloat:
			number(math.Float64bits(e.Float))
		}
		desc := byte(0)
		if e.Desc {
			desc = 1
		}
		b = append(b, byte(e.Kind), desc)
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(text))), text...)
	}
	return b
}

// encoded returns the in frames of all records, as large as a call may have them.
func encoded(u *abi.Updates) (frames [][]byte) {
	for recs := every(u); len(recs) > 0; {
		n := 1
		for n < len(recs) && n < 256 && abi.InSize(u, recs[:n+1]) <= abi.MaxFrameBytes {
			n++
		}
		frame := make([]byte, abi.InSize(u, recs[:n]))
		abi.EncodeIn(frame, u, recs[:n])
		frames, recs = append(frames, frame), recs[n:]
	}
	return frames
}

// run sends n records in the frames, again and again, and returns how large the memory has become and what fuel that took,
// if the module is metered.
func (g guest) run(t testing.TB, frames [][]byte, n int) (memory uint32, used int64) {
	t.Helper()
	buffer, transform := g.m.ExportedFunction(abi.ExportBuffer), g.m.ExportedFunction(abi.ExportTransform)
	at, err := buffer.Call(t.Context(), abi.MaxFrameBytes)
	check(t, err)
	const full = 1 << 40
	for i := 0; n > 0; i++ {
		frame := frames[i%len(frames)]
		g.fuel(full)
		if !g.m.Memory().Write(uint32(at[0]), frame) {
			t.Fatal("the frame has no room")
		}
		out, err := transform.Call(t.Context(), at[0], uint64(len(frame)))
		if err != nil || out[0] == 0 {
			t.Fatalf("%d records before the end: %v", n, err)
		}
		used += full - g.fuel(full)
		n -= int(binary.LittleEndian.Uint32(frame[8:]))
	}
	return g.m.Memory().Size(), used
}

// fuel gives a metered module n fuel, and returns what was left.
func (g guest) fuel(n int64) (left int64) {
	if g.m.ExportedGlobal(fuel.FuelGlobal) == nil {
		return n
	}
	set := func(name string, n int64) int64 {
		global := g.m.ExportedGlobal(name).(api.MutableGlobal)
		was := int64(global.Get())
		global.Set(uint64(n))
		return was
	}
	set(fuel.DepthGlobal, fuel.DefaultStack)
	return set(fuel.FuelGlobal, fuel.DefaultSlice) + set(fuel.ReserveGlobal, n-fuel.DefaultSlice)
}
