package serve

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/foldrun/foldrun/hint"
)

// A file of tokens has a line for each, of four fields parted by spaces; what follows a # is a comment:
//
//	# name   scope  folds         hash
//	grafana  read   users,orders  sha256:9f86d081…
//	oncall   admin  *             sha256:60303ae2…
//
// The hash is that of the token, so that whoever reads the file can do nothing with it. A token has 256 random bits:
// there is nothing to guess, and a slow hash would only cost each request.

// A Token is one line of such a file.
type Token struct {
	Name  string
	Admin bool     // scope admin: it may do what operators do; else scope read
	Folds []string // that it may see; nil = all

	hash [sha256.Size]byte
}

// The scopes of tokens.
const (
	ScopeRead  = "read"
	ScopeAdmin = "admin"
)

const (
	hashPrefix  = "sha256:"
	tokenPrefix = "foldrun_" // so that one can be recognized where it should not be
	allFolds    = "*"
)

var (
	tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	foldName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
)

// NewToken makes a token, and the line for it. No folds are all.
func NewToken(name, scope string, folds []string) (token, line string, err error) {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(token))
	seen := allFolds
	if len(folds) > 0 {
		seen = strings.Join(folds, ",")
	}
	fields := []string{name, scope, seen, hashPrefix + hex.EncodeToString(sum[:])}
	_, err = parseToken(fields)
	return token, strings.Join(fields, " "), err
}

// parseTokens reads the text of a file, or says all that is wrong with it. It repeats nothing of a line but its name:
// somebody may have written the token itself.
func parseTokens(text string) (all []Token, err error) {
	var problems []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		t, err := parseToken(fields)
		if err == nil {
			err = distinct(all, t)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		all = append(all, t)
	}
	if len(all) == 0 && len(problems) == 0 {
		problems = append(problems, errors.New("there is no token in it"))
	}
	return all, hint.Error(errors.Join(problems...), "a line is NAME SCOPE FOLDS sha256:HASH: what foldrun token new prints behind \"line:\"")
}

func parseToken(fields []string) (t Token, err error) {
	if len(fields) != 4 {
		return t, fmt.Errorf("it has %d fields, not 4", len(fields))
	}
	name, scope, folds, hash := fields[0], fields[1], fields[2], fields[3]
	if !tokenName.MatchString(name) {
		return t, errors.New("a name has letters, digits, dot, dash and underscore, at most 63")
	}
	t.Name, t.Admin = name, scope == ScopeAdmin
	if scope != ScopeRead && scope != ScopeAdmin {
		return t, fmt.Errorf("%s: the scope is neither read nor admin", name)
	}
	if folds != allFolds {
		t.Folds = strings.Split(folds, ",")
	}
	if slices.ContainsFunc(t.Folds, func(f string) bool { return !foldName.MatchString(f) }) {
		return t, fmt.Errorf("%s: the folds are neither * nor names of folds, parted by commas alone", name)
	}
	digits, ok := strings.CutPrefix(hash, hashPrefix)
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != len(t.hash) {
		return t, fmt.Errorf("%s: the last field is not %s and 64 hex digits; the token itself does not belong here", name, hashPrefix)
	}
	t.hash = [sha256.Size]byte(sum)
	return t, nil
}

// distinct refuses what would leave open who did something.
func distinct(all []Token, t Token) error {
	for _, other := range all {
		if other.Name == t.Name {
			return fmt.Errorf("%s: there are two tokens of that name", t.Name)
		}
		if other.hash == t.hash {
			return fmt.Errorf("%s: the token is that of %s", t.Name, other.Name)
		}
	}
	return nil
}

// Tokens are those of a file, as it is now.
type Tokens struct {
	log  *slog.Logger
	mu   sync.Mutex
	file watched
	all  []Token // replaced whole
	said string  // why the file is not read, as it was logged
}

// OpenTokens reads a file of tokens.
func OpenTokens(path string, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{log: log, file: watched{paths: []string{path}}}
	t.file.changed()
	var err error
	t.all, err = readTokens(path)
	return t, err
}

// maxTokens bounds a file of tokens: a path to the wrong file must not fill the memory.
const maxTokens = 1 << 20

func readTokens(path string) ([]Token, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, hint.Error(fmt.Errorf("tokens: %w", err), "foldrun token new prints a line for it")
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = writable(path, info)
	}
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTokens+1))
	if err == nil && len(b) > maxTokens {
		err = errors.New("it is larger than 1 MiB")
	}
	var all []Token
	if err == nil {
		all, err = parseTokens(string(b))
	}
	if err != nil {
		return nil, fmt.Errorf("tokens: %s: %w", path, err)
	}
	return all, nil
}

// All returns the tokens, read again if the file changed. One that cannot be read leaves those that were.
func (t *Tokens) All() []Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.file.changed() {
		return t.all
	}
	all, err := readTokens(t.file.paths[0])
	switch {
	case err != nil && err.Error() != t.said:
		t.said = err.Error()
		t.log.Warn("the tokens are kept as they were", "problem", err, "hint", hint.Of(err))
	case err == nil:
		if t.said != "" || !slices.EqualFunc(all, t.all, equalTokens) {
			t.log.Info("tokens read", "file", t.file.paths[0], "tokens", len(all))
			t.all = all
		}
		t.said = ""
	}
	return t.all
}

func equalTokens(a, b Token) bool {
	return a.Name == b.Name && a.Admin == b.Admin && a.hash == b.hash && slices.Equal(a.Folds, b.Folds)
}

// Exposed notes that every user of the machine may read the file: no harm to tokens, but nobody's business.
func (t *Tokens) Exposed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if info := t.file.infos[0]; info != nil {
		return readable(t.file.paths[0], info)
	}
	return nil
}

// find returns the token that a caller presents, nil if it is none. It takes as long whichever it is.
func (t *Tokens) find(presented string) (found *Token) {
	sum := sha256.Sum256([]byte(presented))
	all := t.All()
	for i := range all {
		if subtle.ConstantTimeCompare(sum[:], all[i].hash[:]) == 1 {
			found = &all[i]
		}
	}
	return found
}
