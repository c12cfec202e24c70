package foldrun_test

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 = another one each time")

// seeded returns a source of randomness, and prints how to get the same again.
func seeded(t testing.TB) *rand.Rand {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("go test ./plugins/sdk/go -run '^%s$' -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 0))
}

// spoil changes a few bytes of a JSON text.
func spoil(r *rand.Rand, text []byte) []byte {
	const bytes = "\"\"\\\\{}[]:,, \n0123456789.-+eEutrunabcdxf\x00\xff"
	out := append([]byte(nil), text...)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(out))
		switch r.IntN(4) {
		case 0:
			out[at] = bytes[r.IntN(len(bytes))]
		case 1:
			out = append(out[:at], out[at+1:]...)
		case 2:
			out = append(out[:at], append([]byte{bytes[r.IntN(len(bytes))]}, out[at:]...)...)
		case 3:
			escapes := []string{`\u00fc`, `\n`, `\ud83d\ude00`, `\ud83d`, `\u0000`, `\x`, `\`, `A"`, ` `, `{"name":1},`}
			out = append(out[:at], append([]byte(escapes[r.IntN(len(escapes))]), out[at:]...)...)
		}
		if len(out) == 0 {
			return out
		}
	}
	return out
}
