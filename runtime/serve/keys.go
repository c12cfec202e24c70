package serve

import (
	"context"
	"net/http"
	"time"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/query"
)

// A sweeper is a Fold that can compare its source keys with those of its stream: one that follows it.
type sweeper interface {
	Sweep(ctx context.Context, repair bool) (runtime.SweepReport, error)
}

// keyReport is what verify?keys=1 replies.
type keyReport struct {
	Fold string `json:"fold"`
	OK   bool   `json:"ok"`
	runtime.SweepReport
	Keys []keyProblem `json:"keys,omitempty"`
}

type keyProblem struct {
	Kind   string      `json:"kind"`
	Source query.Bytes `json:"source"`
	Seq    uint64      `json:"seq"`
}

// checkKeys has a fold compare its source keys with its stream's. It mends nothing.
func (s *Server) checkKeys(w http.ResponseWriter, r *http.Request) error {
	x, _, err := s.query.Store(r.PathValue("fold"))
	if err != nil {
		return err
	}
	f, ok := x.(sweeper)
	if !ok {
		return &fault{http.StatusConflict, query.NotFollowing, "nothing follows the source of this fold", "start foldrun: only a running fold reads its source"}
	}
	deadline := http.NewResponseController(w)
	deadline.SetWriteDeadline(time.Time{}) // it takes as long as the stream is long
	found, err := f.Sweep(r.Context(), false)
	deadline.SetWriteDeadline(time.Now().Add(replyTimeout))
	if err != nil {
		return notFollowing(err)
	}
	return s.reply(w, r, newKeyReport(r.PathValue("fold"), found))
}
