// Package plugin runs modules: it compiles a .wasm once, keeps instances of it, and turns records of the source into
// the entries that they yield. It is the only package that imports wazero.
//
// A guest is a stranger. Its memory is capped, it is given no files, network, environment, arguments or real clock, it
// imports only what is listed in imports.go, and everything that it hands back is checked before it is read. An
// instance that trapped, or that answered what the ABI does not allow, is closed and never used again.
//
// # The verdict
//
// A failing call is no verdict on any of its records: it may have failed for a neighbour's sake, or for what an earlier
// call left behind. The verdict on a record is one call that holds it alone, on a fresh instance. So a Worker that meets
// a failing call replays up to the guest's progress hint, judges the record that it names alone, and goes on; without a
// hint it halves. A hint that lies costs time and changes nothing.
//
// # Why is a frame small?
//
// A call into a guest cannot be preempted, so a garbage collection that begins during it waits for it, and with it the
// whole process. Frames hold at most 256 records and 64 KiB, and shrink while a call takes longer than two
// milliseconds.
package plugin
