package store

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// quarantine stages the failure of a source key.
func (c *committer) quarantine(w *pebble.Batch, source []byte, ch *change, f *Failure) error {
	c.key = appendQuarantineKey(c.key[:0], source)
	c.buf = appendFailure(c.buf[:0], ch.seq, ch.time, f)
	return w.Set(c.key, c.buf, nil)
}

func appendFailure(dst []byte, seq uint64, time int64, f *Failure) []byte {
	dst = appendString(appendI64(appendU64(dst, seq), time), f.Code)
	dst = appendString(binary.AppendUvarint(dst, uint64(f.Number)), f.Message)
	return appendBytes(appendString(dst, f.Module), f.Update)
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
