package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/plugin"
	"github.com/foldrun/foldrun/store"
)

// A recipe is how a generation is made of its source: options, the module that they name, and the identity of both.
type recipe struct {
	opt    FoldOptions
	module *plugin.Module // nil if the fold is broken
	id     store.Identity
}

// newRecipe completes options and compiles the module that they name, unless it has made what serves: then it is compiled when
// it is needed, and a start does not wait for that. Its error is a *Stop.
func newRecipe(ctx context.Context, dir *store.Dir, o FoldOptions) (recipe, error) {
	r := recipe{opt: o.complete(dir)}
	err := r.read(ctx)
	if err == nil && !r.proven(dir) {
		err = r.ready(ctx)
	}
	return r, err
}

// proven says whether the generation that serves was made by this recipe, under these limits.
func (r *recipe) proven(dir *store.Dir) bool {
	current, err := dir.Current(r.opt.Name)
	if err != nil || current == "" || !r.id.Has(current) {
		return false
	}
	id, err := dir.Described(r.opt.Name, current)
	return err == nil && maps.Equal(id.Limits, r.id.Limits)
}

// complete returns options with what they leave open.
func (o FoldOptions) complete(dir *store.Dir) FoldOptions {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("fold", o.Name)
	o.Source.Log, o.Module.Log = o.Log, o.Log
	o.format = dir.Format()
	m := dir.Memory()
	if o.Batches == 0 {
		o.Batches = m.Batches
	}
	if o.Source.BatchBytes == 0 {
		o.Source.BatchBytes = int(m.Batch)
	}
	if o.Workers == 0 {
		o.Workers = min(goruntime.GOMAXPROCS(0), o.Batches)
	}
	if o.Budget == nil {
		o.Budget = &defaultBudget
	}
	o.OnDiverged = cmp.Or(o.OnDiverged, DivergedRebuild)
	o.Upgrade = cmp.Or(o.Upgrade, UpgradeAuto)
	if o.SweepEvery == 0 {
		o.SweepEvery = 6 * time.Hour
	}
	return o
}

// compile checks the module against the options, and compiles it. Where it fails, nothing stays open.
func (r *recipe) compile(ctx context.Context) error {
	err := r.read(ctx)
	if err == nil {
		err = r.ready(ctx)
	}
	return err
}

// read takes from the module what it says of itself, and checks that against the options.
func (r *recipe) read(ctx context.Context) (err error) {
	if r.module, err = plugin.Read(r.opt.Wasm, r.opt.Module); err != nil {
		return r.invalid(err)
	}
	if r.id, err = r.identity(); err != nil {
		return errors.Join(err, r.module.Close(ctx))
	}
	return nil
}

// ready compiles the module.
func (r *recipe) ready(ctx context.Context) error {
	if err := r.module.Compile(ctx); err != nil {
		return r.invalid(err)
	}
	return nil
}

func (r *recipe) invalid(err error) error {
	if r.opt.From != "" {
		err = fmt.Errorf("%s: %w", r.opt.From, err)
	}
	return &Stop{CodeModule, fmt.Errorf("fold %s: module: %w", r.opt.Name, err)}
}

// identity is everything that the rows are a function of, besides the source's records.
func (r *recipe) identity() (store.Identity, error) {
	o, m := &r.opt, r.module.Manifest()
	meaning, err := json.Marshal(string(m.Meaning()))
	if err != nil {
		return store.Identity{}, err
	}
	config := o.Module.Config
	if len(config) == 0 {
		config = []byte("{}")
	}
	stream, filter, keying := o.Source.Stream, orElse(o.Source.Filter, ">"), store.KeyingSubject
	switch {
	case o.Source.Bucket != "": // its source keys are not those of its stream, read as a stream
		stream, keying = bucketStream+o.Source.Bucket, store.KeyingKey
	case o.Source.KeyingMessage:
		keying = store.KeyingMessage
	}
	id := store.Identity{
		Format: o.format, Fold: o.Name, Module: r.module.Digest(), Manifest: meaning, Config: config,
		Stream: stream, Domain: o.Source.Domain, Filter: filter, Keying: keying,
		OnEvict: orElse(o.OnEvict, "remove"), OnError: orElse(o.OnError, OnErrorQuarantine), Limits: r.module.Limits(), Meter: plugin.Meter,
		KeepSource: o.KeepSource,
	}
	for name := range o.Collisions {
		if !slices.Contains(m.Indexes, name) {
			return id, &Stop{CodeModule, hint.Error(fmt.Errorf("fold %s: its module has no index %q", o.Name, name), "it has %q", m.Indexes)}
		}
	}
	for i := range o.Gates {
		if err := o.Gates[i].refuse(o.Name, m.Indexes); err != nil {
			return id, err
		}
	}
	for _, name := range m.Indexes {
		id.Indexes = append(id.Indexes, store.IndexSpec{Name: name, Collisions: store.Collisions(orElse(string(o.Collisions[name]), string(store.All)))})
	}
	return id, nil
}

// wantsDelete says whether the module of a generation is shown deletes.
func wantsDelete(id store.Identity) bool {
	var meaning string
	return json.Unmarshal(id.Manifest, &meaning) == nil && strings.Contains("\n"+meaning, fmt.Sprintf("\nwant %q\n", abi.WantDelete))
}

// kept returns the recipe of a generation that another module or configuration made: with the module that is kept beside
// its rows, and what its identity says. Connection, budget and paces are those that are configured now. Its module is the
// caller's to close.
func (f *Fold) kept(ctx context.Context, db *store.DB) (r recipe, err error) {
	r.opt = f.opt
	o, id := &r.opt, db.Identity()
	if o.Wasm, err = db.Module(); err != nil {
		return r, err
	}
	o.From, o.format = "", id.Format
	o.Source.Bucket, o.Source.Stream, o.Source.Domain, o.Source.Filter = "", id.Stream, id.Domain, id.Filter
	if id.Keying == store.KeyingKey {
		o.Source.Bucket, o.Source.Stream = strings.TrimPrefix(id.Stream, bucketStream), ""
	}
	o.Source.KeyingMessage = id.Keying == store.KeyingMessage
	o.KeepSource, o.Gates = id.KeepSource, nil // its indexes may be others
	o.OnEvict, o.OnError, o.Collisions = id.OnEvict, id.OnError, map[string]store.Collisions{}
	for _, x := range id.Indexes {
		o.Collisions[x.Name] = x.Collisions
	}
	o.Module.Config = id.Config
	o.Module.SetLimits(id.Limits)
	if err := r.compile(ctx); err != nil {
		return r, err
	}
	if !r.id.Has(db.Generation()) {
		return r, errors.Join(fmt.Errorf("runtime: this foldrun would make another generation of it: %s", db.Identity().Differs(r.id)), r.module.Close(ctx))
	}
	return r, nil
}

// stray returns the module of a follower that is not the one that is configured, nil if it is.
func (f *Fold) stray(g *follower) *plugin.Module {
	if g == nil || g.module == f.module {
		return nil
	}
	return g.module
}

func closeModule(ctx context.Context, m *plugin.Module) error {
	if m == nil {
		return nil
	}
	return m.Close(ctx)
}
