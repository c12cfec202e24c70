//go:build !unix

package plugin

import "github.com/tetratelabs/wazero/experimental"

func allocate(capacity, limit uint64) experimental.LinearMemory { return &heapMemory{limit: limit} }
