//go:build unix

package plugin

import (
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// allocate reserves the address space of a guest's memory up to its limit. Growing copies nothing, and Go's collector
// does not see it. Views of it fault once the instance is closed: everything is copied out before.
func allocate(capacity, limit uint64) experimental.LinearMemory {
	b, err := syscall.Mmap(-1, 0, int(limit), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return &heapMemory{limit: limit}
	}
	return &mappedMemory{b: b}
}

type mappedMemory struct {
	b       []byte
	touched uint64 // bytes up to here are there for sure, but for the first lazy
}

const (
	lazy   = 4 << 20 // bytes that come when the guest touches them: most use only some
	osPage = 4 << 10
)

// Reallocate grows the memory. The system gives a page when it is first touched, and takes more than a microsecond for
// it: a guest that touches one page after another would run for tens of milliseconds on next to no fuel. So what lies
// beyond the first few MiB is touched here, where the process can be stopped in between.
func (m *mappedMemory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		return nil
	}
	for m.touched = max(m.touched, lazy); m.touched < size; m.touched += osPage {
		m.b[m.touched] = 0
	}
	return m.b[:size:len(m.b)]
}

func (m *mappedMemory) Free() {
	syscall.Munmap(m.b)
	m.b = nil
}
