package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/foldrun/foldrun/hint"
)

// A Registry finds modules and judges them. Load and Ran are called by one goroutine at a time.
type Registry struct {
	Trusted  []string // public keys by one of which every module must be signed; none: that is not asked
	Dir      string   // where fetched modules are kept
	ReadOnly bool     // nothing is written there
	Log      *slog.Logger
}

// Wanted is a fold's module as it is configured. Exactly one of Path and Object is set.
type Wanted struct {
	Fold   string
	Path   string // of a file
	Object string // bucket/name
	SHA256 string // what the bytes must hash to, "" for whatever
}

// from is where a module is from, in a note.
func (w Wanted) from() string {
	if w.Object != "" {
		return "object " + w.Object
	}
	return "path " + w.Path
}

// place is where a module is from, for people.
func (w Wanted) place() string {
	if w.Object != "" {
		return "object " + w.Object
	}
	return w.Path
}

// Load returns the module of a fold: bytes that are what was asked for and may run. Those of an object that is not to be
// had are the ones that were fetched last. Its error is an ErrUntrusted, an ErrAway, or what is wrong with the bytes.
func (r *Registry) Load(ctx context.Context, w Wanted, o Objects) (Module, error) {
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	m, err := r.load(ctx, w, o)
	if err != nil && (w.Object != "" || errors.Is(err, ErrUntrusted)) { // else it names the file
		err = fmt.Errorf("%s: %w", w.place(), err)
	}
	return m, err
}

func (r *Registry) load(ctx context.Context, w Wanted, o Objects) (m Module, err error) {
	if w.Object == "" {
		if m, err = Open(w.Path); err != nil {
			return m, unread(err)
		}
		return m, r.judge(w, m)
	}
	if w.SHA256 == "" && len(r.Trusted) == 0 {
		return m, hint.Error(untrusted("whoever can write there would run code here"), "pin it by module.sha256, or set trusted_keys and sign it")
	}
	if m, err = r.kept(w.SHA256); err == nil && r.judge(w, m) == nil {
		return m, nil
	}
	if m, err = r.fetch(ctx, w, o); errors.Is(err, ErrAway) {
		return r.last(w, err)
	}
	return m, err
}

// fetch returns the module that an object store has now, and keeps it.
func (r *Registry) fetch(ctx context.Context, w Wanted, o Objects) (m Module, err error) {
	wasm, signature, err := o.fetch(ctx, w.Object)
	if err != nil {
		return m, err
	}
	m, _ = Read(wasm) // what is wrong with its manifest, compiling it says
	m.Signature = signature
	if err := r.judge(w, m); err != nil {
		return m, err
	}
	if err := r.keep(m); err != nil {
		r.Log.Warn("module not kept: with NATS away the fold could not start", "fold", w.Fold, "object", w.Object, "err", err)
	}
	return m, nil
}

// last returns the module that a fold ran last, in the place of one that cannot be fetched.
func (r *Registry) last(w Wanted, away error) (m Module, err error) {
	n, err := r.readNote(w.Fold)
	if err != nil || n.From != w.from() || w.SHA256 != "" && n.SHA256 != w.SHA256 {
		return m, away
	}
	if m, err = r.kept(n.SHA256); err != nil {
		return m, away
	}
	if err := r.judge(w, m); err != nil {
		return m, err
	}
	r.Log.Warn("module not fetched: the last one runs", "fold", w.Fold, "object", w.Object, "sha256", m.SHA256, "version", m.Version, "err", away)
	return m, nil
}

// judge says why a module may not run.
func (r *Registry) judge(w Wanted, m Module) error {
	if w.SHA256 != "" && m.SHA256 != w.SHA256 {
		return hint.Error(untrusted("it has the sha256 %s, not %s", m.SHA256, w.SHA256), "put the right module there, or correct module.sha256")
	}
	if len(r.Trusted) == 0 {
		return nil
	}
	if err := m.trustedBy(r.Trusted); err != nil || w.SHA256 != "" {
		return err
	}
	return r.goesOn(w, m)
}

// goesOn refuses a module that takes the place of a newer one, or of another: it may be signed, and put there again by
// somebody who can write there and cannot sign.
func (r *Registry) goesOn(w Wanted, m Module) error {
	n, err := r.readNote(w.Fold)
	if err != nil || n.Name == "" {
		return err
	}
	const mend = "pin it, if that is what is meant: module.sha256 = %q"
	order, ok := compareVersions(m.Version, n.Version)
	switch {
	case m.Name != n.Name && w.from() == n.From:
		return hint.Error(untrusted("it is the module %s, and fold %s ran %s from there", m.Name, w.Fold, n.Name), mend, m.SHA256)
	case m.Name != n.Name: // the configuration names another place
		return nil
	case !ok:
		return hint.Error(untrusted("its version %q is not to be compared with %q, which fold %s ran last", m.Version, n.Version, w.Fold), mend, m.SHA256)
	case order < 0:
		return hint.Error(untrusted("its version %q is lower than %q, which fold %s ran last", m.Version, n.Version, w.Fold), mend, m.SHA256)
	}
	return nil
}

func unread(err error) error {
	if hint.Of(err) != "" {
		return err
	}
	return hint.Error(err, "build the module, or correct module.path")
}
