package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Collisions says what a read gives when several source keys claim one derived key.
type Collisions string

const (
	All    Collisions = "all"    // every claimant
	Latest Collisions = "latest" // the claimant whose source has the highest seq
)

// IndexSpec names an index of a fold. Its place in the identity is its ordinal in keys and frames.
type IndexSpec struct {
	Name       string     `json:"name"`
	Collisions Collisions `json:"collisions"`
}

// Identity is everything that the rows of a generation are a function of, besides the source's records. Another
// identity is another generation.
type Identity struct {
	Format   int              `json:"format"`   // of the database; 0 = FormatVersion
	Fold     string           `json:"fold"`     // the fold's name
	Module   string           `json:"module"`   // sha256 of the module's sections but the custom ones, hexadecimal
	Manifest json.RawMessage  `json:"manifest"` // its meaning: indexes, wants, abi, codec
	Config   json.RawMessage  `json:"config"`   // [fold.NAME.config] as canonical JSON
	Stream   string           `json:"stream"`
	Domain   string           `json:"domain"`
	Filter   string           `json:"filter"`
	Keying   string           `json:"keying"` // one of the Keying… constants
	OnEvict  string           `json:"on_evict"`
	OnError  string           `json:"on_error"`
	Limits   map[string]int64 `json:"-"`     // beside the identity, see DB.Raise; by name, higher ones let more through
	Meter    int              `json:"meter"` // version of the fuel meter; 0 = none
	Indexes  []IndexSpec      `json:"indexes"`

	// KeepSource has the store keep the record of each lineage, so that a generation can be built from them: see Record. It is
	// part of the identity because a store that began without them has not all of them.
	KeepSource bool `json:"keep_source,omitempty"`
}

// What a source key is.
const (
	KeyingKey     = "key" // of a KV bucket
	KeyingSubject = "subject"
	KeyingMessage = "message" // the seq of the message
)

// canonical returns the bytes that are hashed and stored. Struct fields keep their order and maps are sorted.
func (id Identity) canonical() ([]byte, error) {
	id.Format = cmp.Or(id.Format, FormatVersion)
	b, err := json.Marshal(id)
	if err != nil {
		return nil, fmt.Errorf("store: identity of fold %s: %w", id.Fold, err)
	}
	return b, nil
}

// Generation returns the name of the first generation that has this identity: 16 hexadecimal digits.
func (id Identity) Generation() (string, error) { return id.Build(1) }

// Build returns the name of the nth generation that has this identity, counted from 1: the digits, and from the second
// on a hyphen and n.
func (id Identity) Build(n int) (string, error) {
	b, err := id.canonical()
	if err != nil {
		return "", err
	}
	return buildName(generationOf(b), n), nil
}

func buildName(hash string, n int) string {
	if n == 1 {
		return hash
	}
	return hash + "-" + strconv.Itoa(n)
}

var generationName = regexp.MustCompile(`^([0-9a-f]{16})(?:-([1-9][0-9]*))?$`)

// Number returns which generation of its identity a generation is, counted from 1; 0 for what is no name of one.
func Number(generation string) int {
	m := generationName.FindStringSubmatch(generation)
	if m == nil {
		return 0
	}
	if m[2] == "" {
		return 1
	}
	n, _ := strconv.Atoi(m[2])
	return n
}

// SameIdentity reports whether two generations are of one identity.
func SameIdentity(a, b string) bool {
	a, _, _ = strings.Cut(a, "-")
	b, _, _ = strings.Cut(b, "-")
	return a == b
}

// Has reports whether a generation is one of this identity.
func (id Identity) Has(generation string) bool {
	first, err := id.Generation()
	return err == nil && SameIdentity(first, generation)
}

func generationOf(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:8])
}

// A Change is a field in which two identities differ, as JSON.
type Change struct {
	Field string `json:"field"`
	Was   string `json:"was"`
	Is    string `json:"is"`
}

// Changes returns the fields in which another identity differs from this one, sorted.
func (id Identity) Changes(other Identity) (all []Change) {
	fields := func(x Identity) (m map[string]json.RawMessage) {
		if b, err := x.canonical(); err == nil {
			json.Unmarshal(b, &m)
		}
		if b, err := json.Marshal(x.Limits); err == nil {
			m["limits"] = b
		}
		m["keep_source"] = strconv.AppendBool(nil, x.KeepSource)
		return m
	}
	was, is := fields(id), fields(other)
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if string(was[name]) != string(is[name]) {
			all = append(all, Change{name, string(was[name]), string(is[name])})
		}
	}
	return all
}

// Differs names the fields in which two identities differ.
func (id Identity) Differs(other Identity) string {
	var names []string
	for _, c := range id.Changes(other) {
		names = append(names, c.Field)
	}
	return strings.Join(names, ", ") + " differ"
}
