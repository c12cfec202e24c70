package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxReply bounds what is read of a reply.
const maxReply = 64 << 20

// ask makes one request and decodes its reply.
func (c *Client) ask(ctx context.Context, path string, q url.Values, reply any) (at Position, err error) {
	return c.send(ctx, http.MethodGet, path, q, reply)
}

func (c *Client) send(ctx context.Context, method, path string, q url.Values, reply any) (at Position, err error) {
	resp, err := c.do(ctx, method, path, q, "application/json")
	if err != nil {
		return at, err
	}
	defer resp.Body.Close()
	at = position(resp.Header)
	return at, decode(resp, path, reply)
}

// do makes one request. A reply that is an error comes as one, with its position.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, accept string) (*http.Response, error) {
	target := c.URL + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	req.Header.Set("Accept", accept)
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("client: %w", cut(bare(err)))
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("client: %s: %w", path, cut(err))
	}
	return nil, refusal(resp, b, position(resp.Header))
}

// decode reads a reply that is whole.
func decode(resp *http.Response, path string, reply any) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return fmt.Errorf("client: %s: %w", path, cut(err))
	}
	if err := json.Unmarshal(b, reply); err != nil {
		return fmt.Errorf("client: %s: the reply is not foldrun's: %w", path, err)
	}
	return nil
}

// bare drops the URL from an error of net/http: it holds the key.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// cut makes what a connection says that ended too soon an ErrNoReply.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("%w: %w", ErrNoReply, err)
	}
	return err
}

func position(h http.Header) Position {
	seq, _ := strconv.ParseUint(h.Get("Foldrun-Seq"), 10, 64)
	created, _ := time.Parse(time.RFC3339Nano, h.Get("Foldrun-Incarnation"))
	return Position{seq, h.Get("Foldrun-Generation"), created, h.Get("Foldrun-State"), h.Get("Foldrun-Code")}
}

func refusal(resp *http.Response, body []byte, at Position) error {
	var reply struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(body, &reply); {
	case err != nil && strings.Contains(string(body), "HTTP request to an HTTPS server"): // as net/http says it
		return &Error{Status: resp.StatusCode, Code: "tls_needed", Message: "foldrun speaks TLS there", Hint: "write https:// in the address", At: at}
	case err != nil || reply.Error.Code == "":
		return &Error{Status: resp.StatusCode, Code: "not_foldrun", Message: "the reply is not foldrun's: " + resp.Status, At: at}
	}
	e := reply.Error
	return &Error{resp.StatusCode, e.Code, e.Message, e.Hint, at}
}
