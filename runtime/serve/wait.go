package serve

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// maxWait bounds how long a reader may wait for a position.
const maxWait = 30 * time.Second

// A viewer is a Fold that can wait for a position: one that follows its stream.
type viewer interface {
	ViewAt(ctx context.Context, want runtime.AtLeast) (*store.DB, *store.View, error)
}

// atLeast returns the position that is demanded, nil if none is.
func (p *params) atLeast() *runtime.AtLeast {
	seq, have := p.one("min_seq")
	wait, haveWait := p.one("wait")
	created, haveCreated := p.one("incarnation")
	if !have {
		if haveWait || haveCreated {
			p.bad("add min_seq=…, the seq that the put returned", "wait and incarnation go with min_seq, which is not given")
		}
		return nil
	}
	var want runtime.AtLeast
	var err error
	if want.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		p.bad("write the seq that the put returned", "min_seq is %q", seq)
	}
	if haveWait {
		if want.Wait, err = time.ParseDuration(wait); err != nil || want.Wait < 0 || want.Wait > maxWait {
			p.bad("write a duration up to "+maxWait.String()+", as 250ms", "wait is %q", wait)
		}
	}
	if haveCreated {
		at, err := time.Parse(time.RFC3339Nano, created)
		if err != nil {
			p.bad("write the stream's creation time as Foldrun-Incarnation has it", "incarnation is %q", created)
		}
		want.Created = at.UnixNano()
	}
	return &want
}

// view opens a view of the fold that a request names, with the position that is demanded if one is, and sets the headers
// that say what it is a view of.
func (s *Server) view(w http.ResponseWriter, r *http.Request, want *runtime.AtLeast) (db *store.DB, v *store.View, err error) {
	f, follows := s.folds[r.PathValue("fold")].(viewer)
	if want != nil && follows {
		return s.viewAt(w, r, f, *want)
	}
	if db, err = s.fold(w, r); err != nil {
		return nil, nil, err
	}
	if v, err = db.View(); err != nil {
		return nil, nil, err
	}
	position(w, db, v.State())
	if want == nil {
		return db, v, nil
	}
	if why := want.Judge(v.State()); why != nil {
		v.Close()
		if why.Code != runtime.CodeIncarnation {
			why.Code = codeNotFollowing
		}
		return nil, nil, &fault{http.StatusConflict, why.Code, why.Text + "; nothing follows the source of this fold", "start foldrun: only a running fold reads its source"}
	}
	return db, v, nil
}

// endKey is the key of the context of Run in that of a request.
type endKey struct{}

func withEnd(run context.Context) context.Context {
	return context.WithValue(context.Background(), endKey{}, run)
}

// untilEnd returns the context of a request that waits: it is done when Run begins to end, which lets the others finish.
func untilEnd(request context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(request)
	run, ok := request.Value(endKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(run, cancel)
	return ctx, func() { stop(); cancel() }
}

// viewAt waits for a position.
func (s *Server) viewAt(w http.ResponseWriter, r *http.Request, f viewer, want runtime.AtLeast) (*store.DB, *store.View, error) {
	ctx, cancel := untilEnd(r.Context())
	defer cancel()
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(want.Wait + replyTimeout)) // without a network there is none
	db, v, err := f.ViewAt(ctx, want)
	_, none := s.fold(w, r) // the headers of the fold's state
	var why *runtime.Refusal
	switch {
	case err == nil:
		position(w, db, v.State())
	case ctx.Err() != nil: // where it was the client that went, nobody reads this
		err = &fault{http.StatusServiceUnavailable, codeClosing, "foldrun is stopping", "ask again once it has started"}
	case errors.As(err, &why) && why.DB == nil && none != nil:
		err = none
	case errors.As(err, &why):
		if why.DB != nil {
			position(w, why.DB, why.State)
		}
		err = &fault{http.StatusConflict, why.Code, why.Text, why.Hint}
	}
	return db, v, err
}
