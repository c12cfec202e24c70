package abi_test

import (
	"encoding/binary"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// TestOutIsEmptyAfterAnError: nothing of a refused frame, nor of the one before it, can be reached.
func TestOutIsEmptyAfterAnError(t *testing.T) {
	var o abi.Out
	v := outVector("", "", twoEntries())
	if err := o.Decode(v.mem, v.addr, v.length, 1); err != nil {
		t.Fatal(err)
	}
	if err := o.Decode(v.mem, v.addr, v.length, 2); err == nil {
		t.Fatal("one result answers two records")
	}
	if o.Results() != 0 || o.Entries() != 0 {
		t.Errorf("a refused frame left %d results and %d entries", o.Results(), o.Entries())
	}
}

// TestOutAtTheEndOfMemory: a frame and a span may end where memory ends, and not a byte after.
func TestOutAtTheEndOfMemory(t *testing.T) {
	var o abi.Out
	mem, addr, length := abi.EncodeOut(nil, 0, abi.ResultSpec{Status: abi.StatusError, Message: []byte("last")})
	if err := o.Decode(mem, addr, length, 1); err != nil {
		t.Error(err)
	}
	if err := o.Decode(mem[:len(mem)-1], addr, length, 1); err == nil {
		t.Error("a message may end beyond memory")
	}
	if err := o.Decode(mem[:length-1], addr, length, 1); err == nil {
		t.Error("a frame may end beyond memory")
	}
}

// TestOutEveryReservedByte spoils each reserved byte of a frame in turn.
func TestOutEveryReservedByte(t *testing.T) {
	const result, entry = abi.OutHeaderSize, abi.OutHeaderSize + abi.OutResultSize
	reserved := []int{10, 11, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
		result + 1, entry + 2, entry + 3, entry + 20, entry + 21, entry + 22, entry + 23}
	var o abi.Out
	for _, at := range reserved {
		v := outVector("", "", twoEntries())
		v.mem[int(v.addr)+at] = 0x80
		if err := o.Decode(v.mem, v.addr, v.length, 1); err == nil {
			t.Errorf("reserved byte %d may be 0x80", at)
		}
	}
}

func TestOutViewsEndWithTheirSpan(t *testing.T) {
	var o abi.Out
	v := outVector("", "", twoEntries())
	if err := o.Decode(v.mem, v.addr, v.length, 1); err != nil {
		t.Fatal(err)
	}
	if e := o.Entry(0); cap(e.Key) != len(e.Key) || cap(e.Value) != len(e.Value) {
		t.Error("an append to a view would write guest memory")
	}
}

// TestOutEntriesNeverOverflow: counts whose sum is right only in 32 bits.
func TestOutEntriesNeverOverflow(t *testing.T) {
	v := outVector("", "", twoEntries(), abi.ResultSpec{Status: abi.StatusOK})
	frame := v.mem[v.addr:]
	binary.LittleEndian.PutUint32(frame[abi.OutHeaderSize+4:], 1<<31+2)
	binary.LittleEndian.PutUint32(frame[abi.OutHeaderSize+abi.OutResultSize+4:], 1<<31)
	var o abi.Out
	if err := o.Decode(v.mem, v.addr, v.length, 2); err == nil {
		t.Error("2^32+2 entries are taken for 2")
	}
}
