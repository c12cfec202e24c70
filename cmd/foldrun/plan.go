package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

func planCommand() *cobra.Command {
	var path string
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan [FOLD...]",
		Short: "Say what a start with a configuration would do to each fold",
		Long: `Say, before anything happens, what a start of foldrun with this configuration would do to each fold, and why: go on with the
generation that serves, adopt raised limits, build another beside it, or wait for an operator. Of a build it says about how
long it would take and how much disk, from what the last one took and from what the stream holds now.

It reads what lies in the data directory, whether a foldrun runs on it or not, and changes nothing. Exit 3 if what is
configured is not what serves, for one of the folds.`,
		Example: "  foldrun plan -c foldrun.toml\n  foldrun plan users -c next.toml --json",
		RunE: func(c *cobra.Command, args []string) error {
			if err := named(path); err != nil {
				return err
			}
			p := &planner{links: map[string]link{}}
			defer func() { closeLinks(p.links) }()
			return p.run(c, path, args, asJSON)
		},
	}
	c.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a fold")
	c.MarkFlagFilename("config", "toml")
	return c
}

// planner says what a start would do.
type planner struct {
	config *config.Config
	links  map[string]link              // by connection
	runs   map[string]client.FoldStatus // folds of the foldrun that runs on the data directory, if one does
}

// run plans the folds that are named, or all. One that cannot be planned does not keep it from the others.
func (p *planner) run(c *cobra.Command, path string, names []string, asJSON bool) error {
	var failed, differs bool
	var err error
	if p.config, err = config.Load(path); err != nil {
		var problems *config.Problems
		if !errors.As(err, &problems) || problems.Fatal() {
			return err
		}
		tell(c.ErrOrStderr(), err)
		failed = true
	}
	if err := p.known(names); err != nil {
		return err
	}
	p.runs = followed(c.Context(), p.config.DataDir)
	for _, fc := range p.config.Folds {
		if len(names) > 0 && !slices.Contains(names, fc.Name) {
			continue
		}
		f, err := p.fold(c.Context(), fc)
		if err != nil {
			tell(c.ErrOrStderr(), err)
			failed = true
			continue
		}
		differs = differs || f.act.Changes()
		if asJSON {
			err = json.NewEncoder(c.OutOrStdout()).Encode(f)
		} else {
			_, err = fmt.Fprint(c.OutOrStdout(), f.text())
		}
		if err != nil {
			return err
		}
	}
	switch {
	case failed:
		return errFailed
	case differs:
		return errDifferent
	}
	return nil
}

// known refuses names of folds that are not configured.
func (p *planner) known(names []string) error {
	var have []string
	for _, fc := range p.config.Folds {
		have = append(have, fc.Name)
	}
	for _, name := range names {
		if !slices.Contains(have, name) {
			return hint.Error(misuse{fmt.Errorf("%s has no fold %q", p.config.Path, name)}, "it has %s", quoted(have))
		}
	}
	return nil
}

// A foldPlan is what a start would do with one fold, as it is printed.
type foldPlan struct {
	Fold     string         `json:"fold"`
	Act      string         `json:"act"`
	Current  string         `json:"current,omitempty"`
	Next     string         `json:"next,omitempty"` // the generation that would serve in the end
	Paused   string         `json:"paused_since,omitempty"`
	Why      string         `json:"why,omitempty"`
	Changes  []store.Change `json:"changes"`
	Policies []store.Change `json:"policies,omitempty"` // of what is applied in place, where a foldrun runs
	Records  *uint64        `json:"records,omitempty"`  // that a build of kept records is made of
	Messages *uint64        `json:"messages,omitempty"` // that the stream holds, if it could be asked
	Seconds  float64        `json:"estimated_seconds,omitempty"`
	Bytes    int64          `json:"estimated_bytes,omitempty"`
	Free     *int64         `json:"free_bytes,omitempty"`
	Lost     *uint64        `json:"lost_keys_at_least,omitempty"` // source keys whose rows a build would lose, with on_evict = "keep"
	GivesUp  string         `json:"gives_up,omitempty"`           // the way back that a build ends
	Renamed  []string       `json:"renamed_from,omitempty"`       // folds that are not configured any more and are the same but for the name
	Reads    string         `json:"reads,omitempty"`              // what a build is made of: "stream", "kept records"

	act      runtime.Act
	mend     string    // of why
	until    time.Time // of the way back
	old, new abi.Manifest
	built    store.Built
}

// What a build is made of.
const (
	readsStream = "stream"
	readsKept   = "kept records"
)

// planOf asks what a start would do with a fold. Its error has its mend.
func (p *planner) planOf(ctx context.Context, fc config.Fold) (runtime.Plan, error) {
	l := link{domain: p.config.NATS[fc.Source.NATS].Domain}
	if fc.Module.Object != "" {
		l = p.link(fc)
	}
	module, err := onlyLooking(p.config, map[string]link{fc.Source.NATS: l}).load(ctx, fc)
	if err != nil {
		return runtime.Plan{}, err
	}
	o := foldOptions(p.config, fc, l, slog.New(slog.DiscardHandler))
	o.Wasm, o.Module.CacheDir = module.Wasm, "" // nothing is written
	peek, err := store.PeekAt(p.config.DataDir, fc.Name)
	switch {
	case errors.Is(err, store.ErrNotDescribed):
		err = hint.Error(err, "a start writes it")
	case errors.Is(err, store.ErrNoGeneration):
		err = hint.Error(err, "a start builds it from the stream")
	}
	if err != nil {
		return runtime.Plan{}, err
	}
	return runtime.PlanFold(ctx, peek, o)
}

// fold plans one fold.
func (p *planner) fold(ctx context.Context, fc config.Fold) (f foldPlan, err error) {
	x, err := p.planOf(ctx, fc)
	if err != nil {
		_, text := runtime.Describe(err)
		if text = strings.TrimPrefix(text, "fold "+fc.Name+": "); !strings.HasPrefix(text, "store: fold "+fc.Name) {
			text = fc.Name + ": " + text
		}
		return f, hint.Error(errors.New(text), "%s", cmp.Or(runtime.HintOf(err), "foldrun check lists all that is wrong"))
	}
	f = foldPlan{Fold: fc.Name, Act: string(x.Act), Current: x.Current, Next: x.Will, Paused: x.Paused, Changes: append([]store.Change{}, x.Changes...),
		GivesUp: givesUp(&x), Renamed: p.renamed(&x), act: x.Act, until: x.Previous.Until, old: x.Old, new: x.New, built: x.Built}
	if x.Why != nil {
		f.Why, f.mend = x.Why.Error(), hint.Of(x.Why)
	}
	o := foldOptions(p.config, fc, link{}, nil)
	f.Policies = policyChanges(p.runs[fc.Name].Policies, o.Policies())
	if x.Act == runtime.ActNothing || x.Act == runtime.ActAdopt {
		return f, nil
	}
	if free, known := freeDisk(existing(p.config.DataDir)); known {
		f.Free = &free
	}
	if x.Act != runtime.ActReturn && x.Act != runtime.ActRolledBack && x.Act != runtime.ActRefuse {
		p.cost(ctx, fc, &x, &f)
	}
	return f, nil
}

// cost says what a build is made of, and what it takes.
func (p *planner) cost(ctx context.Context, fc config.Fold, x *runtime.Plan, f *foldPlan) {
	f.Bytes, f.Reads = x.Bytes, readsStream
	if x.Kept {
		f.Reads = readsKept
		if n, known := p.live(fc.Name, f.Current); known { // a build of these needs no NATS, and neither does this
			f.Records = &n
			f.Seconds = x.Estimate(n).Seconds()
			return
		}
	}
	if n, known := p.messages(ctx, fc); known {
		f.Messages = &n
		f.Seconds = x.Estimate(n).Seconds()
	}
	p.lost(fc, f)
}

// policyChanges returns in what the policies that are configured differ from those that run, by name; nothing where none is known
// to run.
func policyChanges(run, configured map[string]string) (all []store.Change) {
	if run == nil {
		return nil
	}
	names := map[string]bool{}
	for _, of := range []map[string]string{run, configured} {
		for name := range of {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if run[name] != configured[name] {
			all = append(all, store.Change{Field: name, Was: run[name], Is: configured[name]})
		}
	}
	return all
}

// existing returns the nearest directory that is there.
func existing(dir string) string {
	for !isDir(dir) {
		dir = filepath.Dir(dir)
	}
	return dir
}

// link returns the connection of a fold, which is tried once.
func (p *planner) link(fc config.Fold) link {
	l, tried := p.links[fc.Source.NATS]
	if !tried {
		l = connectOne(p.config, fc.Source.NATS, true, slog.New(slog.DiscardHandler))
		p.links[fc.Source.NATS] = l
	}
	return l
}

// messages returns how many messages the fold's stream holds, if NATS answers.
func (p *planner) messages(ctx context.Context, fc config.Fold) (n uint64, known bool) {
	l := p.link(fc)
	if l.err != nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	o := foldOptions(p.config, fc, l, nil)
	src, err := source.Open(ctx, l.conn, o.Source)
	if err != nil {
		return 0, false
	}
	st := src.Status()
	return st.Messages, st.Reason == ""
}
