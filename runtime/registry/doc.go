// Package registry finds the modules of folds: in a file, or as an object of a NATS object store, and judges whether they
// may run.
//
// # The bytes that are signed
//
//	0xff "foldrun module 1" 0x0a name 0x0a sha256 0x0a version
//
// name and version are the manifest's, sha256 is of the whole .wasm file, 64 lower-case hexadecimal digits. A name holds
// no line end and a sha256 has one length, so that the version, which is free text, is what is left. The signature is
// ed25519, by an nkey of any type that signs. As text, in the file NAME.wasm.sig beside a module and in the metadata
// foldrun-signature of an object, it is one line:
//
//	foldrun-module-1 PUBLICKEY BASE64
//
// # Why 0xff?
//
// A client of NATS signs with its nkey whatever nonce a server sends, and a JWT is signed as base64. Neither is ever text
// that begins with 0xff, which is in no UTF-8: so no server can have a client sign a module unawares.
//
// # What is kept
//
//	modules/SHA256.wasm      bytes that were fetched, 0600
//	modules/SHA256.wasm.sig  their signature, as text
//	modules/FOLD.json        a note: where the module that the fold ran last is from, its name, version and sha256
//
// Each is written whole, or not at all. A crash between them leaves a module that no note names, which the next note
// removes.
//
// # Why is nothing read twice?
//
// What is judged and what runs are the same bytes in memory. A file or an object that changes after it was read is another
// module, for the next start.
//
// # Why is the object store read message by message?
//
// The object's size, its digest and the number of its chunks are whatever its publisher wrote. Asking for one chunk after
// the other needs no consumer, no subscription and no permission but to read, ends when too much has come, and notices at
// once that a chunk is missing. Links are refused: a ring of them has no end.
package registry
