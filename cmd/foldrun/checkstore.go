package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// kept is what the data directory has of a fold.
type kept struct {
	generation string // the one that serves, "" for none
	stream     string
	created    int64 // of the stream that was folded, ns; 0 = nothing was
	seq        uint64
}

// wholeStore is what check reads of a fold's store at most, for a starting foldrun waits for it: a second or two.
const wholeStore = 64 * mib

// stores looks at every fold in the data directory, whose lock is free.
func (k *checker) stores() {
	var configured []string
	for _, fc := range k.config.Folds {
		configured = append(configured, fc.Name)
	}
	configured = append(configured, k.mistakes.LeftOut...)
	found, err := foldDirs(k.config.DataDir)
	if err != nil {
		k.problem(err)
	}
	for _, name := range found {
		if !slices.Contains(configured, name) {
			k.fact("fold %s: not in the configuration; what it built is in %s", name, filepath.Join(k.config.DataDir, "folds", name))
			continue
		}
		k.store(name)
	}
	k.orphans(configured)
	for _, name := range configured {
		if k.kept[name].generation == "" && !slices.Contains(found, name) {
			k.fact("fold %s: nothing is built yet", name)
		}
	}
}

// orphans warns of generations that nothing names.
func (k *checker) orphans(configured []string) {
	all, err := store.SurveyFolds(k.config.DataDir)
	if err != nil {
		k.problem(err)
	}
	for _, s := range all {
		for _, e := range s.Entries {
			if e.Standing == store.StandingOrphan && slices.Contains(configured, s.Fold) {
				k.warn(hint.Error(fmt.Errorf("fold %s: generation %s, %s, is an orphan: %s", s.Fold, e.Name, sizeText(e.Bytes), e.Why),
					"foldrun generations %s --remove %s, if it is not wanted", s.Fold, e.Name))
			}
		}
	}
}

// foldDirs returns the names of the folds that have a directory, whether a generation serves or not.
func foldDirs(dataDir string) (names []string, err error) {
	all, err := os.ReadDir(filepath.Join(dataDir, "folds"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Error(err, "data_dir must be readable by the user that runs foldrun")
	}
	for _, e := range all {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// store opens what a fold has built, holding the directory's lock for no longer than that, and reads it whole if it is
// small.
func (k *checker) store(name string) {
	dir, err := store.OpenDir(k.config.DataDir, store.Options{ReadOnly: true, LockWait: lockWait})
	if err != nil {
		k.problem(err)
		return
	}
	defer dir.Close()
	since, paused, err := dir.Paused(name)
	if err != nil {
		k.problem(err)
	} else if paused {
		k.fact("fold %s: paused since %s: foldrun resume %s", name, since, name)
	}
	generation, err := dir.Current(name)
	switch {
	case err != nil:
		k.problem(err)
		return
	case generation == "":
		k.warn(noCurrent(dir.FoldPath(name), name))
		return
	}
	k.kept[name] = kept{generation: generation}
	db, err := dir.Open(name, generation)
	if err != nil {
		k.unopened(dir.FoldPath(name), name, generation, err)
		return
	}
	defer db.Close()
	at := db.State().Position()
	k.kept[name] = kept{generation, db.Identity().Stream, at.Created, at.Seq}
	k.verify(name, db)
}

// noCurrent is what a fold's directory without CURRENT is told.
func noCurrent(path, name string) error {
	return hint.Error(fmt.Errorf("fold %s: %s has no CURRENT, which names the generation that serves", name, path),
		"put the file back, or start foldrun: it goes on with the generation that is configured, or builds it")
}

func (k *checker) unopened(path, name, generation string, err error) {
	const mend = "see that the disk is sound; a start builds the fold again from the stream"
	switch {
	case errors.Is(err, store.ErrNoGeneration):
		k.coded(runtime.CodeDamaged, fmt.Sprintf("fold %s: %s: %s names the generation %s, which is not there", name, runtime.CodeDamaged,
			filepath.Join(path, "CURRENT"), generation), mend, true)
	case store.IsDamage(err):
		k.coded(runtime.CodeDamaged, fmt.Sprintf("fold %s: %s: %v", name, runtime.CodeDamaged, err), mend, true)
	default:
		code := runtime.CodeOf(err)
		k.coded(code, fmt.Sprintf("fold %s: %s: %v", name, code, err), hint.Of(err), true)
	}
}

// verify reads a store whole, unless it is large.
func (k *checker) verify(name string, db *store.DB) {
	if size := sizeOf(db.Path()); size > wholeStore {
		k.fact("fold %s: its store of %d MiB was opened, and not read: foldrun verify %s does", name, size/mib, name)
		return
	}
	found, err := db.Check()
	switch {
	case err != nil:
		k.unopened(db.Path(), name, db.Generation(), err)
	case found.Found > 0:
		k.coded(runtime.CodeDamaged, fmt.Sprintf("fold %s: %s: its store has %s, the first: %s", name, runtime.CodeDamaged,
			counted(found.Found, "problem", "problems"), found.Problems[0]),
			"foldrun verify "+name+" lists them; "+db.RebuildHint(), true)
	default:
		k.fact("fold %s: its store is whole: %s, folded up to seq %d", name, counted(found.Rows, "row", "rows"), found.State.Position().Seq)
	}
}

// sizeOf returns the bytes of a generation's files.
func sizeOf(path string) (n int64) {
	all, _ := os.ReadDir(path) // it was opened just now
	for _, e := range all {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

// ask takes what the foldrun that runs on the data directory says of its folds.
func (k *checker) ask(ctx context.Context, who *client.Client, url string) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	s, err := who.Status(ctx)
	if err != nil {
		k.warn(fmt.Errorf("the foldrun at %s was not asked for its folds: %w", url, err))
		return
	}
	for _, f := range s.Folds {
		have := kept{generation: f.Generation, stream: f.Stream, seq: f.Seq}
		if t, err := time.Parse(time.RFC3339Nano, f.Created); err == nil {
			have.created = t.UnixNano()
		}
		k.kept[f.Name] = have
		if f.Code != "" {
			k.coded(f.Code, fmt.Sprintf("fold %s: %s, says the foldrun that runs: %s: %s", f.Name, f.State, f.Code, f.Reason), f.Hint, false)
		}
	}
}
