package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// judge refuses what no caller may send, whoever it is.
func (d *Door) judge(r *http.Request) error {
	switch {
	case d.opt.Tokens == nil && !localHost(r.Host):
		return &fault{http.StatusForbidden, codeHost, fmt.Sprintf("%q is not a name of this machine", r.Host),
			"ask at an IP address or at localhost: a web page's name that leads here must not read what is here"}
	case crossSite(r):
		return &fault{http.StatusForbidden, codeCrossSite, "a web page of another site may ask nothing here", "ask from a program, or through a server of the page's own site"}
	case r.ContentLength != 0:
		return &fault{http.StatusRequestEntityTooLarge, codeBody, "a request here has no body", "everything is asked with the path and its parameters"}
	}
	return nil
}

// localHost reports whether a request was addressed to an IP address or to localhost. A web page can make a browser
// send it requests of its own name, which resolves to 127.0.0.1. With tokens any name will do: a page has none.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost" || host == "" // HTTP/1.0, which no browser speaks
}

// crossSite reports whether a browser sent a request for a page of another site: a read too, for some of them are work.
// Browsers say so in Sec-Fetch-Site, older ones in Origin, and pages cannot change either.
func crossSite(r *http.Request) bool {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return true
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}
	return false
}

// isOps reports whether a path is of those that NewOps serves apart from the rest.
func isOps(path string) bool {
	return path == "/readyz" || path == "/metrics" || strings.HasPrefix(path, profiles)
}

const profiles = "/debug/pprof/"

// admit returns what a caller finds behind the door: with tokens, what its token lets it see.
func (d *Door) admit(r *http.Request) (*Server, *Token, error) {
	if d.opt.Tokens == nil {
		return d.outside, nil, nil
	}
	given := r.Header.Values("Authorization")
	if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" && len(given) == 0 {
		return d.outside, nil, nil
	}
	if len(given) == 0 {
		return nil, nil, &fault{http.StatusUnauthorized, codeNoToken, "a token is needed",
			"send Authorization: Bearer TOKEN, on the command line with --token-file or $FOLDRUN_TOKEN; foldrun token new makes one"}
	}
	scheme, presented, _ := strings.Cut(given[0], " ")
	t := d.opt.Tokens.find(strings.TrimSpace(presented))
	if t == nil || len(given) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return nil, nil, &fault{http.StatusUnauthorized, codeToken, "the token is none of those that are known here", "see the file of [http] tokens"}
	}
	return d.inside(t), t, scope(t, r)
}

// scope refuses what a token is not for.
func scope(t *Token, r *http.Request) error {
	profile := strings.HasPrefix(r.URL.Path, profiles)
	acts := profile || r.Method != http.MethodGet && r.Method != http.MethodHead
	switch {
	case acts && !t.Admin:
		return &fault{http.StatusForbidden, codeScope, fmt.Sprintf("the token %q may read, and nothing else", t.Name), "use one with the scope admin"}
	case profile && t.Folds != nil:
		return &fault{http.StatusForbidden, codeScope, fmt.Sprintf("the token %q is for some folds; a profile shows the work of all", t.Name), "use one with the scope admin and the folds *"}
	}
	return nil
}

// maxLogged bounds what the log has of the path of a request that was refused.
const maxLogged = 200

// refuse replies to a caller that is not let in, and says so in the log, seldom.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, t *Token, err error) {
	var f *fault
	if !errors.As(err, &f) {
		panic(err) // judge and admit return faults
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="foldrun"`)
	}
	name := ""
	if t != nil {
		name = t.Name
	}
	d.refused.warn("request refused", "code", f.code, "token", name, "from", peerOf(r), "method", cut(r.Method), "path", cut(r.URL.Path))
	d.outside.fail(w, r, err)
}

func cut(s string) string { return s[:min(len(s), maxLogged)] }

// peerKey is the key of what a request's context says of the other end of its connection, callerKey of the name of its
// token.
type (
	peerKey   struct{}
	callerKey struct{}
)

func withPeer(ctx context.Context, c net.Conn) context.Context {
	c = bare(c)
	if g, ok := c.(*gated); ok {
		c = g.Conn
	}
	return context.WithValue(ctx, peerKey{}, peer(c))
}

func peerOf(r *http.Request) string {
	who, _ := r.Context().Value(peerKey{}).(string)
	return who
}

func withCaller(r *http.Request, t *Token) *http.Request {
	if t == nil {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, t.Name))
}

// caller returns the name of a request's token. On the socket there is none: the door says which user it is.
func caller(r *http.Request) string {
	if name, ok := r.Context().Value(callerKey{}).(string); ok {
		return name
	}
	return "operator"
}
