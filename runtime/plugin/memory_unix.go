//go:build unix

package plugin

import (
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// allocate reserves the address space of a guest's memory up to its limit. Pages that the guest never touches cost
// nothing, growing copies nothing, and Go's collector does not see it. Views of it fault once the instance is closed:
// everything is copied out before.
func allocate(capacity, limit uint64) experimental.LinearMemory {
	b, err := syscall.Mmap(-1, 0, int(limit), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return &heapMemory{limit: limit}
	}
	return &mappedMemory{b}
}

type mappedMemory struct{ b []byte }

func (m *mappedMemory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		return nil
	}
	return m.b[:size:len(m.b)]
}

func (m *mappedMemory) Free() {
	syscall.Munmap(m.b)
	m.b = nil
}
