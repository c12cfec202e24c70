// Package natsdoor has a client.Client ask over NATS, where foldrun answers as a micro service: [query] in its configuration.
// All that reads is there but Verify and VerifyKeys; actions are not. docs/query-nats.md has the subjects.
//
// It is a package of its own so that package client needs nothing but the standard library.
package natsdoor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/foldrun/foldrun/client"
)

// Subject is that of a foldrun whose configuration says no other.
const Subject = "foldrun"

// New returns a client of the foldruns that answer below a subject. Of each fold one of the replicas answers that are
// caught up with it, another one each time: who wants to see its own write says so, with AtLeast. Status is that of the
// first instance to answer. The connection is the caller's.
func New(nc *nats.Conn, subject string) *client.Client { return via(door{nc, subject, false}) }

// At returns a client of one instance, which answers whatever state its folds are in. A name has letters, digits, dashes
// and underscores; what else it has is an underscore here as in the instance's subject.
func At(nc *nats.Conn, subject, instance string) *client.Client {
	return via(door{nc, subject + ".@" + notInToken.ReplaceAllString(instance, "_"), true})
}

func via(d door) *client.Client {
	return &client.Client{URL: "http://" + Subject, HTTP: &http.Client{Transport: d}}
}

var (
	notInToken = regexp.MustCompile(`[^A-Za-z0-9_-]`)
	token      = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// patience bounds a request without a deadline: the longest that a reader may wait for a position, and some.
const patience = 35 * time.Second

// A door is an http.RoundTripper: a request of HTTP becomes the request of NATS that is answered with the same reply.
type door struct {
	nc      *nats.Conn
	subject string // what a fold's name comes after
	one     bool   // instance answers there
}

func (d door) RoundTrip(r *http.Request) (*http.Response, error) {
	subject, err := d.subjectOf(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	switch {
	case strings.Contains(r.Header.Get("Accept"), "ndjson"):
		return nil, errors.New("natsdoor: a message is not a stream: read Pages, or ask over HTTP")
	case !d.one && (q.Has("snapshot") || q.Has("token")):
		return nil, errors.New("natsdoor: a snapshot is one instance's: ask it, with At")
	}
	data, err := request(q)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	if _, have := ctx.Deadline(); !have {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, patience)
		defer done()
	}
	m, err := d.nc.RequestWithContext(ctx, subject, data)
	if errors.Is(err, nats.ErrNoResponders) {
		return nobody(r, subject), nil
	}
	if err != nil {
		return nil, fmt.Errorf("natsdoor: %s: %w", subject, err)
	}
	return response(r, m), nil
}

// subjectOf returns the subject of a path: FOLD.get.INDEX of /v1/folds/FOLD/indexes/INDEX/get.
func (d door) subjectOf(r *http.Request) (string, error) {
	if r.Method != http.MethodGet {
		return "", errors.New("natsdoor: what changes something is not asked over NATS")
	}
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	if path[0] == "folds" && len(path) > 2 {
		path = path[1:]
	}
	if len(path) == 4 && path[1] == "indexes" {
		path = []string{path[0], path[3], path[2]}
	}
	for _, t := range path {
		if !token.MatchString(t) {
			return "", fmt.Errorf("natsdoor: %q is no name of a fold or an index", t)
		}
	}
	return d.subject + "." + strings.Join(path, "."), nil
}

// request returns parameters as a JSON object, with bytes as client.Bytes has them.
func request(q url.Values) ([]byte, error) {
	members := map[string][]client.Bytes{}
	for name, values := range q {
		for _, v := range values {
			members[name] = append(members[name], []byte(v))
		}
	}
	return json.Marshal(members)
}

func response(r *http.Request, m *nats.Msg) *http.Response {
	resp := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header(m.Header), Request: r, ContentLength: int64(len(m.Data)),
		Proto: "NATS", Body: io.NopCloser(bytes.NewReader(m.Data))}
	if code := m.Header.Get(micro.ErrorCodeHeader); code != "" {
		resp.Status = code + " " + m.Header.Get(micro.ErrorHeader)
		if _, err := fmt.Sscan(code, &resp.StatusCode); err != nil || resp.StatusCode == http.StatusOK {
			resp.StatusCode = http.StatusInternalServerError
		}
	}
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	return resp
}

// nobody is the reply to a request that nobody has subscribed to.
func nobody(r *http.Request, subject string) *http.Response {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = "nobody_answers", "nobody answers at "+subject
	body.Error.Hint = "does foldrun run there, with [query] and this subject, has it that fold, and has the fold caught up? An instance answers for itself whatever state it is in"
	b, _ := json.Marshal(body) // strings
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Status: "503 no responders", Header: http.Header{}, Request: r, Proto: "NATS",
		Body: io.NopCloser(bytes.NewReader(b))}
}
