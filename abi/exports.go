package abi

// What a module exports. ExportMemory, ExportMarker, ExportBuffer and ExportTransform are required.
const (
	ExportMemory     = "memory"
	ExportMarker     = "foldrun_abi_v1"    // () -> (): names the major version, never called
	ExportBuffer     = "foldrun_buffer"    // (min i32) -> i32: the input arena
	ExportTransform  = "foldrun_transform" // (ptr, len i32) -> i64: the out frame, packed
	ExportInitialize = "_initialize"       // () -> (): a WASI reactor's start, optional
	ExportInit       = "foldrun_init"      // (ptr, len i32) -> i32: the fold's config as JSON, 0 ok, optional
	ExportError      = "foldrun_error"     // () -> i64: the text of the last failure, packed, optional

	// MarkerPrefix is what the markers of all majors begin with: a module that has another one than ExportMarker
	// was built for another major.
	MarkerPrefix = "foldrun_abi_v"
)

// What a module may import. All of it is optional.
const (
	ImportModule = "foldrun_v1"
	ImportLog    = "log" // (level, ptr, len i32) -> ()

	ImportWASI  = "wasi_snapshot_preview1" // deterministic stubs
	ImportEnv   = "env"
	ImportAbort = "abort" // (message, file, line, column i32) -> (): AssemblyScript's panic, traps
)

// Version is the major version of the ABI that this package speaks.
const Version = 1

// Pack makes the i64 in which a guest returns a span of its memory. The span (0, 0) says that the call failed.
func Pack(addr, length uint32) uint64 { return uint64(addr)<<32 | uint64(length) }

// Unpack is the inverse of Pack.
func Unpack(packed uint64) (addr, length uint32) { return uint32(packed >> 32), uint32(packed) }
