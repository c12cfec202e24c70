package abi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const (
	ManifestSection = "foldrun.manifest"
	DefaultIndex    = "main"   // the one index of a manifest that names none
	WantDelete      = "delete" // the guest is shown deletes and purges

	MaxManifestBytes = 1 << 20
	MaxIndexes       = 256
	MaxNameBytes     = 64

	// TupleCodec is the version of the key codec that all SDKs share.
	TupleCodec = 1
)

// A Manifest is what a module says of itself, in its custom section ManifestSection, as JSON. It is readable without
// running the module.
type Manifest struct {
	Name         string          `json:"name"`                    // [a-z0-9_-]{1,64}
	Version      string          `json:"version,omitempty"`       // free text, up to 64 bytes
	ABI          int             `json:"abi"`                     // Version
	Indexes      []string        `json:"indexes,omitempty"`       // an entry's index is the ordinal here; never empty after ReadManifest
	Wants        []string        `json:"wants,omitempty"`         // WantDelete
	ConfigSchema json.RawMessage `json:"config_schema,omitempty"` // a JSON object
	Limits       ManifestLimits  `json:"limits,omitzero"`
	SDK          string          `json:"sdk,omitempty"` // free text, up to 64 bytes
}

// ManifestLimits are the limits a module asks for; 0 asks for nothing. The operator's configuration decides.
type ManifestLimits struct {
	Memory           int64 `json:"memory,omitempty"`             // bytes
	FuelPerRecord    int64 `json:"fuel_per_record,omitempty"`    // instructions, as the host's meter counts them
	EntriesPerRecord int64 `json:"entries_per_record,omitempty"` // entries
	BytesPerRecord   int64 `json:"bytes_per_record,omitempty"`   // bytes of keys and values
}

// ReadManifest reads the manifest of a module. A module without one is no error: found is false. The result shares no
// memory with wasm.
func ReadManifest(wasm []byte) (m Manifest, found bool, err error) {
	text, found, err := findManifest(wasm)
	if err != nil {
		return Manifest{}, false, fmt.Errorf("abi: manifest: %w", err)
	}
	if !found {
		return Manifest{}, false, nil
	}
	if m, err = parseManifest(text); err != nil {
		return Manifest{}, true, fmt.Errorf("abi: manifest: %w", err)
	}
	return m, true, nil
}

// AppendManifest returns a copy of a module that has m as its manifest, in the place of any other. An m without ABI
// gets Version.
func AppendManifest(wasm []byte, m Manifest) ([]byte, error) {
	if m.ABI == 0 {
		m.ABI = Version
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("abi: manifest: %w", err)
	}
	text, err := encodeManifest(m)
	if err != nil {
		return nil, fmt.Errorf("abi: manifest: %w", err)
	}
	out := make([]byte, 0, len(wasm)+len(ManifestSection)+len(text)+12)
	out = append(out, wasm[:min(wasmHeader, len(wasm))]...)
	err = sections(wasm, func(s section) error {
		if _, ours, err := s.manifest(); err != nil || ours {
			return err
		}
		out = append(out, wasm[s.start:s.end]...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("abi: manifest: %w", err)
	}
	return appendCustom(out, ManifestSection, text), nil
}

// WantsDelete reports whether the guest is shown deletes and purges.
func (m Manifest) WantsDelete() bool { return slices.Contains(m.Wants, WantDelete) }

// Meaning returns, as canonical text, what of a manifest is part of a generation's identity: the abi, the key codec,
// the indexes in their order, since an entry names its index by ordinal, and the wants. Name, version, sdk, schema
// and limits are not: they do not change what rows a record yields.
func (m Manifest) Meaning() []byte {
	abi := m.ABI
	if abi == 0 {
		abi = Version
	}
	b := fmt.Appendf(nil, "abi %d\ncodec %d\n", abi, TupleCodec)
	for _, name := range m.indexes() {
		b = fmt.Appendf(b, "index %q\n", name)
	}
	for _, want := range slices.Sorted(slices.Values(m.Wants)) {
		b = fmt.Appendf(b, "want %q\n", want)
	}
	return b
}

func (m Manifest) indexes() []string {
	if len(m.Indexes) == 0 {
		return []string{DefaultIndex}
	}
	return m.Indexes
}

// findManifest returns the text of the manifest's section.
func findManifest(wasm []byte) (text []byte, found bool, err error) {
	err = sections(wasm, func(s section) error {
		data, ours, err := s.manifest()
		if err != nil || !ours {
			return err
		}
		if found {
			return fmt.Errorf("a second section %q at byte %d: a module has one: build it again", ManifestSection, s.start)
		}
		text, found = data, true
		return nil
	})
	return text, found && err == nil, err
}

// manifest returns the text of s if it is a manifest's section.
func (s section) manifest() (text []byte, ours bool, err error) {
	if s.id != customSection {
		return nil, false, nil
	}
	name, data, err := s.custom()
	return data, name == ManifestSection, err
}

// validate checks what m says; its texts name the field and the mend.
func (m Manifest) validate() error {
	if err := checkABI(m.ABI); err != nil {
		return err
	}
	if err := checkName("name", m.Name); err != nil {
		return err
	}
	if err := checkText("version", m.Version); err != nil {
		return err
	}
	if err := checkText("sdk", m.SDK); err != nil {
		return err
	}
	if err := checkIndexes(m.Indexes); err != nil {
		return err
	}
	if err := checkWants(m.Wants); err != nil {
		return err
	}
	if err := checkSchema(m.ConfigSchema); err != nil {
		return err
	}
	return m.Limits.validate()
}

func checkABI(abi int) error {
	switch {
	case abi > Version:
		return fmt.Errorf("abi: the module speaks version %d, this foldrun speaks version %d: use a newer foldrun, or build the module with an SDK for version %d", abi, Version, Version)
	case abi < Version:
		return fmt.Errorf("abi: the module speaks version %d, this foldrun speaks version %d: build the module with a current SDK", abi, Version)
	}
	return nil
}

func checkIndexes(names []string) error {
	if len(names) > MaxIndexes {
		return fmt.Errorf("indexes: %d of them, more than %d: split the module into several folds", len(names), MaxIndexes)
	}
	for i, name := range names {
		if err := checkName(fmt.Sprintf("indexes[%d]", i), name); err != nil {
			return err
		}
		if first := slices.Index(names, name); first < i {
			return fmt.Errorf("indexes[%d]: %q is indexes[%d] already: give each index its own name", i, name, first)
		}
	}
	return nil
}

func checkWants(wants []string) error {
	for i, want := range wants {
		if want != WantDelete {
			return fmt.Errorf("wants[%d]: unknown want %q: the only one is %q", i, want, WantDelete)
		}
		if i > 0 {
			return fmt.Errorf("wants[%d]: %q again: name it once", i, want)
		}
	}
	return nil
}

func checkSchema(schema json.RawMessage) error {
	if len(schema) == 0 {
		return nil
	}
	if !json.Valid(schema) || bytes.TrimLeft(schema, " \t\r\n")[0] != '{' {
		return fmt.Errorf("config_schema: not a JSON object: write a JSON Schema, or leave it out")
	}
	return nil
}

func (l ManifestLimits) validate() error {
	for _, f := range l.fields() {
		if n := *f.value.(*int64); n < 0 {
			return fmt.Errorf("limits.%s: %d is negative: leave it out to ask for nothing", f.name, n)
		}
	}
	return nil
}

// checkName checks a name that stands in paths, subjects and metrics.
func checkName(field, name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789_-"
	if name == "" {
		return fmt.Errorf("%s: missing or empty: give it 1 to %d of the characters a-z 0-9 _ -", field, MaxNameBytes)
	}
	if len(name) > MaxNameBytes || strings.Trim(name, allowed) != "" {
		return fmt.Errorf("%s: %.80q is no name: use 1 to %d of the characters a-z 0-9 _ -", field, name, MaxNameBytes)
	}
	return nil
}

// checkText checks a text that is shown and otherwise means nothing: printable ASCII, so that no terminal is harmed.
func checkText(field, text string) error {
	unprintable := func(r rune) bool { return r < ' ' || r > '~' }
	if len(text) > MaxNameBytes || strings.ContainsFunc(text, unprintable) {
		return fmt.Errorf("%s: %.80q: use up to %d printable ASCII characters", field, text, MaxNameBytes)
	}
	return nil
}
