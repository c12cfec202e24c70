package serve

import (
	_ "embed"
	"net/http"
)

// openAPI describes what is served. A test holds the two together: routes, parameters and replies.
//
//go:embed openapi.json
var openAPI []byte

func (s *Server) describe(w http.ResponseWriter, r *http.Request) error {
	if err := parse(r).done(); err != nil {
		return err
	}
	s.send(w, r, http.StatusOK, openAPI)
	return nil
}
