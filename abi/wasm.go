package abi

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
)

const (
	wasmMagic     = "\x00asm"
	wasmModule    = 1       // version 1, layer 0
	wasmComponent = 1 << 16 // the layer, in the upper half of the version, is 1
	wasmHeader    = 8
	customSection = 0
)

// A section is one section of a module: all of it at [start, end), and its payload.
type section struct {
	id         byte
	start, end int
	payload    []byte
}

// sections walks the sections of a module in their order. It looks at no payload: that is the engine's work.
func sections(wasm []byte, each func(section) error) error {
	if len(wasm) < wasmHeader || string(wasm[:4]) != wasmMagic {
		return fmt.Errorf("not a wasm module: %d bytes that do not begin with \\0asm: is this the compiled .wasm file?", len(wasm))
	}
	switch version := binary.LittleEndian.Uint32(wasm[4:]); {
	case version == wasmModule:
	case version&0xffff0000 == wasmComponent:
		return fmt.Errorf("a wasm component, and foldrun runs core modules: build without the component model (wasip1, not wasip2)")
	default:
		return fmt.Errorf("wasm version %d, and foldrun runs version %d", version, wasmModule)
	}
	for at := wasmHeader; at < len(wasm); {
		s, err := sectionAt(wasm, at)
		if err != nil {
			return fmt.Errorf("section at byte %d: %w: the file is damaged or cut short", at, err)
		}
		if err := each(s); err != nil {
			return err
		}
		at = s.end
	}
	return nil
}

func sectionAt(wasm []byte, at int) (section, error) {
	size, n, err := uleb32(wasm[at+1:])
	if err != nil {
		return section{}, err
	}
	body := at + 1 + n
	if uint64(size) > uint64(len(wasm)-body) {
		return section{}, fmt.Errorf("says it has %d bytes, the file has %d more", size, len(wasm)-body)
	}
	end := body + int(size)
	return section{id: wasm[at], start: at, end: end, payload: wasm[body:end]}, nil
}

// custom splits a custom section into its name and what follows it.
func (s section) custom() (name string, data []byte, err error) {
	length, n, err := uleb32(s.payload)
	if err == nil && uint64(length) > uint64(len(s.payload)-n) {
		err = fmt.Errorf("a name of %d bytes leaves the section of %d", length, len(s.payload))
	}
	if err != nil {
		return "", nil, fmt.Errorf("custom section at byte %d: %w", s.start, err)
	}
	end := n + int(length)
	return string(s.payload[n:end]), s.payload[end:], nil
}

// uleb32 reads wasm's u32: LEB128 in at most five bytes, which linkers pad, so the shortest form is not demanded.
func uleb32(b []byte) (v uint32, n int, err error) {
	for ; n < len(b) && n < 5; n++ {
		c := b[n]
		if n == 4 && c > 0x0f {
			break
		}
		v |= uint32(c&0x7f) << (7 * n)
		if c < 0x80 {
			return v, n + 1, nil
		}
	}
	return 0, 0, fmt.Errorf("no u32 where a length must be")
}

// appendCustom appends a custom section.
func appendCustom(wasm []byte, name string, data []byte) []byte {
	payload := binary.AppendUvarint(nil, uint64(len(name)))
	payload = append(payload, name...)
	wasm = append(wasm, customSection)
	wasm = binary.AppendUvarint(wasm, uint64(len(payload)+len(data)))
	wasm = append(wasm, payload...)
	return append(wasm, data...)
}

// CodeDigest returns the SHA-256 of what a module does: for each section but the custom ones its id, the length of
// its payload as u32 and the payload. Names, debug information, the manifest and the width of a length do not change
// it, so a module that was merely stripped builds no new generation.
func CodeDigest(wasm []byte) ([32]byte, error) {
	h := sha256.New()
	err := sections(wasm, func(s section) error {
		if s.id != customSection {
			digestSection(h, s)
		}
		return nil
	})
	if err != nil {
		return [32]byte{}, fmt.Errorf("abi: code digest: %w", err)
	}
	return [32]byte(h.Sum(nil)), nil
}

func digestSection(h hash.Hash, s section) {
	var head [5]byte
	head[0] = s.id
	binary.LittleEndian.PutUint32(head[1:], uint32(len(s.payload)))
	h.Write(head[:])
	h.Write(s.payload)
}
