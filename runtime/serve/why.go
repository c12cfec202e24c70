package serve

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/foldrun/foldrun/store"
)

// owner is a source key with a live record, and what made its rows.
type owner struct {
	Source      json.RawMessage `json:"source"`
	Seq         uint64          `json:"seq"`
	Time        string          `json:"time"`
	Expires     string          `json:"expires,omitempty"` // by what its message says
	Quarantined bool            `json:"quarantined,omitempty"`
	Kept        uint64          `json:"kept_seq,omitempty"` // the rows are those of the record of this seq
	Rows        []ownedRow      `json:"rows"`
}

type ownedRow struct {
	Index   string          `json:"index"`
	Key     json.RawMessage `json:"key"`
	Expires string          `json:"expires,omitempty"`
}

// whyReply is what both whys reply: who claims a key, or what a source key owns.
type whyReply struct {
	Module string   `json:"module"` // digest of the module that made the rows
	Owners []owner  `json:"owners"`
	More   bool     `json:"more"`
	Next   *nextWhy `json:"next,omitempty"`
}

type nextWhy struct {
	AfterSource json.RawMessage `json:"after_source"`
}

func newOwner(o store.Owner, specs []store.IndexSpec) owner {
	x := owner{Source: appendBytes(nil, o.Source), Seq: o.Seq, Time: rfc3339(o.Time), Expires: expires(o.Expiry),
		Quarantined: o.Quarantined, Kept: o.Kept, Rows: []ownedRow{}}
	for _, r := range o.Rows {
		x.Rows = append(x.Rows, ownedRow{specs[r.Index].Name, appendBytes(nil, r.Key), expires(r.Expiry)})
	}
	return x
}

func expires(at int64) string {
	if at == 0 {
		return ""
	}
	return rfc3339(at)
}

// whyKey replies which source records claim a key of an index, each with all that it owns.
func (s *Server) whyKey(w http.ResponseWriter, r *http.Request) error {
	q, err := getQuery(r)
	if err != nil {
		return err
	}
	t, err := s.open(w, r, q.want)
	if err != nil {
		return err
	}
	defer t.close()
	q.rg.Claimants = true
	var sources [][]byte
	more := false
	err = t.view.Get(t.index, q.key, q.rg, func(row store.Row) bool {
		if more = len(sources) == min(q.limit, maxOwners); more {
			return false
		}
		sources = append(sources, append([]byte{}, row.Source...))
		return true
	})
	if err != nil {
		return err
	}
	if len(sources) == 0 && q.rg.After == nil {
		return &fault{http.StatusNotFound, codeNotFound, "not found", ""}
	}
	reply := whyReply{Owners: []owner{}, More: more}
	if more {
		reply.Next = &nextWhy{appendBytes(nil, sources[len(sources)-1])}
	}
	return s.owners(w, r, t.view, sources, reply)
}

// maxOwners bounds the owners of one reply: each may own many rows.
const maxOwners = 100

// whySource replies what a source key owns.
func (s *Server) whySource(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	source, have := p.bytes("source")
	if !have {
		p.bad("add ?source=…, percent-encoded, or ?source64=…", "no source key is given")
	}
	want := p.atLeast()
	if err := p.done(); err != nil {
		return err
	}
	_, v, err := s.view(w, r, want)
	if err != nil {
		return err
	}
	defer v.Close()
	if _, found, err := v.Owner(source); err != nil {
		return err
	} else if !found {
		return &fault{http.StatusNotFound, codeNotFound, "the source key has no live record as of this seq", ""}
	}
	return s.owners(w, r, v, [][]byte{source}, whyReply{})
}

// owners completes a reply with what these source keys own, and sends it.
func (s *Server) owners(w http.ResponseWriter, r *http.Request, v *store.View, sources [][]byte, reply whyReply) error {
	id := v.Identity()
	reply.Module = id.Module
	for _, source := range sources {
		o, found, err := v.Owner(source)
		if err == nil && !found {
			err = fmt.Errorf("serve: source key %q owns a row and has no lineage: %w", source, store.ErrDamaged)
		}
		if err != nil {
			return err
		}
		reply.Owners = append(reply.Owners, newOwner(o, id.Indexes))
	}
	return s.reply(w, r, reply)
}
