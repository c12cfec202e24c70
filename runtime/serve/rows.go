package serve

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// A target is an index as it is read by one request.
type target struct {
	view  *store.View
	index int
}

func (t *target) close() { t.view.Close() }

// fold returns the store of the fold that a request names, and sets the headers of its state.
func (s *Server) fold(w http.ResponseWriter, r *http.Request) (*store.DB, error) {
	name := r.PathValue("fold")
	f := s.folds[name]
	if f == nil {
		return nil, &fault{http.StatusNotFound, codeFold, fmt.Sprintf("there is no fold %q", name), "there are " + s.names()}
	}
	status, db := f.Status(), f.Store()
	w.Header().Set("Foldrun-State", status.State)
	if status.Code != "" {
		w.Header().Set("Foldrun-Code", status.Code)
	}
	if db != nil {
		return db, nil
	}
	if status.Code == "" {
		return nil, &fault{http.StatusServiceUnavailable, codeStarting, fmt.Sprintf("fold %q is starting", name), "ask again in a moment"}
	}
	return nil, &fault{http.StatusServiceUnavailable, status.Code, fmt.Sprintf("fold %q has nothing to read: %s", name, status.Reason), status.Hint}
}

func (s *Server) names() string {
	var all []string
	for _, f := range s.opt.Folds {
		all = append(all, strconv.Quote(f.Name()))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// open opens a view of the index that a request names, with the position that is demanded if one is, and sets the headers
// that say what it is a view of. An index that is not there is not waited for.
func (s *Server) open(w http.ResponseWriter, r *http.Request, want *runtime.AtLeast) (*target, error) {
	if f := s.folds[r.PathValue("fold")]; want != nil && f != nil {
		if db := f.Store(); db != nil {
			if _, err := indexOf(r, db); err != nil {
				return nil, err
			}
		}
	}
	db, view, err := s.view(w, r, want)
	if err != nil {
		return nil, err
	}
	index, err := indexOf(r, db)
	if err != nil {
		view.Close()
		return nil, err
	}
	return &target{view, index}, nil
}

// indexOf returns which index of a store a request names.
func indexOf(r *http.Request, db *store.DB) (int, error) {
	name, specs := r.PathValue("index"), db.Indexes()
	index := slices.IndexFunc(specs, func(x store.IndexSpec) bool { return x.Name == name })
	if index < 0 {
		var have []string
		for _, x := range specs {
			have = append(have, strconv.Quote(x.Name))
		}
		return 0, &fault{http.StatusNotFound, codeIndex, fmt.Sprintf("fold %q has no index %q", r.PathValue("fold"), name),
			"it has " + strings.Join(have, ", ")}
	}
	return index, nil
}

// position sets the headers that say what a reply reflects.
func position(w http.ResponseWriter, db *store.DB, state *store.State) {
	h, at := w.Header(), state.Position()
	h.Set("Foldrun-Seq", strconv.FormatUint(at.Seq, 10))
	h.Set("Foldrun-Generation", db.Generation())
	if at.Created != 0 {
		h.Set("Foldrun-Incarnation", rfc3339(at.Created))
	}
}

func rfc3339(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

func (s *Server) get(w http.ResponseWriter, r *http.Request) error {
	q, err := getQuery(r)
	if err != nil {
		return err
	}
	t, err := s.open(w, r, q.want)
	if err != nil {
		return err
	}
	p := page{limit: q.limit}
	err = t.view.Get(t.index, q.key, q.rg, p.add)
	t.close()
	if err != nil {
		return err
	}
	if p.n == 0 && q.rg.After == nil {
		return &fault{http.StatusNotFound, codeNotFound, "not found", ""}
	}
	s.send(w, r, http.StatusOK, p.end(false))
	return nil
}

func (s *Server) scan(w http.ResponseWriter, r *http.Request) error {
	q, err := scanQuery(r)
	if err != nil {
		return err
	}
	t, err := s.open(w, r, q.want)
	if err != nil {
		return err
	}
	p := page{limit: q.limit}
	err = t.view.Scan(t.index, q.rg, p.add)
	t.close()
	if err != nil {
		return err
	}
	s.send(w, r, http.StatusOK, p.end(true))
	return nil
}

// A page is a reply with rows while it is made.
type page struct {
	limit       int
	body        []byte
	n, bytes    int  // rows so far, and the bytes of their keys, sources and values
	more        bool // there was one that had no place
	key, source []byte
}

// add adds a row, or notes that there is more.
func (p *page) add(row store.Row) bool {
	size := len(row.Key) + len(row.Source) + len(row.Value)
	if p.n == p.limit || p.n > 0 && p.bytes+size > maxBytes {
		p.more = true
		return false
	}
	sep := ","
	if p.n == 0 {
		sep = `{"rows":[`
	}
	p.body = appendRow(append(p.body, sep...), row)
	p.n++
	p.bytes += size
	p.key, p.source = append(p.key[:0], row.Key...), append(p.source[:0], row.Source...)
	return true
}

// end closes the page and returns its body.
func (p *page) end(withKey bool) []byte {
	if p.n == 0 {
		return []byte(`{"rows":[],"more":false}` + "\n")
	}
	if !p.more {
		return append(p.body, `],"more":false}`+"\n"...)
	}
	b := append(p.body, `],"more":true,"next":{`...)
	if withKey {
		b = append(appendBytes(append(b, `"after_key":`...), p.key), ',')
	}
	return append(appendBytes(append(b, `"after_source":`...), p.source), "}}\n"...)
}
