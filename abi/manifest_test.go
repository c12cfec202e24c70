package abi_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
)

// code stands for the sections of a module that make it do something; nothing here looks into them.
const code = "\x01\x04\x01\x60\x00\x00" + "\x0a\x01\x00"

func module(sections ...string) []byte {
	return []byte("\x00asm\x01\x00\x00\x00" + strings.Join(sections, ""))
}

func custom(name, data string) string {
	payload := string(binary.AppendUvarint(nil, uint64(len(name)))) + name + data
	return "\x00" + string(binary.AppendUvarint(nil, uint64(len(payload)))) + payload
}

func manifest(text string) []byte { return module(custom(abi.ManifestSection, text)) }

// manifestCases are the texts of manifests, with the error that each gives: "" if none.
var manifestCases = []struct{ text, err string }{
	{`{"name":"users","abi":1}`, ""},
	{`{"name":"u_1-x","version":"v1.2.3+dirty","abi":1,"indexes":["by_email","main"],"wants":["delete"],"config_schema":{"type":"object"},"limits":{"memory":1048576,"fuel_per_record":5},"sdk":"go 1"}`, ""},
	{` { "abi" : 1 , "name" : "a" } ` + "\n", ""},

	{``, `not a JSON object: it must begin with { and be complete`},
	{`[]`, `not a JSON object: it must begin with { and be complete`},
	{`{"name":"a"`, `the JSON ends in the middle: it must be complete`},
	{`{"name":"a","abi":1}{}`, `more text after the JSON object, at byte 21: remove it`},
	{`{"name":a,"abi":1}`, `not JSON near byte 8: invalid character 'a' looking for beginning of value`},
	{"{\"name\":\"\xff\"}", `not UTF-8: write it as UTF-8 JSON`},
	{`{"name":"a","abi":1,"abi":1}`, `"abi" comes twice: write it once`},
	{`{"name":"a","abi":1,"index":[]}`, `unknown field "index": the fields are name, version, abi, indexes, wants, config_schema, limits, sdk`},
	{`{"Name":"a","abi":1}`, `unknown field "Name": the fields are name, version, abi, indexes, wants, config_schema, limits, sdk`},
	{`{"name":"a","abi":1,"limits":{"memori":1}}`, `limits: unknown field "memori": the fields are memory, fuel_per_record, entries_per_record, bytes_per_record`},
	{`{"name":"a","abi":1,"sdk":null}`, `sdk: null: leave the field out`},
	{`{"name":7,"abi":1}`, `name: is or holds a number: write a string`},
	{`{"name":"a","abi":"1"}`, `abi: is or holds a string: write a whole number`},
	{`{"name":"a","abi":1.5}`, `abi: is or holds a number 1.5: write a whole number`},
	{`{"name":"a","abi":1,"indexes":[1]}`, `indexes: is or holds a number: write a list of strings`},

	{`{"name":"a"}`, `abi: missing: write "abi": 1`},
	{`{"name":"a","abi":3,"colour":"red"}`, `abi: the module speaks version 3, this foldrun speaks version 1: use a newer foldrun, or build the module with an SDK for version 1`},
	{`{"name":"a","abi":0}`, `abi: the module speaks version 0, this foldrun speaks version 1: build the module with a current SDK`},
	{`{"abi":1}`, `name: missing or empty: give it 1 to 64 of the characters a-z 0-9 _ -`},
	{`{"name":"Users","abi":1}`, `name: "Users" is no name: use 1 to 64 of the characters a-z 0-9 _ -`},
	{`{"name":"a/../b","abi":1}`, `name: "a/../b" is no name: use 1 to 64 of the characters a-z 0-9 _ -`},
	{`{"name":"a","abi":1,"version":"v\u001b[2J"}`, `version: "v\x1b[2J": use up to 64 printable ASCII characters`},
	{`{"name":"a","abi":1,"indexes":["x",""]}`, `indexes[1]: missing or empty: give it 1 to 64 of the characters a-z 0-9 _ -`},
	{`{"name":"a","abi":1,"indexes":["x","y","x"]}`, `indexes[2]: "x" is indexes[0] already: give each index its own name`},
	{`{"name":"a","abi":1,"wants":["purge"]}`, `wants[0]: unknown want "purge": the only one is "delete"`},
	{`{"name":"a","abi":1,"wants":["delete","delete"]}`, `wants[1]: "delete" again: name it once`},
	{`{"name":"a","abi":1,"config_schema":true}`, `config_schema: not a JSON object: write a JSON Schema, or leave it out`},
	{`{"name":"a","abi":1,"limits":{"memory":-1}}`, `limits.memory: -1 is negative: leave it out to ask for nothing`},
	{`{"name":"a","abi":1,"limits":[]}`, `limits: not a JSON object: it must begin with { and be complete`},
}

func TestReadManifest(t *testing.T) {
	for _, c := range manifestCases {
		want := c.err
		if want != "" {
			want = "abi: manifest: " + want
		}
		_, found, err := abi.ReadManifest(manifest(c.text))
		if got := errorText(err); got != want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, want)
		}
		if !found {
			t.Errorf("%s: not found", c.text)
		}
	}
}

func TestReadManifestOfAModule(t *testing.T) {
	one := custom(abi.ManifestSection, `{"name":"a","abi":1}`)
	cases := []struct {
		name, wasm string
		found      bool
		err        string
	}{
		{"no manifest", string(module(code)), false, ""},
		{"among others", string(module(custom("name", "x"), code, one, custom("producers", "y"))), true, ""},
		{"a long length", string(module("\x00\x86\x80\x80\x80\x00\x04name!")), false, ""},
		{"twice", string(module(one, one)), false, `abi: manifest: a second section "foldrun.manifest" at byte 47: a module has one: build it again`},
		{"no wasm", "#!/bin/sh", false, `abi: manifest: not a wasm module: 9 bytes that do not begin with \0asm: is this the compiled .wasm file?`},
		{"component", "\x00asm\x0d\x00\x01\x00", false, `abi: manifest: a wasm component, and foldrun runs core modules: build without the component model (wasip1, not wasip2)`},
		{"wasm 2", "\x00asm\x02\x00\x00\x00", false, `abi: manifest: wasm version 2, and foldrun runs version 1`},
		{"cut short", string(module(code, one[:10])), false, `abi: manifest: section at byte 17: says it has 37 bytes, the file has 8 more: the file is damaged or cut short`},
		{"a length of 6 bytes", string(module("\x01\x80\x80\x80\x80\x80\x00")), false, `abi: manifest: section at byte 8: no u32 where a length must be: the file is damaged or cut short`},
		{"a length beyond 32 bits", string(module("\x01\x80\x80\x80\x80\x10")), false, `abi: manifest: section at byte 8: no u32 where a length must be: the file is damaged or cut short`},
		{"a name beyond its section", string(module("\x00\x02\x7fa", "\x01\x00")), false, `abi: manifest: custom section at byte 8: a name of 127 bytes leaves the section of 2`},
	}
	for _, c := range cases {
		_, found, err := abi.ReadManifest([]byte(c.wasm))
		if got := errorText(err); got != c.err || found != c.found {
			t.Errorf("%s: found %v, error %s\nwant found %v, error %s", c.name, found, got, c.found, c.err)
		}
	}
}

func TestAppendManifestReplaces(t *testing.T) {
	first := module(custom("name", "x"), custom(abi.ManifestSection, `{"name":"old","abi":1}`), code)
	m := abi.Manifest{
		Name: "new", Version: "2", ABI: 1, Indexes: []string{"b", "a"}, Wants: []string{"delete"},
		ConfigSchema: json.RawMessage(`{"title":"a < b"}`), Limits: abi.ManifestLimits{BytesPerRecord: 9}, SDK: "c",
	}
	second, err := abi.AppendManifest(first, m)
	if err != nil {
		t.Fatal(err)
	}
	got, found, err := abi.ReadManifest(second)
	if err != nil || !found || !sameManifest(got, m) {
		t.Errorf("read %+v, %v, %v", got, found, err)
	}
	if rest := module(custom("name", "x"), code); !bytes.HasPrefix(second, rest) {
		t.Error("other sections changed")
	}
	if !got.WantsDelete() || (abi.Manifest{}).WantsDelete() {
		t.Error("WantsDelete does not say what wants says")
	}
	third, err := abi.AppendManifest(second, m)
	if err != nil || !bytes.Equal(second, third) {
		t.Errorf("the same manifest again changes the module: %v", err)
	}
}

func TestAppendManifestRefuses(t *testing.T) {
	if _, err := abi.AppendManifest(module(code), abi.Manifest{Name: "No"}); err == nil {
		t.Error("a manifest that cannot be read was appended")
	}
	if _, err := abi.AppendManifest([]byte("\x00asm"), abi.Manifest{Name: "a"}); err == nil {
		t.Error("a manifest was appended to what is no module")
	}
}

func TestReadManifestGivesTheDefaultIndex(t *testing.T) {
	m, _, err := abi.ReadManifest(manifest(`{"name":"a","abi":1,"indexes":[]}`))
	if err != nil || !slices.Equal(m.Indexes, []string{abi.DefaultIndex}) {
		t.Errorf("indexes %v, %v", m.Indexes, err)
	}
}

// TestCodeDigest: only what a module does is in its digest.
func TestCodeDigest(t *testing.T) {
	digest := func(wasm []byte) [32]byte {
		d, err := abi.CodeDigest(wasm)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	plain := digest(module(code))
	same := map[string][]byte{
		"custom sections": module(custom("name", "x"), code, custom("producers", "y")),
		"a padded length": module("\x01\x84\x80\x00\x01\x60\x00\x00", "\x0a\x01\x00"),
	}
	for what, wasm := range same {
		if digest(wasm) != plain {
			t.Errorf("%s changed the digest", what)
		}
	}
	other := map[string][]byte{
		"another byte":    module("\x01\x04\x01\x60\x00\x00", "\x0a\x01\x01"),
		"another order":   module("\x0a\x01\x00", "\x01\x04\x01\x60\x00\x00"),
		"one section":     module("\x01\x04\x01\x60\x00\x00"),
		"another section": module("\x02\x04\x01\x60\x00\x00", "\x0a\x01\x00"),
	}
	for what, wasm := range other {
		if digest(wasm) == plain {
			t.Errorf("%s did not change the digest", what)
		}
	}
	if _, err := abi.CodeDigest([]byte("no")); err == nil {
		t.Error("two bytes have a digest")
	}
}

// TestMeaning pins the text: it is part of every generation's identity, and a change of it rebuilds every fold.
func TestMeaning(t *testing.T) {
	cases := []struct {
		m    abi.Manifest
		want string
	}{
		{abi.Manifest{}, "abi 1\ncodec 1\nindex \"main\"\n"},
		{abi.Manifest{Name: "x", Version: "9", SDK: "go", ABI: 1, Indexes: []string{"main"}}, "abi 1\ncodec 1\nindex \"main\"\n"},
		{abi.Manifest{ABI: 1, Indexes: []string{"b", "a"}, Wants: []string{"delete"}}, "abi 1\ncodec 1\nindex \"b\"\nindex \"a\"\nwant \"delete\"\n"},
	}
	for _, c := range cases {
		if got := string(c.m.Meaning()); got != c.want {
			t.Errorf("%+v\n got %q\nwant %q", c.m, got, c.want)
		}
	}
}

func sameManifest(a, b abi.Manifest) bool {
	var as, bs bytes.Buffer
	if len(a.ConfigSchema) > 0 && len(b.ConfigSchema) > 0 {
		if json.Compact(&as, a.ConfigSchema) != nil || json.Compact(&bs, b.ConfigSchema) != nil || as.String() != bs.String() {
			return false
		}
		a.ConfigSchema, b.ConfigSchema = nil, nil
	}
	if len(a.Wants) == 0 && len(b.Wants) == 0 {
		a.Wants, b.Wants = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
