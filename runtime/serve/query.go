package serve

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/foldrun/foldrun/runtime/query"
	"github.com/foldrun/foldrun/store"
)

// params reads the parameters of a query. The first that is wrong is kept as its error.
type params struct {
	values url.Values
	known  []string
	err    error
}

func parse(r *http.Request) *params {
	values, err := url.ParseQuery(r.URL.RawQuery)
	p := &params{values: values}
	if err != nil {
		p.bad("percent-encode every byte but letters, digits and -_.~", "the query is malformed: %v", err)
	}
	return p
}

func (p *params) bad(hint, format string, args ...any) {
	if p.err == nil {
		p.err = &fault{http.StatusBadRequest, query.Parameter, fmt.Sprintf(format, args...), hint}
	}
}

// one returns a parameter that may be given once.
func (p *params) one(name string) (string, bool) {
	p.known = append(p.known, name)
	all := p.values[name]
	if len(all) > 1 {
		p.bad("give it once", "%s is given %d times", name, len(all))
	}
	if len(all) == 0 {
		return "", false
	}
	return all[0], true
}

// bytes returns a byte parameter: as it is under its name, or as base64 under its name and "64".
func (p *params) bytes(name string) ([]byte, bool) {
	plain, have := p.one(name)
	coded, have64 := p.one(name + "64")
	if have && have64 {
		p.bad("give one of them", "%s and %s64 are both given", name, name)
	}
	if !have64 {
		if !have {
			return nil, false
		}
		return []byte(plain), true
	}
	return p.decode(name+"64", coded), true
}

func (p *params) decode(name, coded string) []byte {
	b, err := decode64(coded)
	if err != nil {
		p.bad("a - and a _ stand for + and /, which a query would have to escape", "%s is not base64", name)
	}
	return b
}

// must returns a byte parameter that has to be given.
func (p *params) must(name, what string) []byte {
	b, have := p.bytes(name)
	if !have {
		p.bad(fmt.Sprintf("add ?%s=…, percent-encoded, or ?%s64=…", name, name), "no %s is given", what)
	}
	return b
}

// decode64 reads base64 of either alphabet, padded or not.
func decode64(s string) ([]byte, error) {
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	return base64.RawURLEncoding.DecodeString(s)
}

func (p *params) flag(name string) bool {
	v, have := p.one(name)
	switch {
	case !have, v == "0", v == "false":
		return false
	case v == "1", v == "true":
		return true
	}
	p.bad("write 1 or 0", "%s is %q", name, v)
	return false
}

func (p *params) limit() int {
	v, have := p.one("limit")
	if !have {
		return query.DefaultRows
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > query.MaxRows {
		p.bad(fmt.Sprintf("write a number from 1 to %d, and ask for the next page with what \"next\" holds", query.MaxRows), "limit is %q", v)
	}
	return n
}

// done returns the first problem; a parameter that nobody asked for is one.
func (p *params) done() error {
	known := "nothing is asked with parameters here"
	if len(p.known) > 0 {
		known = "known are " + strings.Join(p.known, ", ")
	}
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		if !slices.Contains(p.known, name) {
			p.bad(known, "there is no parameter %q", name)
		}
	}
	return p.err
}

// keys returns the keys of a get, each given as bytes returns them.
func (p *params) keys() (keys [][]byte) {
	p.known = append(p.known, "key", "key64")
	for _, plain := range p.values["key"] {
		keys = append(keys, []byte(plain))
	}
	for _, coded := range p.values["key64"] {
		keys = append(keys, p.decode("key64", coded))
	}
	if len(keys) == 0 {
		p.bad("add ?key=…, percent-encoded, or ?key64=…", "no key is given")
	}
	return keys
}

// mark returns the place after which a page starts, nil: at the beginning.
func (p *params) mark() *store.Mark {
	key, haveKey := p.bytes("after_key")
	source, haveSource := p.bytes("after_source")
	if haveKey != haveSource {
		p.bad(`give both, as "next" of the page before has them`, "one of after_key and after_source is given")
	}
	if !haveKey {
		return nil
	}
	return &store.Mark{Key: key, Source: source}
}
