package plugin

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// FuzzAnswer lets a guest answer anything: the fuzzer's bytes are laid over its memory from the out frame on, and the
// call returns the fuzzer's address and length. The host takes it or refuses it; each record gets one verdict, and what
// is yielded lies in the guest's memory and within the limits.
func FuzzAnswer(f *testing.F) {
	ctx := context.Background()
	m, err := Compile(ctx, hostileModule(f, "honest"), Options{})
	check(f, err)
	f.Cleanup(func() { m.Close(ctx) })
	u := updates("a", "b", "c")
	honest := guestMemory(f, m, u)
	f.Add(uint32(4096), uint32(32+3*48), honest[4096:4096+32+3*48])
	for _, name := range []string{"counts-wrap", "key-negative", "entries-wrap", "message-wraps", "result-size-0"} {
		bad, err := Compile(ctx, hostileModule(f, name), Options{})
		check(f, err)
		mem := guestMemory(f, bad, updates("!", "b", "c"))
		f.Add(uint32(4096), uint32(32+3*48), mem[4096:4096+32+3*48])
		check(f, bad.Close(ctx))
	}
	f.Fuzz(func(t *testing.T, addr, length uint32, frame []byte) {
		mem := append([]byte(nil), honest...)
		copy(mem[4096:], frame)
		w := m.Worker()
		if err := w.out.Decode(mem, addr, length, u.Len()); err != nil {
			return
		}
		w.tooMuch()
		got := bounded{newVerdicts(t), m, len(mem)}
		check(t, w.deliver(all(u), got))
		if len(got.text) != u.Len() {
			t.Fatalf("%d verdicts on %d records", len(got.text), u.Len())
		}
	})
}

// bounded checks that what is yielded is within the limits.
type bounded struct {
	*verdicts
	m   *Module
	mem int
}

func (b bounded) Yield(rec int32, entries Entries) error {
	o, total := &b.m.opt, int64(0)
	for i := range entries.Len() {
		e := entries.At(i)
		total += int64(len(e.Key) + len(e.Value))
		if int(e.Index) >= len(b.m.manifest.Indexes) || len(e.Key) > o.KeyBytes || len(e.Value) > o.ValueBytes {
			b.t.Fatalf("record %d yields what is over a limit: index %d, %d and %d bytes", rec, e.Index, len(e.Key), len(e.Value))
		}
	}
	if entries.Len() > o.EntriesPerRecord || total > o.BytesPerRecord {
		b.t.Fatalf("record %d yields %d entries of %d bytes", rec, entries.Len(), total)
	}
	return b.set(rec, "yielded")
}

// guestMemory returns what a guest's memory holds after it has answered, or was refused.
func guestMemory(t testing.TB, m *Module, u *abi.Updates) []byte {
	t.Helper()
	ctx := context.Background()
	in, err := m.start(ctx)
	check(t, err)
	defer in.close(ctx)
	var out abi.Out
	in.call(ctx, u, all(u), &out)
	mem, _ := in.memory.Read(0, in.memory.Size())
	if binary.LittleEndian.Uint32(mem[4096:]) != binary.LittleEndian.Uint32([]byte(abi.OutMagic)) {
		t.Fatal("the guest has not answered")
	}
	return append([]byte(nil), mem...)
}
