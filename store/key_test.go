package store

import (
	"bytes"
	"cmp"
	"slices"
	"testing"
)

// oddStrings returns all strings of up to n of the bytes that the escaping cares about.
func oddStrings(n int) [][]byte {
	all := [][]byte{{}}
	for from := 0; n > 0; n-- {
		to := len(all)
		for _, s := range all[from:to] {
			for _, c := range []byte{0x00, 0x01, 0x02, 0xfe, 0xff} {
				all = append(all, append(s[:len(s):len(s)], c))
			}
		}
		from = to
	}
	return all
}

// TestRowKeys takes every short odd key and source key: they come back out, sort as (index, key, source), and stand
// under their own prefix alone.
func TestRowKeys(t *testing.T) {
	type part struct {
		index       uint16
		key, source []byte
		row         []byte
	}
	var all []part
	for _, index := range []uint16{0, 1, 0x00ff, 0x0100, 0xffff} {
		for _, key := range oddStrings(3) {
			for _, source := range oddStrings(1) {
				all = append(all, part{index, key, source, appendRowKey(nil, index, key, source)})
			}
		}
	}
	for _, p := range all {
		index, key, source, ok := splitRowKey(p.row, nil)
		if !ok || index != p.index || !bytes.Equal(key, p.key) || !bytes.Equal(source, p.source) {
			t.Fatalf("%x: split into %d %x %x %t", p.row, index, key, source, ok)
		}
		if n := prefixEnd(p.row); !bytes.Equal(p.row[:n], appendRowPrefix(nil, p.index, p.key)) {
			t.Fatalf("%x: prefix %x", p.row, p.row[:n])
		}
		if end := appendIndexEnd(nil, p.index); bytes.Compare(p.row, end) >= 0 || bytes.Compare(p.row, appendKeyBound(nil, p.index, nil)) < 0 {
			t.Fatalf("%x: outside of its index", p.row)
		}
	}
	for _, p := range all {
		for _, q := range all[:400] {
			want := cmp.Or(cmp.Compare(p.index, q.index), bytes.Compare(p.key, q.key), bytes.Compare(p.source, q.source))
			if bytes.Compare(p.row, q.row) != want {
				t.Fatalf("%x and %x are not in the order of their parts", p.row, q.row)
			}
			if p.index != q.index {
				continue
			}
			if bound := appendKeyBound(nil, q.index, q.key); (bytes.Compare(p.row, bound) >= 0) != (bytes.Compare(p.key, q.key) >= 0) {
				t.Fatalf("%x against the bound %x", p.row, bound)
			}
			lower := appendKeyBound(nil, q.index, q.key)
			in := bytes.Compare(p.row, lower) >= 0 && bytes.Compare(p.row, appendSuccessor(nil, lower)) < 0
			if len(q.key) > 0 && in != bytes.HasPrefix(p.key, q.key) {
				t.Fatalf("%x under the prefix %x: %t", p.row, q.key, in)
			}
		}
	}
}

// TestComparer holds the comparer to what Pebble asks of one, for every short odd key.
func TestComparer(t *testing.T) {
	var keys [][]byte
	for _, s := range oddStrings(4) {
		keys = append(keys, append([]byte{kindRow, 0, 0}, s...), append([]byte{kindLineage}, s...))
	}
	keys = append(keys, keyState, []byte{kindRow}, []byte{kindRow, 0})
	slices.SortFunc(keys, comparer.Compare)
	sign := func(n int) int { return cmp.Compare(n, 0) }
	for _, a := range keys {
		n := comparer.Split(a)
		if n > len(a) || comparer.Split(a[:n]) != n {
			t.Fatalf("%x: the prefix of its prefix %x is another", a, a[:n])
		}
		if s := comparer.Successor(nil, a); comparer.Compare(a, s) > 0 {
			t.Fatalf("%x: successor %x", a, s)
		}
		next := comparer.ImmediateSuccessor(nil, a[:n])
		if comparer.Split(next) != len(next) || comparer.Compare(a[:n], next) >= 0 {
			t.Fatalf("%x: immediate successor %x", a[:n], next)
		}
		i, _ := slices.BinarySearchFunc(keys, a[:n], comparer.Compare)
		for ; i < len(keys) && comparer.Compare(keys[i], next) < 0; i++ {
			if p := keys[i][:comparer.Split(keys[i])]; comparer.Compare(p, a[:n]) > 0 {
				t.Fatalf("%x: prefix %x lies before the immediate successor %x", a[:n], p, next)
			}
		}
	}
	for i, a := range keys {
		for _, b := range keys[max(0, i-30):min(len(keys), i+30)] {
			c := comparer.Compare(a, b)
			ap, bp := a[:comparer.Split(a)], b[:comparer.Split(b)]
			want := bytes.Compare(ap, bp)
			if want == 0 {
				want = comparer.ComparePointSuffixes(a[len(ap):], b[len(bp):])
			}
			if sign(c) != sign(want) || (c == 0) != comparer.Equal(a, b) {
				t.Fatalf("%x and %x: %d, by prefix and suffix %d", a, b, c, want)
			}
			if x, y := comparer.AbbreviatedKey(a), comparer.AbbreviatedKey(b); c < 0 && x > y || c > 0 && x < y {
				t.Fatalf("%x and %x: abbreviated %x and %x", a, b, x, y)
			}
			if c < 0 {
				if s := comparer.Separator(nil, a, b); comparer.Compare(a, s) > 0 || comparer.Compare(s, b) >= 0 {
					t.Fatalf("%x and %x: separator %x", a, b, s)
				}
			}
		}
	}
}

// TestExpiryOrder: the times of the expiry queue sort as numbers.
func TestExpiryOrder(t *testing.T) {
	times := []int64{0, 1, 255, 256, 1 << 40, 1<<62 + 1, 1<<63 - 1}
	for i := 1; i < len(times); i++ {
		if bytes.Compare(appendQueueKey(nil, kindExpiry, times[i-1], []byte("\xff\xff")), appendQueueKey(nil, kindExpiry, times[i], nil)) >= 0 {
			t.Errorf("%d is not before %d", times[i-1], times[i])
		}
	}
}
