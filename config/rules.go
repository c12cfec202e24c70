package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	nameForm     = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	instanceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)
	bucketForm   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,252}$`) // its stream is KV_ and this, at most 255 long
	tokenForm    = regexp.MustCompile(`^[^\s.*>/\\\x00-\x20\x7f]{1,255}$`)
	objectForm   = regexp.MustCompile(`^[A-Za-z0-9_-]+/.+$`)
	keyForm      = regexp.MustCompile(`^[UAONC][A-Z2-7]{55}$`)
	sha256Form   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	envForm      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	prefixForm   = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,7}$`)
	notInName    = regexp.MustCompile(`[^a-z0-9_-]+`)
)

// like is the rule that a value has a form.
func like(form *regexp.Regexp, hint string) rule {
	return func(v string) (string, string) {
		if form.MatchString(v) {
			return "", ""
		}
		return quote(v) + " has not the right form", hint
	}
}

var (
	instanceRule = like(instanceForm, "letters, digits, dot, dash and underscore, at most 255")
	bucketRule   = like(bucketForm, "a bucket's name has letters, digits, dash and underscore")
	tokenRule    = like(tokenForm, "a name without spaces, dots, slashes and wildcards")
	prefixRule   = like(prefixForm, "up to eight names with a dot between: foldrun, or prod.indexes")
	contextRule  = like(regexp.MustCompile(`^[^\s/\\]+$`), "a name that `nats context ls` shows")
	objectRule   = like(objectForm, `write "bucket/name"`)
	keyRule      = like(keyForm, "a public nkey, as foldrun plugin key prints it: U and 55 more capital letters and digits")
	sha256Rule   = like(sha256Form, "64 lower-case hex digits, as sha256sum prints them")
)

// checkName checks the name of a table, which users choose.
func (t *table) checkName(what, name string) {
	if t.file.describing || nameForm.MatchString(name) {
		return
	}
	hint := "a small letter or digit, then those, dash and underscore, at most 63"
	better := strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), "-"), "-_")
	if nameForm.MatchString(better) {
		hint = fmt.Sprintf("write %s: %s", better, hint)
	}
	t.lacks(fmt.Sprintf("%s cannot name %s", quote(name), what), hint)
}

func globRule(v string) (text, hint string) {
	if _, err := filepath.Match(v, ""); err != nil || v == "" {
		return quote(v) + " is no pattern", `write a path, or a pattern such as "folds.d/*.toml"`
	}
	return "", ""
}

// filterRule: a subject with wildcards. A wildcard inside a token is legal for NATS, and matches only itself: a trap.
func filterRule(v string) (text, hint string) {
	tokens := strings.Split(v, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			return quote(v) + " has an empty token", "tokens stand between single dots"
		case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f }):
			return quote(v) + " has a space in it", "a subject has no spaces"
		case token == ">" && i < len(tokens)-1:
			return quote(v) + " goes on after >", "> stands for all the rest: use * for one token"
		case len(token) > 1 && strings.ContainsAny(token, "*>"):
			return quote(v) + " has a wildcard inside a token", "* and > stand for whole tokens, between dots"
		}
	}
	return "", ""
}

// urlRule never shows the value: it may carry credentials.
func urlRule(v string) (text, hint string) {
	const form = `write "nats://host:4222"; the schemes are nats, tls, ws and wss, and commas part several servers`
	if strings.Contains(v, "@") {
		return "carries credentials", "give them by user and password, token, creds or nkey"
	}
	for one := range strings.SplitSeq(v, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return "is no address of a NATS server", form
		}
	}
	return "", ""
}

func addressRule(v string) (text, hint string) {
	_, port, err := net.SplitHostPort(v)
	if n, bad := strconv.Atoi(port); err == nil && bad == nil && n >= 0 && n <= 65535 {
		return "", ""
	}
	return quote(v) + " is no address", `write "127.0.0.1:8480"`
}

// Loopback reports whether an address is reached from its own machine only.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func checkHTTP(t *table, h *HTTP) {
	checkListen(t, "listen", h.Listen, h)
	if h.OpsListen != "" {
		checkListen(t, "ops_listen", h.OpsListen, h)
	}
	if _, port, _ := net.SplitHostPort(h.Listen); h.Listen == h.OpsListen && port != "0" {
		t.problem("ops_listen", "is the address of listen", "give it a port of its own, or leave it out")
	}
	if (h.TLSCert == "") != (h.TLSKey == "") && !t.faulted["tls_cert"] && !t.faulted["tls_key"] {
		t.lacks("tls_cert and tls_key go together", "set both or none")
	}
}

// checkListen: without tokens anybody who reaches the port reads everything.
func checkListen(t *table, key, address string, h *HTTP) {
	if Loopback(address) || h.Tokens != "" || t.faulted["tokens"] {
		return
	}
	t.problem(key, quote(address)+" is reached from beyond this machine, and there are no tokens",
		`set tokens to a file with a line that foldrun token new prints, or listen on a port of "127.0.0.1"`)
}

func checkNATS(t *table, n NATS) {
	if t.values == nil || t.file.describing {
		return
	}
	switch {
	case n.Context != "":
		alone := NATS{Context: n.Context, Domain: n.Domain}
		if n != alone {
			t.problem("context", "stands beside other keys", "a context brings its own server and credentials: keep it alone")
		}
		return
	case n.URL == "" && !t.faulted["url"] && !t.faulted["context"]:
		t.lacks("needs url or context", "leave the table out to take them from the environment")
	}
	checkAuth(t, n)
	if (n.TLSCert == "") != (n.TLSKey == "") && !t.faulted["tls_cert"] && !t.faulted["tls_key"] {
		t.lacks("tls_cert and tls_key go together", "set both or none")
	}
}

func checkAuth(t *table, n NATS) {
	var ways []string
	for _, way := range []struct {
		key string
		set bool
	}{{"creds", !n.Creds.IsZero()}, {"nkey", !n.NKey.IsZero()}, {"user", n.User != ""}, {"token", !n.Token.IsZero()}} {
		if way.set {
			ways = append(ways, way.key)
		}
	}
	if len(ways) > 1 {
		t.lacks(strings.Join(ways, " and ")+" exclude each other", "keep one")
	}
	if (n.User == "") != n.Password.IsZero() && !t.faulted["user"] && !t.faulted["password"] {
		t.lacks("user and password go together", "set both or none")
	}
}

// checkConnection: the environment's connection, "default", needs no table.
func (f *file) checkConnection(t *table, name string) {
	if _, ok := f.connections[name]; ok || name == "default" || name == "" {
		return
	}
	hint := fmt.Sprintf("add [%s] with its url to the main file", dotted([]string{"nats", name}))
	names := append(slices.Sorted(maps.Keys(f.connections)), "default")
	if near := Nearest(name, names); near != "" {
		hint = fmt.Sprintf("the nearest is %q", near)
	}
	t.problem("nats", fmt.Sprintf("there is no [%s]", dotted([]string{"nats", name})), hint)
}

func checkFold(t, source, module *table, fold Fold) {
	if t.file.describing {
		return
	}
	if !t.faulted["source"] {
		oneOf(source, "bucket", fold.Source.Bucket, "stream", fold.Source.Stream)
	}
	if !t.faulted["module"] {
		oneOf(module, "path", fold.Module.Path, "object", fold.Module.Object)
		checkObject(module, fold.Module)
	}
	if fold.Source.Keying == "message" && fold.Source.Bucket != "" {
		source.problem("keying", `"message" is for streams: a bucket's keys are its keys`, `leave it out, or name stream = "KV_…"`)
	}
}

func checkGate(t *table, g Gate) {
	switch {
	case t.file.describing:
	case g.Key != nil && g.Prefix != "":
		t.problem("prefix", "stands beside key", "keep one of them")
	case g.Value != nil && g.Key == nil && !t.faulted["key"]:
		t.problem("value", "is of one key", `write key = "…" beside it`)
	case g.Value != nil && g.AtMost == 0:
		t.problem("value", "cannot be there with at_most = 0", "leave one of them out")
	case g.AtMost >= 0 && g.AtLeast > g.AtMost:
		t.problem("at_most", "is less than at_least", "no number of rows is both")
	}
}

// checkObject: whoever can write to an object store would run code here.
func checkObject(t *table, m Module) {
	if m.Object == "" || m.Path != "" || m.SHA256 != "" || t.file.trusting || t.faulted["sha256"] {
		return
	}
	t.problem("object", "is neither pinned nor signed", "set sha256 here, or trusted_keys in the main file; docs/modules.md tells of both")
}

// oneOf: exactly one of two keys. What has a problem already, or was misspelt, is taken as given.
func oneOf(t *table, a, aValue, b, bValue string) {
	switch {
	case aValue != "" && bValue != "":
		t.problem(b, "stands beside "+a, "keep one of them")
	case aValue == "" && bValue == "" && !t.faulted[a] && !t.faulted[b]:
		t.lacks(fmt.Sprintf("needs %s or %s", a, b), fmt.Sprintf(`write %s = "…" in [%s]`, a, dotted(t.path)))
	}
}
