package serve

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/foldrun/foldrun/abi"
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

// forms are how a byte parameter may be given: as it is under its name, or coded under its name and one of these.
var forms = []struct {
	suffix, what, hint string
	decode             func(string) ([]byte, error)
}{
	{"64", "base64", "a - and a _ stand for + and /, which a query would have to escape", decode64},
	{"hex", "hexadecimal", "write two digits a byte", hex.DecodeString},
	{"tuple", "a tuple", `write it as ("DE",42), percent-encoded`, decodeTuple},
}

// decode64 reads base64 of either alphabet, padded or not.
func decode64(s string) ([]byte, error) {
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	return base64.RawURLEncoding.DecodeString(s)
}

func decodeTuple(s string) ([]byte, error) {
	elements, err := abi.ParseTuple(s)
	return abi.Tuple{}.Append(elements...), err
}

// all returns the values of a byte parameter, in the order in which they are given in each form.
func (p *params) all(name string) (all [][]byte) {
	p.known = append(p.known, name)
	for _, plain := range p.values[name] {
		all = append(all, []byte(plain))
	}
	for _, form := range forms {
		p.known = append(p.known, name+form.suffix)
		for _, coded := range p.values[name+form.suffix] {
			b, err := form.decode(coded)
			if err != nil {
				p.bad(form.hint, "%s is not %s", name+form.suffix, form.what)
			}
			all = append(all, b)
		}
	}
	return all
}

// bytes returns a byte parameter that may be given once.
func (p *params) bytes(name string) ([]byte, bool) {
	all := p.all(name)
	if len(all) > 1 {
		p.bad("give it once, in one form", "%s is given %d times", name, len(all))
	}
	if len(all) == 0 {
		return nil, false
	}
	return all[0], true
}

// must returns a byte parameter that has to be given.
func (p *params) must(name, what string) []byte {
	b, have := p.bytes(name)
	if !have {
		p.bad(fmt.Sprintf("add ?%s=…, percent-encoded, or ?%s64=…", name, name), "no %s is given", what)
	}
	return b
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

// limit returns the rows of a page.
func (p *params) limit() int { return p.limitTo(query.MaxRows, query.DefaultRows) }

// limitTo returns the parameter limit, 1 to most; one that is not given is that of none.
func (p *params) limitTo(most, none int) int {
	v, have := p.one("limit")
	if !have {
		return none
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		p.bad(fmt.Sprintf("write a number from 1 to %d, and ask for the rest with what \"next\" holds", most), "limit is %q", v)
	}
	return n
}

// format returns how rows are written.
func (p *params) format() query.Format {
	v, _ := p.one("encoding")
	if !slices.Contains([]string{"", "text", "base64", "hex"}, v) {
		p.bad("write text, base64 or hex", "encoding is %q", v)
	}
	if v == "text" {
		v = ""
	}
	return query.Format{Encoding: query.Encoding(v), JSON: p.flag("json"), Tuple: p.flag("tuple")}
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

// keys returns the keys of a get.
func (p *params) keys() [][]byte {
	keys := p.all("key")
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
