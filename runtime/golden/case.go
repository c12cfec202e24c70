package golden

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// A Case is a test of one update.
type Case struct {
	Comment             string // one line
	Op                  string // "put", "delete" or "purge"
	Key, Subject, Value []byte
	Headers             [][2]string
	Seq                 uint64
	Time                time.Time
	Reason              string // why it is in quarantine
}

// Text returns the test's file.
func (k *Case) Text() []byte {
	var b strings.Builder
	b.WriteString(k.Comment + "\n")
	key := k.Key
	// The source key of a message is its seq; no subject is the same eight bytes, or they mean the same.
	if len(key) == 8 && binary.BigEndian.Uint64(key) == k.Seq && !bytes.HasSuffix(k.Subject, key) {
		b.WriteString("-- keying --\nmessage\n")
		key = k.Subject
	}
	fmt.Fprintf(&b, "-- updates --\n%s %s", k.Op, word(key))
	if k.Op == "put" {
		b.WriteString(" " + rest(k.Value))
	}
	b.WriteString("\n")
	if !bytes.Equal(k.Subject, key) {
		fmt.Fprintf(&b, "  subject %s\n", k.Subject)
	}
	for _, h := range k.Headers {
		fmt.Fprintf(&b, "  header %s: %s\n", h[0], h[1])
	}
	fmt.Fprintf(&b, "  seq %d\n  time %s\n", k.Seq, k.Time.UTC().Format(time.RFC3339Nano))
	if k.Reason != "" {
		b.WriteString("! " + rest([]byte(k.Reason)) + "\n")
	}
	return []byte(b.String())
}
