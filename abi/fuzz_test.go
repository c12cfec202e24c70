package abi_test

import (
	"runtime"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// A hostile input may make a decoder allocate in proportion to its own length, and this much besides: the fuzzer's
// worker allocates in the same process.
const allocSlack = 8 << 20

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzDecodeIn(f *testing.F) {
	for _, v := range inVectors() {
		f.Add(v.mem)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var u *abi.Updates
		var err error
		if n := allocated(func() { u, err = abi.DecodeIn(frame) }); n > uint64(8*len(frame))+allocSlack {
			t.Fatalf("%d bytes of input made it allocate %d", len(frame), n)
		}
		if err != nil || abi.InSize(u, every(u)) > 1<<20 { // spans may overlap: the frame of each apart may be huge
			return
		}
		again, err := abi.DecodeIn(encodeIn(u, every(u)))
		if err != nil && abi.InSize(u, every(u)) <= abi.MaxFrameBytes {
			t.Fatalf("what was decoded and encoded is refused: %v", err)
		}
		if err == nil && inMeaning(again) != inMeaning(u) {
			t.Fatalf("got\n%s\nwant\n%s", inMeaning(again), inMeaning(u))
		}
	})
}

func FuzzDecodeOut(f *testing.F) {
	for _, v := range outVectors() {
		f.Add(v.mem, v.addr, v.length, v.records)
	}
	f.Fuzz(func(t *testing.T, mem []byte, addr, length uint32, records int) {
		var o abi.Out
		var err error
		if n := allocated(func() { err = o.Decode(mem, addr, length, records) }); n > allocSlack {
			t.Fatalf("it allocated %d bytes", n)
		}
		if err != nil {
			return
		}
		if o.Results() != records {
			t.Fatalf("%d results for %d records", o.Results(), records)
		}
		specs, size := outSpecs(&o)
		if size > 1<<20 {
			return
		}
		var again abi.Out
		mem2, addr2, length2 := abi.EncodeOut(nil, 64, specs...)
		mem2 = append(make([]byte, 64), mem2...)
		if err := again.Decode(mem2, addr2, length2, records); err != nil {
			t.Fatalf("what was decoded and encoded is refused: %v", err)
		}
		if got, want := outMeaning(&again), outMeaning(&o); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// outSpecs returns what o says, and the bytes it points to, counted as often as they are pointed to.
func outSpecs(o *abi.Out) (specs []abi.ResultSpec, size int) {
	j := 0
	for i := range o.Results() {
		r := o.Result(i)
		spec := abi.ResultSpec{Status: r.Status, Code: r.Code, Message: r.Message}
		size += len(r.Message)
		for range r.Entries {
			e := o.Entry(j)
			spec.Entries = append(spec.Entries, abi.EntrySpec{Index: e.Index, Key: e.Key, Value: e.Value, TTL: e.TTL})
			size += len(e.Key) + len(e.Value)
			j++
		}
		specs = append(specs, spec)
	}
	return specs, size
}

func FuzzReadManifest(f *testing.F) {
	for _, c := range manifestCases {
		f.Add(module(custom(abi.ManifestSection, c.text)))
	}
	f.Add(module(code, custom("name", "x"), custom(abi.ManifestSection, `{"name":"a","abi":1}`)))
	f.Add(module("\x00\x05\x80\x80\x80\x80\x00"))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		var m abi.Manifest
		var found bool
		var err error
		n := allocated(func() { m, found, err = abi.ReadManifest(wasm) })
		if n > uint64(64*len(wasm))+allocSlack {
			t.Fatalf("%d bytes of input made it allocate %d", len(wasm), n)
		}
		digest, digestErr := abi.CodeDigest(wasm)
		if digestErr != nil && err == nil {
			t.Fatalf("a manifest is read from what has no digest: %v", digestErr)
		}
		if err != nil || !found {
			return
		}
		appended, err := abi.AppendManifest(wasm, m)
		if err != nil {
			t.Fatalf("a manifest that was read cannot be appended: %v", err)
		}
		again, found, err := abi.ReadManifest(appended)
		if err != nil || !found {
			t.Fatalf("a manifest that was appended cannot be read: %v", err)
		}
		if !sameManifest(m, again) {
			t.Fatalf("got %+v, want %+v", again, m)
		}
		if after, err := abi.CodeDigest(appended); err != nil || after != digest {
			t.Fatalf("a manifest changed the digest of the code: %v", err)
		}
	})
}
