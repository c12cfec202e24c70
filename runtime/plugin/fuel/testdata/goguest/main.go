//go:build wasip1

// Command goguest is a module as Go makes them, the dearest kind: it parses each value as JSON and files the city by its
// country and name.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"runtime"
	"unsafe"
)

type city struct {
	ID         int64  `json:"id"`
	Name       string `json:"name"`
	Country    string `json:"country"`
	Population int64  `json:"population"`
}

var (
	arena []uint64
	out   []uint64
	heap  [][]byte
)

//go:wasmexport foldrun_abi_v1
func marker() {}

//go:wasmexport foldrun_buffer
func buffer(n int32) unsafe.Pointer {
	arena = make([]uint64, (n+7)/8)
	return unsafe.Pointer(&arena[0])
}

//go:wasmexport foldrun_transform
func transform(at unsafe.Pointer, n int32) int64 {
	defer runtime.Gosched()
	in := unsafe.Slice((*byte)(at), n)
	le := binary.LittleEndian
	records := int(le.Uint32(in[8:]))
	out, heap = make([]uint64, (32+48*records)/8), heap[:0]
	o := unsafe.Slice((*byte)(unsafe.Pointer(&out[0])), 8*len(out))
	copy(o, "FRO1")
	le.PutUint16(o[4:], 32)
	le.PutUint16(o[6:], 16)
	le.PutUint16(o[8:], 32)
	le.PutUint32(o[12:], uint32(records))
	entries := 0
	for i := range records {
		r := in[32+64*i:]
		value := in[le.Uint32(r[24:]):][:le.Uint32(r[28:])]
		result := o[32+16*i:]
		var c city
		if err := json.Unmarshal(value, &c); err != nil {
			result[0] = 3
			continue
		}
		result[0] = 1
		le.PutUint32(result[4:], 1)
		e := o[32+16*records+32*entries:]
		put(e[4:], fmt.Appendf(nil, "%s/%s", c.Country, c.Name))
		body, _ := json.Marshal(map[string]any{"id": c.ID, "population": c.Population})
		put(e[12:], body)
		entries++
	}
	le.PutUint32(o[16:], uint32(entries))
	return int64(uintptr(unsafe.Pointer(&out[0])))<<32 | int64(32+16*records+32*entries)
}

func put(at, b []byte) {
	heap = append(heap, b)
	binary.LittleEndian.PutUint32(at, uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))))
	binary.LittleEndian.PutUint32(at[4:], uint32(len(b)))
}

func main() {}
