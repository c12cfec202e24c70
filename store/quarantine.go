package store

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// quarantine stages the failure of a source key.
func (c *committer) quarantine(w *pebble.Batch, source []byte, ch *change, f *Failure) error {
	c.key = appendQuarantineKey(c.key[:0], source)
	c.buf = appendI64(appendU64(c.buf[:0], ch.seq), ch.time)
	c.buf = appendString(c.buf, f.Code)
	c.buf = binary.AppendUvarint(c.buf, uint64(f.Number))
	c.buf = appendString(c.buf, f.Message)
	c.buf = appendString(c.buf, f.Module)
	c.buf = appendBytes(c.buf, f.Update)
	return w.Set(c.key, c.buf, nil)
}

// Quarantined is one source key in quarantine.
type Quarantined struct {
	Source []byte
	Seq    uint64
	Time   int64 // ns since 1970
	Failure
}

func (q *Quarantined) decode(v []byte) error {
	r := reader{b: v}
	q.Seq, q.Time = r.u64(), r.i64()
	q.Code, q.Number, q.Message = r.string(), r.u16v(), r.string()
	q.Module, q.Update = r.string(), r.bytes()
	if err := r.end(); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return nil
}
