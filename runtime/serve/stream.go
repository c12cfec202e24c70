package serve

import (
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/foldrun/foldrun/runtime/query"
)

// ndjson is the media type of a stream.
const ndjson = "application/x-ndjson"

// streams reports whether a scan asks for a stream: with GET, and by what it accepts.
func streams(r *http.Request) bool {
	for _, accepted := range strings.Split(r.Header.Get("Accept"), ",") {
		if kind, _, err := mime.ParseMediaType(accepted); err == nil && kind == ndjson {
			return r.Method == http.MethodGet
		}
	}
	return false
}

// stream replies with the rows of a range as lines. What is read next waits until the lines before are on their way, so a
// slow reader holds a piece of the rows. It may take the door's Limits.Reply for each; the server's end ends the stream.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, q query.Scan) error {
	ctx, end := untilEnd(r.Context())
	defer end()
	rows, err := s.query.Stream(ctx, q)
	if err != nil {
		return err
	}
	defer rows.Close()
	position(w, rows.At)
	h := w.Header()
	h.Set("Content-Type", ndjson)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	reply := http.NewResponseController(w)
	for lines := rows.Next(ctx); err == nil && lines != nil; lines = rows.Next(ctx) {
		reply.SetWriteDeadline(time.Now().Add(s.opt.Limits.Reply)) // without a network there is none
		if _, err = w.Write(lines); err == nil {
			reply.Flush()
		}
	}
	if err == nil {
		reply.SetWriteDeadline(time.Now().Add(s.opt.Limits.Reply))
		_, err = w.Write(rows.End())
	}
	s.sent(r, err)
	return nil
}
