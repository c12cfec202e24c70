package abi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// A jsonField is a field of a JSON object and where its value goes.
type jsonField struct {
	name  string
	value any
}

// parseManifest reads a manifest's JSON strictly: encoding/json alone takes fields in any case, repeated ones and
// null, and each of them would hide a mistake.
func parseManifest(text []byte) (Manifest, error) {
	var m Manifest
	var limits json.RawMessage
	fields := []jsonField{
		{"name", &m.Name}, {"version", &m.Version}, {"abi", &m.ABI}, {"indexes", &m.Indexes}, {"wants", &m.Wants},
		{"config_schema", &m.ConfigSchema}, {"limits", &limits}, {"sdk", &m.SDK},
	}
	raw, err := members(text)
	if err != nil {
		return m, err
	}
	// The version comes first: what a newer one has in its other fields is not for us to judge.
	if _, has := raw["abi"]; !has {
		return m, fmt.Errorf("abi: missing: write \"abi\": %d", Version)
	}
	if err := decodeFields("", map[string]json.RawMessage{"abi": raw["abi"]}, fields); err != nil {
		return m, err
	}
	if err := checkABI(m.ABI); err != nil {
		return m, err
	}
	if err := decodeFields("", raw, fields); err != nil {
		return m, err
	}
	if err := m.Limits.parse(limits); err != nil {
		return m, err
	}
	if err := m.validate(); err != nil {
		return m, err
	}
	m.Indexes = m.indexes()
	return m, nil
}

func (l *ManifestLimits) parse(text json.RawMessage) error {
	if text == nil {
		return nil
	}
	raw, err := members(text)
	if err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	return decodeFields("limits.", raw, l.fields())
}

func (l *ManifestLimits) fields() []jsonField {
	return []jsonField{
		{"memory", &l.Memory}, {"fuel_per_record", &l.FuelPerRecord},
		{"entries_per_record", &l.EntriesPerRecord}, {"bytes_per_record", &l.BytesPerRecord},
	}
}

// members splits a JSON object into its members. A name that comes twice is an error.
func members(text []byte) (map[string]json.RawMessage, error) {
	switch {
	case len(text) > MaxManifestBytes:
		return nil, fmt.Errorf("%d bytes, more than %d: shorten config_schema", len(text), MaxManifestBytes)
	case !utf8.Valid(text):
		return nil, errors.New("not UTF-8: write it as UTF-8 JSON")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not a JSON object: it must begin with { and be complete")
	}
	raw := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, badJSON(d, err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, badJSON(d, err)
		}
		if _, twice := raw[name.(string)]; twice {
			return nil, fmt.Errorf("%.80q comes twice: write it once", name)
		}
		raw[name.(string)] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, badJSON(d, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more text after the JSON object, at byte %d: remove it", d.InputOffset())
	}
	return raw, nil
}

func badJSON(d *json.Decoder, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON ends in the middle: it must be complete")
	}
	return fmt.Errorf("not JSON near byte %d: %w", d.InputOffset(), err)
}

// decodeFields puts each member where fields say, in the order of names: the same text gives the same error.
func decodeFields(place string, raw map[string]json.RawMessage, fields []jsonField) error {
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		i := slices.IndexFunc(fields, func(f jsonField) bool { return f.name == name })
		if i < 0 {
			return fmt.Errorf("%sunknown field %.80q: the fields are %s", within(place), name, names(fields))
		}
		if string(raw[name]) == "null" {
			return fmt.Errorf("%s%s: null: leave the field out", place, name)
		}
		if err := json.Unmarshal(raw[name], fields[i].value); err != nil {
			return fmt.Errorf("%s%s: %w", place, name, wrongType(err, fields[i].value))
		}
	}
	return nil
}

// wrongType says in JSON's words what encoding/json says in Go's.
func wrongType(err error, value any) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	want := "a string"
	switch value.(type) {
	case *int, *int64:
		want = "a whole number"
	case *[]string:
		want = "a list of strings"
	}
	return fmt.Errorf("is or holds a %s: write %s", wrong.Value, want)
}

func within(place string) string {
	if place == "" {
		return ""
	}
	return strings.TrimSuffix(place, ".") + ": "
}

func names(fields []jsonField) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.name)
	}
	return strings.Join(all, ", ")
}

// encodeManifest writes m as parseManifest reads it, with < and > as they are: people read it.
func encodeManifest(m Manifest) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, err
	}
	if b.Len() > MaxManifestBytes {
		return nil, fmt.Errorf("%d bytes, more than %d: shorten config_schema", b.Len(), MaxManifestBytes)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
