// Package modules holds the module that measurements run: they are part of the binary, and of what tests measure.
package modules

import _ "embed"

// Rekey is rekey.wasm, which keys each record by the first eight bytes of its value, "/" and its source key.
//
//go:embed rekey.wasm
var Rekey []byte
