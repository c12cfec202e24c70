package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/hint"
)

// Resolve says where t leads. A named context fills what t leaves open. If t gives neither a URL nor credentials, it is
// $NATS_CONTEXT; else the context selected with `nats context select`; else $NATS_URL with $NATS_CREDS; else nats.go's
// default URL.
func Resolve(t Target) (Target, error) {
	name := t.Context
	if name == "" && t.URL == "" && t.Creds == "" && t.NKey == "" && t.User == "" && t.Token == "" {
		var err error
		if name, err = currentContext(); err != nil {
			return t, err
		}
		if name == "" {
			t.URL, t.Creds = os.Getenv("NATS_URL"), os.Getenv("NATS_CREDS")
		}
	}
	if name != "" {
		c, err := readContext(name)
		if err != nil {
			return t, err
		}
		t = c.fill(t)
		t.Context = name
	}
	if t.URL == "" {
		t.URL = nats.DefaultURL
	}
	return t, nil
}

// currentContext returns the name of the context in force, "" for none.
func currentContext() (string, error) {
	if name := os.Getenv("NATS_CONTEXT"); name != "" {
		return name, nil
	}
	dir, err := contextDir()
	if err != nil {
		return "", nil // no home directory: nothing can be selected there
	}
	b, err := os.ReadFile(filepath.Join(dir, "context.txt"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("source: selected NATS context: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func contextDir() (string, error) {
	parent := os.Getenv("XDG_CONFIG_HOME")
	if parent == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		parent = filepath.Join(home, ".config")
	}
	return filepath.Join(parent, "nats"), nil
}

// natsContext is what the nats command writes for a context, as far as we read it.
type natsContext struct {
	URL         string `json:"url"`
	Token       string `json:"token"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Creds       string `json:"creds"`
	NKey        string `json:"nkey"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	TLSFirst    bool   `json:"tls_first"`
	Domain      string `json:"jetstream_domain"`
	InboxPrefix string `json:"inbox_prefix"`

	NSC      string `json:"nsc"` // these would be needed to connect, and we cannot use them
	UserJWT  string `json:"user_jwt"`
	UserSeed string `json:"user_seed"`
	Proxy    string `json:"socks_proxy"`
	API      string `json:"jetstream_api_prefix"`
}

func readContext(name string) (*natsContext, error) {
	if name != filepath.Base(name) || name == "." || name == ".." {
		return nil, fmt.Errorf("source: %q is not the name of a NATS context", name)
	}
	dir, err := contextDir()
	if err != nil {
		return nil, fmt.Errorf("source: NATS context %q: %w", name, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "context", name+".json"))
	if err != nil {
		return nil, hint.Error(fmt.Errorf("source: NATS context %q: %w", name, err), "nats context ls shows those that are there, for this user")
	}
	c := new(natsContext)
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("source: NATS context %q: %w", name, err)
	}
	for field, value := range map[string]string{"nsc": c.NSC, "user_jwt": c.UserJWT, "user_seed": c.UserSeed, "socks_proxy": c.Proxy, "jetstream_api_prefix": c.API} {
		if value != "" {
			err := fmt.Errorf("source: NATS context %q sets %s, which foldrun does not support", name, field)
			return nil, hint.Error(err, "give the connection without a context: url, and creds or the like")
		}
	}
	for field, path := range map[string]*string{"creds": &c.Creds, "nkey": &c.NKey, "cert": &c.Cert, "key": &c.Key, "ca": &c.CA} {
		scheme, rest, found := strings.Cut(*path, "://")
		switch {
		case found && scheme == "file":
			*path = rest
		case found, strings.HasPrefix(*path, "data:"):
			return nil, fmt.Errorf("source: NATS context %q: %s must be a path, not of the scheme %q", name, field, scheme)
		}
		*path = expandHome(*path)
	}
	return c, nil
}

func expandHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// fill returns t with what it leaves open taken from c. The credentials are taken together or not at all.
func (c *natsContext) fill(t Target) Target {
	if t.URL == "" {
		t.URL = c.URL
	}
	if t.Creds == "" && t.NKey == "" && t.User == "" && t.Token == "" {
		t.Creds, t.NKey, t.User, t.Password, t.Token = c.Creds, c.NKey, c.User, c.Password, c.Token
	}
	if t.TLSCert == "" && t.TLSKey == "" {
		t.TLSCert, t.TLSKey = c.Cert, c.Key
	}
	if t.TLSCA == "" {
		t.TLSCA = c.CA
	}
	t.TLSFirst = t.TLSFirst || c.TLSFirst
	if t.Domain == "" {
		t.Domain = c.Domain
	}
	if t.InboxPrefix == "" {
		t.InboxPrefix = c.InboxPrefix
	}
	return t
}
