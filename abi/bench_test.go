package abi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// benchSlab holds a full frame of KV puts, each with a value of 128 bytes and the given number of headers.
func benchSlab(headers int) (*abi.Updates, []int32) {
	u := &abi.Updates{}
	for i := range abi.MaxFrameRecords {
		key := fmt.Sprintf("user-%06d", i)
		m := message{op: abi.OpPut, seq: uint64(i + 1), time: aTime, subject: "$KV.users." + key, key: key, value: strings.Repeat("v", 128)}
		for h := range headers {
			m.headers = append(m.headers, [2]string{"Nats-Header", fmt.Sprint(h)})
		}
		m.appendTo(u)
	}
	return u, every(u)
}

func BenchmarkEncodeIn(b *testing.B) {
	for _, headers := range []int{0, 2} {
		b.Run(fmt.Sprintf("headers=%d", headers), func(b *testing.B) {
			u, recs := benchSlab(headers)
			dst := make([]byte, abi.InSize(u, recs))
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				abi.EncodeIn(dst, u, recs)
			}
		})
	}
}

func BenchmarkInSize(b *testing.B) {
	u, recs := benchSlab(2)
	b.ReportAllocs()
	for b.Loop() {
		abi.InSize(u, recs)
	}
}

func BenchmarkOutDecode(b *testing.B) {
	v := outVector("", "", benchResults(2)...)
	var o abi.Out
	b.ReportAllocs()
	for b.Loop() {
		if err := o.Decode(v.mem, v.addr, v.length, v.records); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOutRead decodes and then looks at everything, as the host does.
func BenchmarkOutRead(b *testing.B) {
	v := outVector("", "", benchResults(2)...)
	var o abi.Out
	total := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := o.Decode(v.mem, v.addr, v.length, v.records); err != nil {
			b.Fatal(err)
		}
		j := 0
		for i := range o.Results() {
			for range o.Result(i).Entries {
				e := o.Entry(j)
				total += len(e.Key) + len(e.Value)
				j++
			}
		}
	}
	if total == 0 {
		b.Fatal("nothing was read")
	}
}

func benchResults(entries int) []abi.ResultSpec {
	results := make([]abi.ResultSpec, abi.MaxFrameRecords)
	for i := range results {
		results[i].Status = abi.StatusOK
		for range entries {
			results[i].Entries = append(results[i].Entries, abi.EntrySpec{Key: fmt.Appendf(nil, "key-%d", i), Value: make([]byte, 64)})
		}
	}
	return results
}

// TestNoAllocations: the frames of a call cost none.
func TestNoAllocations(t *testing.T) {
	u, recs := benchSlab(2)
	dst := make([]byte, abi.InSize(u, recs))
	if n := testing.AllocsPerRun(100, func() { abi.EncodeIn(dst, u, recs) }); n != 0 {
		t.Errorf("EncodeIn allocates %v times", n)
	}
	v := outVector("", "", benchResults(2)...)
	var o abi.Out
	if n := testing.AllocsPerRun(100, func() { _ = o.Decode(v.mem, v.addr, v.length, v.records) }); n != 0 {
		t.Errorf("Out.Decode allocates %v times", n)
	}
}
