package plugin

// heapMemory is a guest's memory on Go's heap, where address space cannot be reserved.
type heapMemory struct {
	b     []byte
	limit uint64
}

func (m *heapMemory) Reallocate(size uint64) []byte {
	if size > m.limit {
		return nil
	}
	if size > uint64(cap(m.b)) {
		b := make([]byte, size, min(2*size, m.limit))
		copy(b, m.b)
		m.b = b
	}
	m.b = m.b[:size]
	return m.b
}

func (m *heapMemory) Free() { m.b = nil }
