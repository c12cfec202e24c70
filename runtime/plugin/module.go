package plugin

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// Options bound what a module may use. The zero value of a field is its default.
type Options struct {
	Memory           int64  // bytes of an instance's memory; default 64 MiB
	FuelPerRecord    int64  // what package fuel charges for one record; a call of many has 20,000,000 at most; default 120,000,000
	EntriesPerRecord int    // default 1024
	BytesPerRecord   int64  // bytes of keys and values together; default 4 MiB
	KeyBytes         int    // bytes of one key; default 16 KiB
	ValueBytes       int    // bytes of one value; default 1 MiB less 4 KiB
	Config           []byte // for foldrun_init, JSON; default {}
	CacheDir         string // where compiled code is kept, 0700; who can write there runs code in this process; "" = nowhere
	Log              *slog.Logger
}

const (
	pageSize = 64 << 10
	maxPages = 1<<16 - 1 // one less than wasm has: the size of a memory is then a u32
)

func (o *Options) defaults() {
	set := func(p *int64, v int64) {
		if *p <= 0 {
			*p = v
		}
	}
	entries, key, value := int64(o.EntriesPerRecord), int64(o.KeyBytes), int64(o.ValueBytes)
	set(&o.Memory, 64<<20)
	set(&o.FuelPerRecord, 120_000_000)
	set(&entries, 1024)
	set(&o.BytesPerRecord, 4<<20)
	set(&key, 16<<10)
	set(&value, 1<<20-4<<10)
	o.EntriesPerRecord, o.KeyBytes, o.ValueBytes = int(entries), int(key), int(value)
	if len(o.Config) == 0 {
		o.Config = []byte("{}")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Module is a module. It is safe for many goroutines; each transforms through a Worker of its own.
type Module struct {
	opt       Options
	wasm      []byte
	compiles  sync.Mutex
	compiling atomic.Pointer[compiling] // nil until it is compiled, or cannot be
	runtime   wazero.Runtime
	cache     wazero.CompilationCache // nil without one
	compiled  wazero.CompiledModule
	manifest  abi.Manifest
	digest    string
	lines     lineLimit
	spare     spare
	deep      deep
}

// compiling is what came of it.
type compiling struct {
	took   time.Duration // to compile, or to find it compiled
	cached bool
	err    error
}

// Compile checks a module against the ABI and compiles it. What it refuses, it refuses with the mend as a hint.
func Compile(ctx context.Context, wasm []byte, o Options) (*Module, error) {
	m, err := Read(wasm, o)
	if err == nil {
		err = m.Compile(ctx)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Read takes from a module's bytes what they say without being compiled: for one that is known to compile. It is compiled when its
// first instance starts, or by Compile, whichever is sooner. It keeps wasm, which must not be changed.
func Read(wasm []byte, o Options) (*Module, error) {
	o.defaults()
	m := &Module{opt: o, wasm: wasm}
	if err := m.read(wasm); err != nil {
		return nil, err
	}
	return m, nil
}

// Compile checks the module against the ABI and compiles it, unless that is done. Where it fails, nothing stays open, and it fails
// again.
func (m *Module) Compile(ctx context.Context) error {
	if c := m.compiling.Load(); c != nil {
		return c.err
	}
	m.compiles.Lock()
	defer m.compiles.Unlock()
	if c := m.compiling.Load(); c != nil {
		return c.err
	}
	c := &compiling{}
	ctx = context.WithoutCancel(ctx) // what is begun is for whoever needs it next
	if c.err = m.compile(ctx, c); c.err != nil {
		c.err = errors.Join(c.err, m.closeRuntime(ctx))
	}
	m.compiling.Store(c)
	return c.err
}

func (m *Module) config() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfig().WithMemoryLimitPages(uint32(min(max(m.opt.Memory/pageSize, 1), maxPages))).WithDebugInfoEnabled(false)
}

// read takes from the module's bytes what they say without being compiled.
func (m *Module) read(wasm []byte) error {
	if len(wasm) < 8 || string(wasm[:4]) != "\x00asm" {
		return hint.Error(errors.New("it is not a wasm module"), "name the .wasm file that the compiler wrote, not its source or a component")
	}
	manifest, found, err := abi.ReadManifest(wasm)
	if err != nil {
		return err
	}
	if !found {
		return hint.Error(fmt.Errorf("it has no %s section", abi.ManifestSection), "embed a manifest: abi/ABI.md says what it holds")
	}
	digest, err := abi.CodeDigest(wasm)
	if err != nil {
		return err
	}
	m.manifest, m.digest = manifest, hex.EncodeToString(digest[:])
	return nil
}

func (m *Module) compile(ctx context.Context, c *compiling) error {
	metered, err := fuel.Meter(m.wasm, fuel.Limits{Refer: abi.ExportTransform})
	if err != nil {
		return hint.Error(err, "build it for wasm32 with the default features")
	}
	if err := m.translate(ctx, metered, c); err != nil {
		return hint.Error(fmt.Errorf("it does not compile: %w", err), "build it for wasm32 with the default features, and memory within the fold's limit")
	}
	if err := checkExports(m.compiled); err != nil {
		return err
	}
	if err := m.provide(ctx); err != nil {
		return err
	}
	return m.checkImports()
}

// translate makes machine code of the metered module, or finds it in the cache. A cache that fails is done without.
func (m *Module) translate(ctx context.Context, metered []byte, c *compiling) (err error) {
	start := time.Now()
	var cached bool
	var unkept error
	if m.opt.CacheDir != "" {
		if cached, unkept = m.compileCached(ctx, metered); unkept != nil {
			if err := m.closeRuntime(ctx); err != nil {
				return err
			}
		}
	}
	if m.compiled == nil {
		if err := m.openRuntime(ctx, ""); err != nil {
			return err
		}
		if m.compiled, err = m.runtime.CompileModule(withYields(ctx), metered); err != nil {
			return err
		}
	}
	if unkept != nil { // with the cache it did not compile, without it does
		m.opt.Log.Warn("compiled module not kept", "module", m.manifest.Name, "dir", m.opt.CacheDir, "error", unkept)
	}
	c.took, c.cached = time.Since(start), cached
	m.opt.Log.Info("module compiled", "module", m.manifest.Name, "size", len(metered), "took", c.took, "cached", cached)
	return nil
}

// opening is held while wazero opens a cache or a runtime: the first to be opened looks up wazero's version, and notes it for the
// others in a variable that nothing guards.
var opening sync.Mutex

// openRuntime opens the runtime that the module is compiled in, with wazero's cache in a directory; "" = without one.
func (m *Module) openRuntime(ctx context.Context, dir string) (err error) {
	opening.Lock()
	defer opening.Unlock()
	config := m.config()
	if dir != "" {
		if m.cache, err = wazero.NewCompilationCacheWithDir(dir); err != nil {
			return err
		}
		config = config.WithCompilationCache(m.cache)
	}
	m.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	return nil
}

// checkExports refuses a module that lacks an export or has it with another type.
func checkExports(c wazero.CompiledModule) error {
	i32, i64 := api.ValueTypeI32, api.ValueTypeI64
	have := c.ExportedFunctions()
	if have[abi.ExportMarker] == nil {
		for name := range have {
			if strings.HasPrefix(name, abi.MarkerPrefix) {
				return hint.Error(fmt.Errorf("it speaks %s, this foldrun speaks %s", name, abi.ExportMarker),
					"run a foldrun that speaks %s, or build the module with an SDK for %s", name, abi.ExportMarker)
			}
		}
	}
	for _, x := range []struct {
		name            string
		params, results []api.ValueType
		optional        bool
	}{
		{abi.ExportMarker, nil, nil, false},
		{abi.ExportBuffer, []api.ValueType{i32}, []api.ValueType{i32}, false},
		{abi.ExportTransform, []api.ValueType{i32, i32}, []api.ValueType{i64}, false},
		{abi.ExportInitialize, nil, nil, true},
		{abi.ExportInit, []api.ValueType{i32, i32}, []api.ValueType{i32}, true},
		{abi.ExportError, nil, []api.ValueType{i64}, true},
	} {
		f := have[x.name]
		switch {
		case f == nil && x.optional:
		case f == nil:
			return hint.Error(fmt.Errorf("it does not export %s", x.name), "%s", exportMend(have, x.name))
		case !slices.Equal(f.ParamTypes(), x.params) || !slices.Equal(f.ResultTypes(), x.results):
			return hint.Error(fmt.Errorf("its export %s has the type %s -> %s, not %s -> %s", x.name,
				types(f.ParamTypes()), types(f.ResultTypes()), types(x.params), types(x.results)), "abi/ABI.md lists the exports with their types")
		}
	}
	if c.ExportedMemories()[abi.ExportMemory] == nil {
		return hint.Error(fmt.Errorf("it does not export its memory as %q", abi.ExportMemory), "link it with its memory exported")
	}
	return nil
}

// exportMend names what may be the missing export under another name.
func exportMend(have map[string]api.FunctionDefinition, missing string) string {
	known := []string{abi.ExportMarker, abi.ExportBuffer, abi.ExportTransform, abi.ExportInit, abi.ExportError}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if strings.HasPrefix(name, "foldrun_") && !slices.Contains(known, name) {
			return fmt.Sprintf("it exports %s, which foldrun does not know: is that %s?", name, missing)
		}
	}
	return "build it with an SDK, or export what abi/ABI.md lists"
}

func types(all []api.ValueType) string {
	var names []string
	for _, t := range all {
		names = append(names, api.ValueTypeName(t))
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// Manifest returns what the module says of itself.
func (m *Module) Manifest() abi.Manifest { return m.manifest }

// Compiled returns how long it took to make machine code of the module, and whether that was in the cache. done is false while it
// is not made.
func (m *Module) Compiled() (took time.Duration, cached, done bool) {
	c := m.compiling.Load()
	if c == nil {
		return 0, false, false
	}
	return c.took, c.cached, true
}

// Digest returns the sha256 of the module's sections but the custom ones, hexadecimal.
func (m *Module) Digest() string { return m.digest }

// Limits returns the limits that verdicts depend on, by the names that the configuration has for them.
func (m *Module) Limits() map[string]int64 {
	o := &m.opt
	return map[string]int64{"memory": o.Memory, "fuel_per_record": o.FuelPerRecord, "entries_per_record": int64(o.EntriesPerRecord),
		"bytes_per_record": o.BytesPerRecord, "key_bytes": int64(o.KeyBytes), "value_bytes": int64(o.ValueBytes)}
}

// SetLimits sets the limits that Module.Limits returned.
func (o *Options) SetLimits(l map[string]int64) {
	o.Memory, o.FuelPerRecord, o.BytesPerRecord = l["memory"], l["fuel_per_record"], l["bytes_per_record"]
	o.EntriesPerRecord, o.KeyBytes, o.ValueBytes = int(l["entries_per_record"]), int(l["key_bytes"]), int(l["value_bytes"])
}

// Meter is the version of the fuel meter, on which verdicts depend.
const Meter = fuel.Version

// Close frees the compiled code. Its workers must be closed.
func (m *Module) Close(ctx context.Context) error {
	m.spare.close(ctx)
	m.deep.close()
	return m.closeRuntime(ctx)
}

// closeRuntime closes what compile opened. Code of a cache is the cache's.
func (m *Module) closeRuntime(ctx context.Context) (err error) {
	if m.runtime != nil {
		err = m.runtime.Close(ctx)
	}
	if m.cache != nil {
		err = errors.Join(err, m.cache.Close(ctx))
	}
	m.runtime, m.cache, m.compiled = nil, nil, nil
	return err
}
