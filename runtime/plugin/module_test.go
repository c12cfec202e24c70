package plugin

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/store"
)

// edited returns the module odd with texts of it replaced by others of their length.
func edited(t testing.TB, pairs ...string) []byte {
	t.Helper()
	b := testModule(t, "odd")
	for i := 0; i < len(pairs); i += 2 {
		if len(pairs[i]) != len(pairs[i+1]) || bytes.Count(b, []byte(pairs[i])) != 1 {
			t.Fatalf("%q is not once in the module, or not as long as %q", pairs[i], pairs[i+1])
		}
		b = bytes.Replace(b, []byte(pairs[i]), []byte(pairs[i+1]), 1)
	}
	return b
}

// built makes a module of sections, and gives it a manifest.
func built(t testing.TB, sections ...string) []byte {
	t.Helper()
	b := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range sections {
		b = append(append(b, s[0], byte(len(s)-1)), s[1:]...)
	}
	b, err := abi.AppendManifest(b, abi.Manifest{Name: "built"})
	check(t, err)
	return b
}

// The sections of a smallest module: the ABI's exports are functions that trap.
const (
	typesSection  = "\x01\x03\x60\x00\x00\x60\x01\x7f\x01\x7f\x60\x02\x7f\x7f\x01\x7e"
	funcsSection  = "\x03\x03\x00\x01\x02"
	memorySection = "\x05\x01\x00\x01"
	codeSection   = "\x0a\x03\x03\x00\x00\x0b\x03\x00\x00\x0b\x03\x00\x00\x0b"

	funcExports   = "\x0efoldrun_abi_v1\x00\x00\x0efoldrun_buffer\x00\x01\x11foldrun_transform\x00\x02"
	exportSection = "\x07\x04" + funcExports + "\x06memory\x02\x00"
)

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		wasm       []byte
		want, hint string
	}{
		"empty":           {nil, "it is not a wasm module", "the .wasm file"},
		"source":          {[]byte("package main\n"), "it is not a wasm module", "the .wasm file"},
		"component":       {[]byte("\x00asm\x0d\x00\x01\x00"), "a wasm component", "wasip1"},
		"cut short":       {testModule(t, "odd")[:300], "", ""},
		"no manifest":     {edited(t, "foldrun.manifest", "foldrun.manifess"), "it has no foldrun.manifest section", "embed a manifest"},
		"bad manifest":    {edited(t, `"abi":1`, `"abi":2`), "the module speaks version 2, this foldrun speaks version 1", ""},
		"newer marker":    {edited(t, "foldrun_abi_v1", "foldrun_abi_v2"), "it speaks foldrun_abi_v2, this foldrun speaks foldrun_abi_v1", "an SDK for foldrun_abi_v1"},
		"no marker":       {edited(t, "foldrun_abi_v1", "another_abi_v1"), "it does not export foldrun_abi_v1", "with an SDK"},
		"missing export":  {edited(t, "foldrun_buffer", "foldrun_buffet"), "it does not export foldrun_buffer", "is that foldrun_buffer?"},
		"no memory":       {edited(t, "\x06memory", "\x06memori"), `it does not export its memory as "memory"`, "link it"},
		"mistyped export": {edited(t, "foldrun_buffer", "foldrun_swappe", "foldrun_abi_v1", "foldrun_buffer", "foldrun_swappe", "foldrun_abi_v1"), "its export foldrun_abi_v1 has the type (i32) -> (i32), not () -> ()", "abi/ABI.md"},
		"mistyped option": {built(t, typesSection, funcsSection, memorySection, "\x07\x05\x0cfoldrun_init\x00\x01"+exportSection[2:], codeSection), "its export foldrun_init has the type (i32) -> (i32), not (i32, i32) -> (i32)", "abi/ABI.md"},
		"unknown import":  {edited(t, "random_get", "random_got"), "it imports wasi_snapshot_preview1.random_got, which foldrun does not have", "foldrun_v1.log, env.abort"},
		"unknown module":  {edited(t, "\x0afoldrun_v1\x03", "\x0afoldrun_v9\x03"), "it imports foldrun_v9.log, which foldrun does not have", "foldrun_v1.log"},
		"mistyped import": {edited(t, "random_get", "fd_readdir"), "it imports wasi_snapshot_preview1.fd_readdir with the type (i32, i32) -> (i32), not (i32, i32, i32, i64, i32) -> (i32)", "abi/ABI.md"},
		"imported memory": {built(t, typesSection, "\x02\x01\x03env\x06memory\x02\x00\x01", funcsSection, exportSection, codeSection), "it imports its memory", "link it so"},
		"too much memory": {built(t, typesSection, funcsSection, "\x05\x01\x00\x80\x10", exportSection, codeSection), "it does not compile", "memory within the fold's limit"},
		"broken code":     {built(t, typesSection, funcsSection, memorySection, exportSection, "\x0a\x03\x03\x00\x1a\x0b\x03\x00\x00\x0b\x03\x00\x00\x0b"), "it does not compile", "wasm32"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Compile(t.Context(), c.wasm, Options{})
			if err == nil {
				m.Close(t.Context())
				t.Fatal("it is compiled")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error()+hint.Of(err), c.hint) {
				t.Errorf("error %q, hint %q", err, hint.Of(err))
			}
			if hint.Of(err) == "" && !strings.Contains(err.Error(), ": ") {
				t.Errorf("error without a mend: %q", err)
			}
		})
	}
	m, err := Compile(t.Context(), built(t, typesSection, funcsSection, memorySection, exportSection, codeSection), Options{})
	check(t, err)
	check(t, m.Close(t.Context()))
}

// TestNotStarted compiles modules of which no instance starts: that is the module's fault and no record's.
func TestNotStarted(t *testing.T) {
	startTraps := "\x08\x00" // the start function is the marker
	for name, c := range map[string]struct {
		wasm       []byte
		config     string
		want, hint string
	}{
		"config traps":   {testModule(t, "odd"), `{"trap":1}`, "plugin: module odd does not start: foldrun_init: wasm error: unreachable", startHint},
		"config refused": {testModule(t, "odd"), `{"color":1}`, "plugin: module odd does not start: foldrun_init refuses the config with code 7: a reason", "mend [fold.NAME.config]"},
		"config too long": {testModule(t, "odd"), `{"x":"` + strings.Repeat("x", 200000) + `"}`,
			"plugin: module odd does not start: its config of 200008 bytes: arena_too_small: foldrun_buffer has no room for it", startHint},
		"start traps": {built(t, typesSection, funcsSection, memorySection, exportSection, startTraps, codeSection), "{}",
			"plugin: module built does not start: start function[0] export[\"foldrun_abi_v1\"] failed: wasm error: unreachable", startHint},
		"initialize traps": {built(t, typesSection, funcsSection, memorySection, strings.Replace(exportSection, "\x07\x04", "\x07\x05\x0b_initialize\x00\x00", 1), codeSection), "{}",
			"plugin: module built does not start: _initialize: wasm error: unreachable", startHint},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Compile(t.Context(), c.wasm, Options{Config: []byte(c.config)})
			check(t, err)
			defer m.Close(t.Context())
			w, v := m.testWorker(t), newVerdicts(t)
			if err := w.Warm(t.Context()); err == nil || err.Error() != c.want || hint.Of(err) != c.hint {
				t.Errorf("error %.200q, hint %q", err, hint.Of(err))
			}
			u := updates("x", "y")
			if err := w.Transform(t.Context(), u, all(u), v); err == nil || err.Error() != c.want || len(v.text) != 0 {
				t.Errorf("records are judged: %v, %.200v", v.text, err)
			}
		})
	}
}

// TestNoArena runs a module whose buffer traps: each record has that as its verdict.
func TestNoArena(t *testing.T) {
	m, err := Compile(t.Context(), built(t, typesSection, funcsSection, memorySection, exportSection, codeSection), Options{})
	check(t, err)
	defer m.Close(t.Context())
	for _, text := range judge(t, m.testWorker(t), 256, "x", "y", "z").text {
		if text != "trap 0: foldrun_buffer: wasm error: unreachable" {
			t.Error(text)
		}
	}
	zero := "\x0a\x03\x03\x00\x00\x0b\x04\x00\x41\x00\x0b\x03\x00\x00\x0b" // buffer returns 0
	m, err = Compile(t.Context(), built(t, typesSection, funcsSection, memorySection, exportSection, zero), Options{})
	check(t, err)
	defer m.Close(t.Context())
	for _, text := range judge(t, m.testWorker(t), 256, "x", "y", "z").text {
		if !strings.HasPrefix(text, "arena_too_small 0: ") {
			t.Error(text)
		}
	}
}

// TestStops ends Transform with the sink's error: no verdict is lost unnoticed.
func TestStops(t *testing.T) {
	m := compile(t, "odd", Options{})
	full := errors.New("full")
	u := updates("x", "T", "y")
	for at := range int32(3) {
		if err := m.testWorker(t).Transform(t.Context(), u, all(u), stopping{newVerdicts(t), at, full}); !errors.Is(err, full) {
			t.Errorf("the sink failed at record %d: %v", at, err)
		}
	}
}

type stopping struct {
	*verdicts
	at  int32
	err error
}

func (s stopping) Yield(rec int32, e Entries) error {
	if rec == s.at {
		return s.err
	}
	return s.verdicts.Yield(rec, e)
}

func (s stopping) Fail(rec int32, f store.Failure) error {
	if rec == s.at {
		return s.err
	}
	return s.verdicts.Fail(rec, f)
}
