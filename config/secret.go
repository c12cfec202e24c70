package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// A Secret is where a secret is, never the secret. At most one field is set; the zero value is no secret.
type Secret struct {
	File string // an absolute path
	Env  string // the name of a variable of the environment
}

// ErrNoSecret is the error of reading a secret whose variable or file is empty.
var ErrNoSecret = errors.New("config: empty secret")

// IsZero reports whether no secret was given.
func (s Secret) IsZero() bool { return s == Secret{} }

// String is the reference, as the file has it: "env:NAME", "file:/path", or "".
func (s Secret) String() string {
	switch {
	case s.Env != "":
		return "env:" + s.Env
	case s.File != "":
		return "file:" + s.File
	}
	return ""
}

// MarshalText encodes the reference, for JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// maxSecret bounds what is read of a secret's file: a path to the wrong file must not fill the memory.
const maxSecret = 64 << 10

// Read returns the secret as it is now, without the line end of a file. The zero Secret is "". Call it at each
// connection, so that a secret may change while foldrun runs. An error names the reference.
func (s Secret) Read() (string, error) {
	if s.IsZero() {
		return "", nil
	}
	text, err := s.read()
	if err != nil {
		return "", err
	}
	if text = strings.TrimRight(text, "\r\n"); text == "" {
		return "", fmt.Errorf("%w: %s", ErrNoSecret, s)
	}
	return text, nil
}

func (s Secret) read() (string, error) {
	if s.Env != "" {
		return os.Getenv(s.Env), nil
	}
	f, err := os.Open(s.File)
	if err != nil {
		return "", fmt.Errorf("config: secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("config: secret: %w", err)
	}
	if len(b) > maxSecret {
		return "", fmt.Errorf("config: secret: %s is larger than %s", s, formatSize(maxSecret))
	}
	return string(b), nil
}

// How a secret may be referred to: creds and nkey name files, as everywhere in NATS; where people might write the secret
// itself, a file must say file:.
type secretForm int

const (
	secretFile      secretForm = iota // path, file:path or env:NAME
	secretReference                   // file:path or env:NAME
)

// secret reads a reference. Its problems never show the value, which may be the secret itself.
func (t *table) secret(key string, dst *Secret, form secretForm) {
	v, ok := t.take(key)
	if !ok || v == any("") {
		return
	}
	hint := fmt.Sprintf(`write %s = "file:PATH" or "env:NAME"`, key)
	s, isString := v.(string)
	if !isString {
		t.problem(key, "wants a string, has "+kind(v), hint)
		return
	}
	if name, isEnv := strings.CutPrefix(s, "env:"); isEnv {
		if !envForm.MatchString(name) {
			t.problem(key, "env: is not followed by the name of a variable", hint)
			return
		}
		*dst = Secret{Env: name}
		return
	}
	path, isFile := strings.CutPrefix(s, "file:")
	if path == "" {
		t.problem(key, "file: is not followed by a path", hint)
		return
	}
	if !t.holds(key, path, []rule{pathRule}) {
		return
	}
	if !isFile && (form == secretReference || looksSecret(path)) {
		t.problem(key, "wants the place of a secret, not the secret", hint)
		return
	}
	*dst = Secret{File: t.file.resolve(path)}
}

var seedForm = regexp.MustCompile(`^S[A-Z2-7]{50,}$`)

func looksSecret(s string) bool {
	return seedForm.MatchString(s) || strings.Contains(s, "-----BEGIN") || strings.Contains(s, "\n")
}
