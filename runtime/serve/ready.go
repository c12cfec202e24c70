package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/foldrun/foldrun/runtime"
)

// readiness is what /readyz replies.
type readiness struct {
	Ready    bool         `json:"ready"`    // each fold is
	Degraded bool         `json:"degraded"` // a fold does not do all of its work, ready or not
	Folds    []foldReason `json:"folds"`
}

// foldReason says whether a fold is ready, and why it is not or does not do all of its work.
type foldReason struct {
	Fold    string   `json:"fold"`
	Ready   bool     `json:"ready"`
	State   string   `json:"state"`
	Reasons []reason `json:"reasons,omitempty"`
}

// A reason has a code of docs/runbook.md.
type reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// newReason judges a fold. It is ready once it held everything that its stream held, in this run or an earlier one, as
// long as that is not longer ago than its max_staleness. A source that is away, or a fold that stopped, changes nothing
// else: what it has answers reads, marked so.
func newReason(s runtime.Status) foldReason {
	x := foldReason{Fold: s.Name, Ready: s.Ready && !s.Stale, State: s.State}
	if s.Code != "" {
		x.Reasons = append(x.Reasons, reason{s.Code, s.Reason})
	}
	switch {
	case !s.Ready:
		x.Reasons = append(x.Reasons, reason{runtime.CodeCatchingUp, fmt.Sprintf("seq %d of %d is folded", s.Seq, s.LastSeq)})
	case s.Stale:
		x.Reasons = append(x.Reasons, reason{runtime.CodeStale, fmt.Sprintf("everything was folded last at %s, longer ago than max_staleness, %s", s.BehindSince, s.Staleness)})
	}
	return x
}

func (s *Server) readiness() readiness {
	all := readiness{Ready: true, Folds: []foldReason{}}
	for _, f := range s.opt.Folds {
		x := newReason(f.Status())
		all.Ready = all.Ready && x.Ready
		all.Degraded = all.Degraded || len(x.Reasons) > 0
		all.Folds = append(all.Folds, x)
	}
	return all
}

// ready replies whether all folds are ready: 200, else 503, with a line for each reason.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) error {
	p := parse(r)
	asJSON := p.flag("json") || strings.Contains(r.Header.Get("Accept"), "application/json")
	if err := p.done(); err != nil {
		return err
	}
	all := s.readiness()
	status, kind, body := http.StatusOK, "text/plain; charset=utf-8", []byte(all.text())
	if asJSON {
		b, err := json.Marshal(all)
		if err != nil {
			return err
		}
		kind, body = "application/json", append(b, '\n')
	}
	if !all.Ready {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, err := w.Write(body)
	s.sent(r, err)
	return nil
}

func (all *readiness) text() string {
	said := "ready\n"
	switch {
	case !all.Ready:
		said = "not ready\n"
	case all.Degraded:
		said = "ready, degraded\n"
	}
	for _, f := range all.Folds {
		for _, x := range f.Reasons {
			said += fmt.Sprintf("%s: %s: %s: %s\n", f.Fold, f.State, x.Code, x.Text)
		}
	}
	return said
}
