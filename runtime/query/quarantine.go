package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/store"
)

// A Quarantine asks for what is in quarantine, in the order of the source keys.
type Quarantine struct {
	Moment
	Prefix  []byte
	After   []byte // only source keys after this one; nil: all
	Updates bool   // each with its update
	Limits  Limits
}

// A Show asks for one source key that is in quarantine, with its update.
type Show struct {
	Moment
	Source []byte
}

// Quarantined is one source key in quarantine.
type Quarantined struct {
	Source  Bytes       `json:"source"`
	Seq     uint64      `json:"seq"`
	Time    string      `json:"time"`
	Code    string      `json:"code"`
	Number  uint16      `json:"number,omitempty"` // the module's own
	Message string      `json:"message"`
	Module  string      `json:"module"`             // digest of the module that failed
	Kept    uint64      `json:"kept_seq,omitempty"` // the rows of the record of this seq still stand
	Bytes   int         `json:"bytes"`              // of the update
	Update  *HeldUpdate `json:"update,omitempty"`
}

// HeldUpdate is the update itself.
type HeldUpdate struct {
	Op      string       `json:"op"` // "put", "delete" or "purge"
	Subject Bytes        `json:"subject"`
	Headers []HeldHeader `json:"headers,omitempty"`
	Value   Bytes        `json:"value"`
}

// HeldHeader is a header of an update.
type HeldHeader struct {
	Name  Bytes `json:"name"`
	Value Bytes `json:"value"`
}

// QuarantinePage is some of what is in quarantine.
type QuarantinePage struct {
	At          *Position         `json:"-"`
	Quarantined []json.RawMessage `json:"quarantined"` // of a Quarantined each
	More        bool              `json:"more"`
	Next        *NextQuarantined  `json:"next,omitempty"`
}

// NextQuarantined is what the request for the rest says.
type NextQuarantined struct {
	After Bytes `json:"after"`
}

// newQuarantined copies an entry; with its update, if that is asked for.
func newQuarantined(q store.Quarantined, update bool) (x Quarantined, err error) {
	x = Quarantined{Source: bytes.Clone(q.Source), Seq: q.Seq, Time: rfc3339(q.Time), Code: q.Code, Number: q.Number,
		Message: q.Message, Module: q.Module, Kept: q.Kept, Bytes: len(q.Update)}
	if update {
		x.Update, err = newHeldUpdate(bytes.Clone(q.Update))
	}
	return x, err
}

var opNames = map[abi.Op]string{abi.OpPut: "put", abi.OpDelete: "delete", abi.OpPurge: "purge"}

func newHeldUpdate(frame []byte) (*HeldUpdate, error) {
	u, err := abi.DecodeIn(frame)
	if err == nil && u.Len() != 1 {
		err = fmt.Errorf("a frame of %d records", u.Len())
	}
	if err != nil {
		return nil, fmt.Errorf("query: a held update: %w", err)
	}
	r := u.Records[0]
	x := &HeldUpdate{Op: opNames[r.Op], Subject: u.At(r.Subject), Value: u.At(r.Value)}
	for _, h := range u.Headers {
		x.Headers = append(x.Headers, HeldHeader{u.At(h.Name), u.At(h.Value)})
	}
	return x, nil
}

// Quarantine returns the first of what is in quarantine.
func (r *Reader) Quarantine(ctx context.Context, q Quarantine) (*QuarantinePage, error) {
	m, err := r.open(ctx, q.Moment)
	if err != nil {
		return nil, err
	}
	defer m.close()
	from := q.Prefix
	if q.After != nil {
		from = larger(append(bytes.Clone(q.After), 0), from)
	}
	p, limit := &QuarantinePage{At: m.at, Quarantined: []json.RawMessage{}}, q.Limits.orDefault()
	size, last := 0, []byte(nil)
	err = m.held(from, func(x store.Quarantined) (more bool, err error) {
		if !bytes.HasPrefix(x.Source, q.Prefix) {
			return false, nil
		}
		n := len(p.Quarantined)
		text, err := entry(x, q.Updates)
		if size += len(text) + 1; n == limit.Rows || n > 0 && size > limit.Bytes {
			p.More, p.Next = true, &NextQuarantined{last}
			return false, nil
		}
		p.Quarantined, last = append(p.Quarantined, text), append(last[:0], x.Source...)
		return true, err
	})
	if err != nil {
		return nil, m.fault(err)
	}
	return p, nil
}

func larger(x, y []byte) []byte {
	if bytes.Compare(x, y) >= 0 {
		return x
	}
	return y
}

func entry(q store.Quarantined, update bool) (json.RawMessage, error) {
	x, err := newQuarantined(q, update)
	if err != nil {
		return nil, err
	}
	return json.Marshal(x)
}

// Show returns one source key that is in quarantine, with its update.
func (r *Reader) Show(ctx context.Context, q Show) (*Quarantined, *Position, error) {
	m, err := r.open(ctx, q.Moment)
	if err != nil {
		return nil, nil, err
	}
	defer m.close()
	var found *Quarantined
	err = m.held(q.Source, func(x store.Quarantined) (bool, error) {
		if !bytes.Equal(x.Source, q.Source) {
			return false, nil
		}
		f, err := newQuarantined(x, true)
		found = &f
		return false, err
	})
	if err == nil && found == nil {
		err = NotHeld()
	}
	if err != nil {
		return nil, nil, m.fault(err)
	}
	return found, m.at, nil
}

// NotHeld returns the fault of a source key that is not in quarantine.
func NotHeld() *Fault {
	return &Fault{Status: http.StatusNotFound, Code: NotFound, Message: "the source key is not in quarantine"}
}

// held calls f for what is in quarantine from a source key on.
func (m *moment) held(from []byte, f func(q store.Quarantined) (more bool, err error)) error {
	var bad error
	err := m.view.Quarantine(from, func(q store.Quarantined) bool {
		more, err := f(q)
		bad = err
		return more && err == nil
	})
	return errors.Join(err, bad)
}
