package serve

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/query"
	"github.com/foldrun/foldrun/store"
)

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	if err := parse(r).done(); err != nil {
		return err
	}
	folds := []runtime.Status{}
	for _, f := range s.query.Folds() {
		folds = append(folds, wholly(f))
	}
	reply := struct {
		Instance string           `json:"instance"`
		Version  string           `json:"version"`
		Folds    []runtime.Status `json:"folds"`
	}{s.opt.Instance, s.opt.Version, folds}
	return s.reply(w, r, reply)
}

// statusOf replies with what one fold knows of itself.
func (s *Server) statusOf(w http.ResponseWriter, r *http.Request) error {
	if err := parse(r).done(); err != nil {
		return err
	}
	f, err := s.query.Fold(r.PathValue("fold"))
	if err != nil {
		return err
	}
	return s.reply(w, r, wholly(f))
}

// A whole fold knows more of itself than is asked with each read: one that runs.
type whole interface {
	Disk() int64
	Policies() map[string]string
}

// wholly is the status of a fold with what only who looks at it asks.
func wholly(f Fold) runtime.Status {
	s := f.Status()
	if x, ok := f.(whole); ok {
		s.Disk, s.Policies = x.Disk(), x.Policies()
	}
	return s
}

func (s *Server) reply(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.send(w, r, http.StatusOK, append(b, '\n'))
	return nil
}

// report is what verify replies.
type report struct {
	Fold     string    `json:"fold"`
	OK       bool      `json:"ok"`
	Rows     uint64    `json:"rows"`
	Lineages uint64    `json:"lineages"`
	Kept     uint64    `json:"kept_keys,omitempty"` // source keys that keep rows of an older record: no function of the source
	Indexes  []index   `json:"indexes,omitempty"`
	Found    uint64    `json:"found"`              // problems in all
	Problems []problem `json:"problems,omitempty"` // the first of them
}

type index struct {
	Name   string       `json:"name"`
	Rows   uint64       `json:"rows"`
	Digest store.Digest `json:"digest"`
}

type problem struct {
	Kind   string      `json:"kind"`
	Index  string      `json:"index,omitempty"`
	Key    query.Bytes `json:"key,omitzero"`
	Source query.Bytes `json:"source,omitzero"`
	Text   string      `json:"text"`
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	keys := p.flag("keys")
	if err := p.done(); err != nil {
		return err
	}
	if keys {
		return s.checkKeys(w, r)
	}
	f, db, err := s.query.Store(r.PathValue("fold"))
	if err != nil {
		return err
	}
	if !s.all.verify.TryLock() {
		return &fault{http.StatusServiceUnavailable, query.Busy, "a store is being verified already", "ask again when that is done"}
	}
	defer s.all.verify.Unlock()
	deadline := http.NewResponseController(w)
	deadline.SetWriteDeadline(time.Time{}) // it takes as long as the store is large; without a network there is none
	found, err := db.Check()
	deadline.SetWriteDeadline(time.Now().Add(replyTimeout))
	if err != nil {
		return query.FaultOf(err, db)
	}
	if len(found.State.Indexes) > 0 { // else its state could not be read
		position(w, query.At(f, db, &found.State))
	}
	return s.reply(w, r, newReport(r.PathValue("fold"), db, found))
}

func newReport(fold string, db *store.DB, found *store.Report) report {
	all := report{Fold: fold, OK: found.Found == 0, Rows: found.Rows, Lineages: found.Lineages, Kept: found.State.Kept, Found: found.Found}
	specs := db.Indexes()
	for i, x := range found.State.Indexes {
		all.Indexes = append(all.Indexes, index{specs[i].Name, x.Rows, x.Digest})
	}
	for _, p := range found.Problems {
		q := problem{Kind: p.Kind, Index: p.Index, Text: p.Text}
		if p.Index != "" {
			q.Key = append(query.Bytes{}, p.Key...)
		}
		if p.Source != nil {
			q.Source = append(query.Bytes{}, p.Source...)
		}
		all.Problems = append(all.Problems, q)
	}
	return all
}
