package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/foldrun/foldrun/runtime/query"
)

// The codes of faults that only this door has.
const (
	codeSubject      = "unknown_subject"
	codeRequestLarge = "request_too_large"
	codeReplyLarge   = "reply_too_large"
)

// natsHeaders is what of a message its headers may take: of the largest payload, which counts them, bodies have the rest.
const natsHeaders = 4 << 10

// leastPage is what the rows of a page are bounded to at least: one that is too large even so has one row.
const leastPage = 1 << 10

// A natsRequest is a request on its way.
type natsRequest struct {
	subject, reply string
	data           []byte
}

// take takes a request from a subscription, which it must not hold up.
func (d *NATSDoor) take(ctx context.Context, m micro.Request) {
	r := natsRequest{m.Subject(), m.Reply(), m.Data()}
	if !d.mayReply(r.reply) {
		d.dropped.Add(1)
		return
	}
	if len(r.data) > headerBytes {
		d.refuse(r, &fault{http.StatusRequestEntityTooLarge, codeRequestLarge, fmt.Sprintf("the request has %d bytes", len(r.data)),
			fmt.Sprintf("at most %d are taken: ask for fewer keys", headerBytes)})
		return
	}
	if f := d.places.take(len(r.data)); f != nil {
		d.refuse(r, f)
		return
	}
	go func() {
		defer d.places.release(len(r.data))
		d.answer(ctx, r)
	}()
}

// mayReply says whether a reply may be sent to a subject. It is the sender's to name, and the reply is published as foldrun:
// so none goes to what the server or a bucket gives a meaning to ($JS., $KV., $SYS.…), nor to the door itself. What else
// foldrun may publish to is for its permissions to say.
func (d *NATSDoor) mayReply(subject string) bool {
	return subject != "" && subject[0] != '$' && !strings.HasPrefix(subject, d.subject+".")
}

// answer answers a request when there is a place. ctx is that of Run.
func (d *NATSDoor) answer(ctx context.Context, r natsRequest) {
	path, refused := d.path(r.subject)
	var values url.Values
	if refused == nil {
		values, refused = parameters(r.data)
	}
	place := d.reading
	if values.Has("min_seq") {
		place = d.waiting
	}
	if refused == nil {
		refused = begin(ctx, place, values.Has("min_seq"))
	}
	if refused != nil {
		d.refuse(r, refused)
		return
	}
	defer func() { <-place }()
	limited, done := context.WithTimeout(withEnd(ctx), maxWait+replyTimeout)
	defer done()
	d.send(r, d.ask(limited, path, values))
}

// begin takes a place for a request. One that waits for a position might keep the next waiting as long.
func begin(ctx context.Context, place chan struct{}, waits bool) *fault {
	select {
	case place <- struct{}{}:
		return nil
	default:
	}
	if waits {
		return tooMany()
	}
	select {
	case place <- struct{}{}:
		return nil
	case <-ctx.Done():
		return stopping()
	}
}

// token is what names a fold or an index.
var token = regexp.MustCompile(`^[a-z0-9_-]+$`)

// path returns where the HTTP door has what a subject asks for.
func (d *NATSDoor) path(subject string) (string, *fault) {
	rest := strings.Split(strings.TrimPrefix(subject, d.subject+"."), ".")
	if strings.HasPrefix(rest[0], instanceMark) {
		rest = rest[1:]
	}
	if len(rest) == 1 && rest[0] == "status" {
		return "/v1/status", nil
	}
	for _, op := range natsOperations {
		name, index, ofIndex := strings.Cut(op.subject, ".")
		switch {
		case len(rest) < 2 || !token.MatchString(rest[0]) || rest[1] != name:
		case !ofIndex && len(rest) == 2:
			return "/v1/folds/" + rest[0] + "/" + name, nil
		case index == "*" && len(rest) == 3 && token.MatchString(rest[2]):
			return "/v1/folds/" + rest[0] + "/indexes/" + rest[2] + "/" + name, nil
		case ofIndex && index != "*" && len(rest) == 3 && rest[2] == index:
			return "/v1/folds/" + rest[0] + "/" + name + "/" + index, nil
		}
	}
	return "", &fault{http.StatusNotFound, codeSubject, fmt.Sprintf("nothing answers at %q", subject),
		"FOLD.get.INDEX, FOLD.scan.INDEX, FOLD.count.INDEX, FOLD.why.INDEX, FOLD.why, FOLD.status, FOLD.quarantine, FOLD.quarantine.show and status are there"}
}

// parameters returns a request's as a query of HTTP has them: of a member that is a string, a number or a boolean its text;
// of an array each; and of {"base64": …}, as replies have bytes that are no text, name64, of {"hex": …} and {"tuple": …} likewise.
func parameters(data []byte) (url.Values, *fault) {
	values := url.Values{}
	if len(bytes.TrimSpace(data)) == 0 {
		return values, nil
	}
	members := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&members); err != nil || d.More() {
		return nil, &fault{http.StatusBadRequest, query.Parameter, "the request is not a JSON object", `write {"key": "…", "limit": 10}, or nothing where nothing is asked`}
	}
	for name, member := range members {
		all, ok := member.([]any)
		if !ok {
			all = []any{member}
		}
		for _, one := range all {
			if !add(values, name, one) {
				return nil, &fault{http.StatusBadRequest, query.Parameter, fmt.Sprintf("%s is neither text, number nor boolean", name),
					`bytes are "text", {"base64": "…"}, {"hex": "…"} or {"tuple": "…"}, several keys an array of them`}
			}
		}
	}
	return values, nil
}

// add adds a member of a request to a query.
func add(values url.Values, name string, member any) bool {
	switch x := member.(type) {
	case string:
		values.Add(name, x)
	case json.Number:
		values.Add(name, x.String())
	case bool:
		values.Add(name, map[bool]string{true: "1", false: "0"}[x])
	case map[string]any:
		for form, suffix := range map[string]string{"base64": "64", "hex": "hex", "tuple": "tuple"} {
			if coded, ok := x[form].(string); ok && len(x) == 1 {
				values.Add(name+suffix, coded)
				return true
			}
		}
		return false
	default:
		return false
	}
	return true
}

// ask has the HTTP door's handler make the reply, so that it fits into a message: a page that does not is asked for again,
// with half of its bytes.
func (d *NATSDoor) ask(ctx context.Context, path string, values url.Values) *made {
	most := int(d.nc.MaxPayload()) - natsHeaders
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path, RawQuery: values.Encode()}, Header: http.Header{}}
	for page := most; ; page /= 2 {
		w := &made{header: http.Header{}, status: http.StatusOK}
		d.server.mux.ServeHTTP(w, r.WithContext(withPage(ctx, page)))
		if w.body.Len() <= most {
			return w
		}
		if page > leastPage {
			continue
		}
		w = &made{header: http.Header{}, status: http.StatusOK}
		d.server.fail(w, r, &fault{http.StatusRequestEntityTooLarge, codeReplyLarge, fmt.Sprintf("one row is more than the %d bytes that a message may have", most),
			"ask over HTTP, or raise max_payload of the NATS server"})
		return w
	}
}

// made is a reply in the making.
type made struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *made) Header() http.Header         { return w.header }
func (w *made) WriteHeader(status int)      { w.status = status }
func (w *made) Write(b []byte) (int, error) { return w.body.Write(b) }

// refuse replies with an error of the door.
func (d *NATSDoor) refuse(r natsRequest, f *fault) {
	w := &made{header: http.Header{}}
	d.server.fail(w, &http.Request{URL: &url.URL{Path: r.subject}}, f)
	d.send(r, w)
}

// send sends a reply. What cannot be sent is not waited for: its client asks again.
func (d *NATSDoor) send(r natsRequest, w *made) {
	m := nats.NewMsg(r.reply)
	for name, values := range w.header {
		if strings.HasPrefix(name, "Foldrun-") {
			m.Header[name] = values
		}
	}
	if d.opt.Instance != "" {
		m.Header.Set("Foldrun-Instance", d.opt.Instance)
	}
	m.Data = bytes.TrimSuffix(w.body.Bytes(), []byte("\n"))
	d.requests.Add(1)
	if w.status != http.StatusOK {
		d.failed.Add(1)
		m.Header.Set(micro.ErrorCodeHeader, fmt.Sprint(w.status))
		m.Header.Set(micro.ErrorHeader, errorLine(m.Data))
	}
	if err := d.nc.PublishMsg(m); err != nil {
		d.refused.warn("a reply over NATS was not sent", "subject", r.subject, "err", err)
	}
}

// errorLine is an error's code and message, as one line of printable ASCII: it stands in a header.
func errorLine(body []byte) string {
	var reply struct {
		Error struct{ Code, Message string }
	}
	json.Unmarshal(body, &reply) // made by fail
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, reply.Error.Code+": "+reply.Error.Message)
	return line[:min(len(line), natsHeaders/4)]
}

// pageKey is the key of the bytes that the rows of a reply may have, in the context of its request.
type pageKey struct{}

func withPage(ctx context.Context, bytes int) context.Context {
	return context.WithValue(ctx, pageKey{}, bytes)
}

// pageBytes returns that bound; 0: the query's own.
func pageBytes(r *http.Request) int {
	n, _ := r.Context().Value(pageKey{}).(int)
	return n
}
