package store

import (
	"bytes"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

const (
	kindMeta       = 0x01
	kindPoint      = 0x02
	kindRow        = 0x10
	kindLineage    = 0x20
	kindQuarantine = 0x30
	kindExpiry     = 0x40
	kindAging      = 0x42
	kindRecord     = 0x50
)

// rowHead is the length of a row key before the escaped derived key.
const rowHead = 3

// expiryHead is the length of a key of the expiry or aging queue before the source key.
const expiryHead = 1 + 8

var (
	keyFormat   = []byte{kindMeta, 'f'}
	keyIdentity = []byte{kindMeta, 'i'}
	keyBuild    = []byte{kindMeta, 'n'}
	keyLimits   = []byte{kindMeta, 'l'}
	keyState    = []byte{kindMeta, 's'}
)

// appendEscaped appends esc(key): order-preserving, and free of 0x00 0x01.
func appendEscaped(dst, key []byte) []byte {
	for {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			return append(dst, key...)
		}
		dst = append(dst, key[:i+1]...)
		dst = append(dst, 0xff)
		key = key[i+1:]
	}
}

// appendRowPrefix appends what all rows of one derived key start with.
func appendRowPrefix(dst []byte, index uint16, key []byte) []byte {
	dst = append(dst, kindRow, byte(index>>8), byte(index))
	dst = appendEscaped(dst, key)
	return append(dst, 0x00, 0x01)
}

// appendRowKey appends the physical key of a row.
func appendRowKey(dst []byte, index uint16, key, source []byte) []byte {
	return append(appendRowPrefix(dst, index, key), source...)
}

// appendKeyBound appends the first place where a derived key >= key can stand.
func appendKeyBound(dst []byte, index uint16, key []byte) []byte {
	dst = append(dst, kindRow, byte(index>>8), byte(index))
	return appendEscaped(dst, key)
}

// appendIndexEnd appends the first key after all rows of an index.
func appendIndexEnd(dst []byte, index uint16) []byte {
	if index == 0xffff {
		return append(dst, kindRow+1)
	}
	return append(dst, kindRow, byte((index+1)>>8), byte(index+1))
}

// splitRowKey takes a row key apart. key is appended, unescaped, to buf; source is a view of k.
func splitRowKey(k, buf []byte) (index uint16, key, source []byte, ok bool) {
	if len(k) < rowHead || k[0] != kindRow {
		return 0, nil, nil, false
	}
	index, key = binary.BigEndian.Uint16(k[1:]), buf
	for rest := k[rowHead:]; ; {
		i := bytes.IndexByte(rest, 0)
		if i < 0 || i+1 >= len(rest) {
			return 0, nil, nil, false
		}
		key = append(key, rest[:i]...)
		switch rest[i+1] {
		case 0x01:
			return index, key, rest[i+2:], true
		case 0xff:
			key = append(key, 0)
		default:
			return 0, nil, nil, false
		}
		rest = rest[i+2:]
	}
}

// prefixEnd returns the length of a key's prefix: up to and with the terminator of the derived key for a row, the
// whole key for everything else, bounds included.
func prefixEnd(k []byte) int {
	if len(k) < rowHead || k[0] != kindRow {
		return len(k)
	}
	for i := rowHead; ; {
		j := bytes.IndexByte(k[i:], 0)
		if j < 0 || i+j+1 >= len(k) {
			return len(k)
		}
		i += j + 2
		if k[i-1] == 0x01 {
			return i
		}
	}
}

// comparer orders keys bytewise and splits rows at the derived key.
var comparer = func() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Split = prefixEnd
	c.ImmediateSuccessor = appendNextPrefix
	c.Name = "foldrun.1"
	return &c
}()

func appendLineageKey(dst, source []byte) []byte { return append(append(dst, kindLineage), source...) }
func appendQuarantineKey(dst, source []byte) []byte {
	return append(append(dst, kindQuarantine), source...)
}

func appendRecordKey(dst, source []byte) []byte { return append(append(dst, kindRecord), source...) }

// appendQueueKey appends a key of the queue of a kind: expiry or aging.
func appendQueueKey(dst []byte, kind byte, at int64, source []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, kind), uint64(at))
	return append(dst, source...)
}

func appendPointKey(dst []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kindPoint), seq)
}

// appendNextPrefix appends the smallest key after p that is a prefix whole: p with a zero byte, unless p ends in the
// terminator, which makes everything longer a key of the same prefix.
func appendNextPrefix(dst, p []byte) []byte {
	if prefixEnd(append(p[:len(p):len(p)], 0)) == len(p) {
		return appendSuccessor(dst, p)
	}
	return append(append(dst, p...), 0)
}

// appendSuccessor appends the smallest key after all that start with p, or nothing when there is none.
func appendSuccessor(dst, p []byte) []byte {
	n := len(p)
	for n > 0 && p[n-1] == 0xff {
		n--
	}
	if n == 0 {
		return dst
	}
	dst = append(dst, p[:n]...)
	dst[len(dst)-1]++
	return dst
}
