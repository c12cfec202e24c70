package abi_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// TestEncodeInWritesTheFrameOnly holds EncodeIn to its length: dirty memory within it is overwritten, none after it.
func TestEncodeInWritesTheFrameOnly(t *testing.T) {
	u := slab(kvPut(), message{op: abi.OpPut, seq: 8, subject: "s", key: "other", value: "v"})
	recs := []int32{1, 0}
	size := abi.InSize(u, recs)
	var frames [][]byte
	for _, dirt := range []byte{0x00, 0xa5, 0xff} {
		dst := bytes.Repeat([]byte{dirt}, size+64)
		if n := abi.EncodeIn(dst, u, recs); n != size {
			t.Fatalf("EncodeIn wrote %d bytes, InSize is %d", n, size)
		}
		if after := bytes.Count(dst[size:], []byte{dirt}); after != 64 {
			t.Errorf("memory of %#x: EncodeIn wrote beyond its frame", dirt)
		}
		frames = append(frames, dst[:size])
	}
	if !bytes.Equal(frames[0], frames[1]) || !bytes.Equal(frames[0], frames[2]) {
		t.Error("the frame depends on what the memory held")
	}
}

// TestEncodeInIgnoresTheSlab holds the frame to be a function of its records: wherever the slab has their bytes, and
// whatever else it has.
func TestEncodeInIgnoresTheSlab(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		messages := randomMessages(rnd)
		neighbour := message{op: abi.OpPut, subject: "x", key: "y", value: "z", headers: [][2]string{{"a", "b"}}}

		plain := slab(messages...)
		mixed := &abi.Updates{}
		recs := make([]int32, len(messages))
		for _, i := range rnd.Perm(len(messages)) {
			neighbour.appendTo(mixed)
			recs[i] = int32(mixed.Len())
			m := messages[i]
			m.keyOnItsOwn = true
			m.appendTo(mixed)
		}
		if got, want := encodeIn(mixed, recs), encodeIn(plain, every(plain)); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: two slabs of the same messages make two frames\n%x\n%x", seed, got, want)
		}
	}
}

// TestInRoundTrip decodes what was encoded.
func TestInRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 2))
	for range 200 {
		u := slab(randomMessages(rnd)...)
		got, err := abi.DecodeIn(encodeIn(u, every(u)))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if g, w := inMeaning(got), inMeaning(u); g != w {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, g, w)
		}
	}
}

func TestEncodeInDropsTheValueOfADelete(t *testing.T) {
	u := slab(message{op: abi.OpDelete, seq: 1, subject: "s", key: "s", value: "a marker's body"})
	got, err := abi.DecodeIn(encodeIn(u, every(u)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Value(0)) > 0 {
		t.Errorf("the guest is shown %q", got.Value(0))
	}
}

func TestRecordSizesMakeTheFrame(t *testing.T) {
	u := slab(randomMessages(rand.New(rand.NewPCG(1, 1)))...)
	sum := abi.InHeaderSize
	for _, rec := range every(u) {
		sum += abi.RecordSize(u, rec)
	}
	if size := abi.InSize(u, every(u)); size != sum {
		t.Errorf("records sum to %d, the frame has %d", sum, size)
	}
}

func TestProgress(t *testing.T) {
	frame := encodeIn(slab(kvPut()), []int32{0})
	if p := abi.Progress(frame); p != abi.NoProgress {
		t.Errorf("a new frame has progress %d", p)
	}
	frame[24], frame[25], frame[26], frame[27] = 1, 2, 0, 0
	if p := abi.Progress(frame); p != 0x201 {
		t.Errorf("progress %#x", p)
	}
	if p := abi.Progress(frame[:10]); p != abi.NoProgress {
		t.Errorf("ten bytes have progress %d", p)
	}
}

func TestPack(t *testing.T) {
	for _, span := range [][2]uint32{{0, 0}, {8, 1}, {1<<32 - 8, 1<<32 - 1}} {
		if addr, length := abi.Unpack(abi.Pack(span[0], span[1])); addr != span[0] || length != span[1] {
			t.Errorf("%v came back as %d, %d", span, addr, length)
		}
	}
}

func randomMessages(rnd *rand.Rand) []message {
	messages := make([]message, rnd.IntN(20))
	for i := range messages {
		m := message{op: abi.OpPut, seq: rnd.Uint64(), time: rnd.Int64()}
		m.subject = fmt.Sprintf("$KV.b.k%d", rnd.IntN(1000))
		m.key = m.subject[rnd.IntN(len(m.subject)+1):]
		if rnd.IntN(3) == 0 {
			m.key = randomText(rnd, 12)
		}
		m.value = randomText(rnd, 40)
		for range rnd.IntN(4) {
			m.headers = append(m.headers, [2]string{randomText(rnd, 8), randomText(rnd, 8)})
		}
		if rnd.IntN(5) == 0 {
			m.op, m.value = abi.OpPurge, ""
		}
		messages[i] = m
	}
	return messages
}

func randomText(rnd *rand.Rand, most int) string {
	b := slices.Repeat([]byte{0}, rnd.IntN(most+1))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}
