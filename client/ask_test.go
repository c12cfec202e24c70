package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestNoReply asks a foldrun that ends before its reply, or within it.
func TestNoReply(t *testing.T) {
	for name, part := range map[string]string{"before": "", "within": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"rows\":",
		"within an error": "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\n{"} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Write([]byte(part))
			conn.Close()
		})
		_, read := c.Get(t.Context(), "f", "i", []byte("k"), Range{})
		_, acted := c.Reload(t.Context())
		for _, err := range []error{read, acted} {
			if !errors.Is(err, ErrNoReply) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestScheme speaks plainly to an address that speaks TLS, and TLS to one that does not.
func TestScheme(t *testing.T) {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	secure, plain := httptest.NewTLSServer(h), httptest.NewServer(h)
	defer secure.Close()
	defer plain.Close()
	var refused *Error
	_, err := New(strings.Replace(secure.URL, "https://", "http://", 1)).Status(t.Context())
	if !errors.As(err, &refused) || refused.Code != "tls_needed" || !strings.Contains(refused.Hint, "https://") {
		t.Errorf("%+v", err)
	}
	if _, err := New(strings.Replace(plain.URL, "http://", "https://", 1)).Status(t.Context()); !errors.Is(err, http.ErrSchemeMismatch) {
		t.Errorf("%+v", err)
	}
}
