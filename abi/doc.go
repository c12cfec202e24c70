// Package abi is the contract between foldrun and a module: the two frames of a call, the manifest, and the names of
// what is exported and imported. ABI.md, beside this file, is its home: offset tables, rules and reasons. This
// package is the host's half of it in Go, on the standard library alone. The vectors in testdata/vectors hold both
// halves to the same bytes.
//
// # One call
//
// The source's messages lie in a slab, Updates: their bytes one after another, and a record of offsets for each. The
// host fills a frame while RecordSize of the next record fits into MaxFrameBytes, and MaxFrameRecords are not
// reached; one record alone may have any size. Then
//
//	n := abi.InSize(u, recs)          // ask the guest's foldrun_buffer for n bytes, if it has not given as many
//	abi.EncodeIn(arena, u, recs)      // straight into guest memory, no copy between
//	addr, length := abi.Unpack(...)   // what foldrun_transform returned
//	err := out.Decode(mem, addr, length, len(recs))
//	for i := range out.Results() { ... }
//
// Neither EncodeIn nor Decode allocates. What Out gives are views of guest memory: copy what is kept before the next
// call. Guest memory may move when it grows, so mem and arena are taken anew for each call.
//
// # What is checked where
//
// Decode checks all that can be known from the bytes: after it no view leaves memory and no count is wrong. It does
// not know the manifest nor the operator's limits; that an entry's index exists, that keys and values are not too
// long, that no (index, key) comes twice, are the runtime's checks, record by record. So is the rule that a guest is
// shown deletes only if it wants them: EncodeIn writes the records it is told to.
//
// # Why is the in frame a function of its records alone?
//
// A guest can see the offsets of its input. If they followed from where the slab happens to have a key, the same
// record could be two different inputs on two hosts, and a strange guest could tell them apart: replicas would
// disagree. EncodeIn therefore lays out the heap in one order, and writes a key once if it ends the subject,
// wherever the slab has it.
//
// # Why does Decode refuse reserved bytes that are not zero?
//
// A later version may give them a meaning. A module that leaves rubbish there today would then say things it
// does not mean, on a host nobody can fix it from. Better that its author sees it on the first day.
//
// # Why is the manifest's JSON read field by field?
//
// encoding/json takes a field in any case, the last of two that are the same, null for anything, and bytes that are
// not UTF-8. Each would turn a typing mistake into a fold with the wrong indexes.
package abi
