package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// quarantined is one source key in quarantine.
type quarantined struct {
	Source  json.RawMessage `json:"source"`
	Seq     uint64          `json:"seq"`
	Time    string          `json:"time"`
	Code    string          `json:"code"`
	Number  uint16          `json:"number,omitempty"` // the module's own
	Message string          `json:"message"`
	Module  string          `json:"module"`             // digest of the module that failed
	Kept    uint64          `json:"kept_seq,omitempty"` // the rows of the record of this seq still stand
	Bytes   int             `json:"bytes"`              // of the update
	Update  *heldUpdate     `json:"update,omitempty"`
}

// heldUpdate is the update itself.
type heldUpdate struct {
	Op      string          `json:"op"` // "put", "delete" or "purge"
	Subject json.RawMessage `json:"subject"`
	Headers []heldHeader    `json:"headers,omitempty"`
	Value   json.RawMessage `json:"value"`
}

type heldHeader struct {
	Name  json.RawMessage `json:"name"`
	Value json.RawMessage `json:"value"`
}

// quarantinePage is what quarantine replies.
type quarantinePage struct {
	Quarantined []quarantined `json:"quarantined"`
	More        bool          `json:"more"`
	Next        *after        `json:"next,omitempty"`
}

type after struct {
	After json.RawMessage `json:"after"`
}

// newQuarantined copies an entry; with its update, if that is asked for.
func newQuarantined(q store.Quarantined, update bool) (x quarantined, err error) {
	x = quarantined{Source: appendBytes(nil, q.Source), Seq: q.Seq, Time: rfc3339(q.Time), Code: q.Code, Number: q.Number,
		Message: q.Message, Module: q.Module, Kept: q.Kept, Bytes: len(q.Update)}
	if update {
		x.Update, err = newHeldUpdate(q.Update)
	}
	return x, err
}

var opNames = map[abi.Op]string{abi.OpPut: "put", abi.OpDelete: "delete", abi.OpPurge: "purge"}

func newHeldUpdate(frame []byte) (*heldUpdate, error) {
	u, err := abi.DecodeIn(frame)
	if err == nil && u.Len() != 1 {
		err = fmt.Errorf("a frame of %d records", u.Len())
	}
	if err != nil {
		return nil, fmt.Errorf("serve: a held update: %w", err)
	}
	r := u.Records[0]
	x := &heldUpdate{Op: opNames[r.Op], Subject: appendBytes(nil, u.At(r.Subject)), Value: appendBytes(nil, u.At(r.Value))}
	for _, h := range u.Headers {
		x.Headers = append(x.Headers, heldHeader{appendBytes(nil, u.At(h.Name)), appendBytes(nil, u.At(h.Value))})
	}
	return x, nil
}

// quarantine replies with a page of what is in quarantine, in the order of the source keys.
func (s *Server) quarantine(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	prefix, _ := p.bytes("prefix")
	from, paged := p.bytes("after")
	limit, updates := p.limit(), p.flag("updates")
	if err := p.done(); err != nil {
		return err
	}
	if paged {
		from = append(from, 0)
	}
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	reply := quarantinePage{Quarantined: []quarantined{}}
	size, last := 0, []byte(nil)
	err := s.held(w, r, from, func(q store.Quarantined) (more bool, err error) {
		if !bytes.HasPrefix(q.Source, prefix) {
			return false, nil
		}
		size += len(q.Source) + len(q.Message) + len(q.Module)
		if updates {
			size += len(q.Update)
		}
		if n := len(reply.Quarantined); n == limit || n > 0 && size > maxBytes {
			reply.More, reply.Next = true, &after{appendBytes(nil, last)}
			return false, nil
		}
		x, err := newQuarantined(q, updates)
		reply.Quarantined, last = append(reply.Quarantined, x), append(last[:0], q.Source...)
		return true, err
	})
	if err != nil {
		return err
	}
	return s.reply(w, r, reply)
}

// show replies with one source key that is in quarantine, and its update.
func (s *Server) show(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	source, have := p.bytes("source")
	if !have {
		p.bad("add ?source=…, percent-encoded, or ?source64=…", "no source key is given")
	}
	if err := p.done(); err != nil {
		return err
	}
	var reply *quarantined
	err := s.held(w, r, source, func(q store.Quarantined) (bool, error) {
		if !bytes.Equal(q.Source, source) {
			return false, nil
		}
		x, err := newQuarantined(q, true)
		reply = &x
		return false, err
	})
	if err != nil {
		return err
	}
	if reply == nil {
		return notHeld()
	}
	return s.reply(w, r, reply)
}

func notHeld() error {
	return &fault{http.StatusNotFound, codeNotFound, "the source key is not in quarantine", ""}
}

// held calls f for what is in quarantine from a source key on, from one view, and sets the headers that say of what.
func (s *Server) held(w http.ResponseWriter, r *http.Request, from []byte, f func(q store.Quarantined) (more bool, err error)) error {
	db, err := s.fold(w, r)
	if err != nil {
		return err
	}
	v, err := db.View()
	if err != nil {
		return err
	}
	defer v.Close()
	position(w, db, v.State())
	var bad error
	err = v.Quarantine(from, func(q store.Quarantined) bool {
		more, err := f(q)
		bad = err
		return more && err == nil
	})
	return errors.Join(err, bad)
}

// A retrier is a Fold that can transform what it holds in quarantine again.
type retrier interface {
	Retry(ctx context.Context, source []byte) (runtime.RetryReport, error)
}

// retry has a fold transform one source key's held update, or with all=1 all of them, again.
func (a *Admin) retry(r *http.Request, f Fold) (any, error) {
	p := parse(r)
	source, have := p.bytes("source")
	if all := p.flag("all"); have == all {
		p.bad("add ?source=…, or ?all=1", "either one source key or all are retried")
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	x, ok := f.(retrier)
	if !ok {
		return nil, notFollowing(runtime.ErrNotFollowing)
	}
	if !have {
		source = nil
	} else if source == nil {
		source = []byte{} // the empty source key
	}
	report, err := x.Retry(r.Context(), source)
	switch {
	case errors.Is(err, runtime.ErrNotHeld):
		return nil, notHeld()
	case errors.Is(err, runtime.ErrNotFollowing):
		return nil, notFollowing(err)
	}
	return report, err
}
