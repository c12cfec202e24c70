package source

import (
	"encoding/binary"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/abi"
)

func messageSize(m *nats.Msg) int { return len(m.Subject) + m.Size() }

// A recorder turns messages into updates.
type recorder struct {
	prefix    string   // cut from each subject
	byMessage bool     // keying = "message"
	names     []string // scratch: the header names of one message
}

// record appends one message to a batch.
func (r *recorder) record(b *Batch, m *nats.Msg, seq uint64, ns int64) {
	subject := b.AppendString(m.Subject)
	u := abi.Update{Seq: seq, Time: ns, Subject: subject, Key: subject, Op: abi.OpPut}
	switch {
	case r.byMessage:
		var key [8]byte
		binary.BigEndian.PutUint64(key[:], seq)
		u.Key = b.Append(key[:])
	case len(m.Subject) >= len(r.prefix) && m.Subject[:len(r.prefix)] == r.prefix:
		// any other subject keeps itself as its key: a record is never dropped for its name
		u.Key.Off += uint32(len(r.prefix))
		u.Key.Len -= uint32(len(r.prefix))
	}
	if len(m.Header) > 0 {
		if !r.byMessage {
			u.Op = opOf(m.Header)
		}
		u.Header = uint32(len(b.Headers))
		r.headers(b, m.Header)
		u.Headers = uint32(len(b.Headers)) - u.Header
	}
	u.Value = b.Append(m.Data)
	b.Records = append(b.Records, u)
}

// headers appends h to b in the bytewise order of the names, the values of one name in their order in
// the message. nats.go gives the headers as a map: their order across names is lost, and what a guest sees must not
// depend on the order of a map.
func (r *recorder) headers(b *Batch, h nats.Header) {
	r.names = r.names[:0]
	for name := range h {
		r.names = append(r.names, name)
	}
	slices.Sort(r.names)
	for _, name := range r.names {
		span := b.AppendString(name)
		for _, value := range h[name] {
			b.Headers = append(b.Headers, abi.Header{Name: span, Value: b.AppendString(value)})
		}
	}
}

// opOf says what a message that is keyed by its subject does to its key. Any KV-Operation is a delete (ADR-8: a put
// has none), and so is the marker that the server leaves where it removed the last message of a subject (ADR-43).
func opOf(h nats.Header) abi.Op {
	if v := h["KV-Operation"]; len(v) > 0 && v[0] != "" {
		if v[0] == "PURGE" {
			return abi.OpPurge
		}
		return abi.OpDelete
	}
	if v := h["Nats-Marker-Reason"]; len(v) > 0 {
		switch v[0] {
		case "MaxAge", "Purge":
			return abi.OpPurge
		case "Remove":
			return abi.OpDelete
		}
	}
	return abi.OpPut
}
