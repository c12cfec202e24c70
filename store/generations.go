package store

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/foldrun/foldrun/hint"
)

// gone is the end of the name of a generation that is being removed.
const gone = ".gone"

// Next is a generation that is being built to replace the current one.
type Next struct {
	Generation string
	Replaces   string // "" when there was none
	Asked      bool   // an operator asked for it, or it is not to wait for other reasons
	Cause      string // the stable code of what is wrong with what it replaces, "" where nothing is
	Created    int64  // with it, of the stream that holds another history: when it was created, ns since 1970; else 0
}

// text is what NEXT holds: the two generations, a hyphen for none and for what is no generation, then "asked" if it was, then the cause and
// when the stream was created if there is one.
func (n Next) text() string {
	replaces := n.Replaces
	if Number(replaces) == 0 {
		replaces = "-" // CURRENT may hold anything
	}
	text := n.Generation + " " + replaces
	if n.Asked {
		text += " asked"
	}
	if n.Cause != "" {
		text += fmt.Sprintf(" %s %d", n.Cause, n.Created)
	}
	return text + "\n"
}

// parseNext is the inverse of Next.text.
func parseNext(text string) (n Next, ok bool) {
	words := strings.Fields(text)
	if len(words) < 2 || Number(words[0]) == 0 || Number(words[1]) == 0 && words[1] != "-" {
		return n, false
	}
	n.Generation = words[0]
	if words[1] != "-" {
		n.Replaces = words[1]
	}
	if words = words[2:]; len(words) > 0 && words[0] == "asked" {
		n.Asked, words = true, words[1:]
	}
	switch len(words) {
	case 0:
		return n, true
	case 2:
		created, err := strconv.ParseInt(words[1], 10, 64)
		if n.Cause, n.Created = words[0], created; err == nil {
			return n, true
		}
	}
	return Next{}, false
}

// Next returns the generation of a fold that is being built, the zero value when none is.
func (d *Dir) Next(fold string) (n Next, err error) {
	b, err := readFile(d.fs, d.foldPath(fold, "NEXT"))
	if errors.Is(err, os.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return n, fmt.Errorf("store: next generation of fold %s: %w", fold, err)
	}
	n, ok := parseNext(string(b))
	if !ok {
		return n, hint.Error(fmt.Errorf("store: %s holds %q: %w", d.foldPath(fold, "NEXT"), b, ErrNext), "a start removes it: nothing is built then")
	}
	return n, nil
}

// ErrNext is part of the error of Next for a file that names no generation.
var ErrNext = errors.New("no generation and the one that it replaces")

// Forget removes NEXT, whatever it holds.
func (d *Dir) Forget(fold string) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	return d.unlink(fold, "NEXT")
}

// Begin notes that a generation is built to replace the current one, before the generation is there: a restart goes on
// with it.
func (d *Dir) Begin(fold string, n Next) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	if err := makeDir(d.fs, d.foldPath(fold)); err != nil {
		return fmt.Errorf("store: fold %s: %w", fold, err)
	}
	return d.replaceFile(d.foldPath(fold, "NEXT"), []byte(n.text()))
}

// Switch makes the generation that was built the one that serves. The one that it replaces stays until Finish.
func (d *Dir) Switch(fold string) error {
	n, err := d.Next(fold)
	if err == nil && n.Generation == "" {
		err = fmt.Errorf("store: fold %s has no generation to switch to", fold)
	}
	if err != nil {
		return err
	}
	return d.SetCurrent(fold, n.Generation)
}

// Finish removes the generation that NEXT does not need any more, and NEXT: after a switch the one that was replaced,
// which must be closed; else the one that was being built, which must be too. It may be repeated, after a crash too.
func (d *Dir) Finish(fold string) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	n, err := d.Next(fold)
	if err != nil || n.Generation == "" {
		return err
	}
	current, err := d.Current(fold)
	if err != nil {
		return err
	}
	old := n.Generation
	if current == n.Generation {
		old = n.Replaces
	}
	if err := d.remove(fold, old); err != nil {
		return err
	}
	return d.Forget(fold)
}

// remove removes a generation. It is renamed first: what is left of one after a crash must not pass for a store.
func (d *Dir) remove(fold, generation string) error {
	if generation == "" {
		return nil
	}
	if Number(generation) == 0 {
		return fmt.Errorf("store: fold %s: %q is not the name of a generation", fold, generation)
	}
	path := d.foldPath(fold, generation)
	err := d.fs.Rename(path, path+gone)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: remove generation %s of fold %s: %w", generation, fold, err)
	}
	if err := syncDir(d.fs, d.foldPath(fold)); err != nil {
		return fmt.Errorf("store: remove generation %s of fold %s: %w", generation, fold, err)
	}
	if err := d.fs.RemoveAll(path + gone); err != nil {
		return fmt.Errorf("store: remove generation %s of fold %s: %w", generation, fold, err)
	}
	return nil
}

// Vacant returns the number of the next generation that can be built of an identity: see Build.
func (d *Dir) Vacant(id Identity) (n int, err error) {
	all, err := d.Generations(id.Fold)
	if err != nil {
		return 0, err
	}
	for _, g := range all {
		if id.Has(g) {
			n = max(n, Number(g))
		}
	}
	return n + 1, nil
}

// Generations returns the names of a fold's generations that are on disk, sorted.
func (d *Dir) Generations(fold string) ([]string, error) {
	all, err := d.fs.List(d.foldPath(fold))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: generations of fold %s: %w", fold, err)
	}
	all = slices.DeleteFunc(all, func(name string) bool { return Number(strings.TrimSuffix(name, gone)) == 0 })
	for i, name := range all {
		all[i] = strings.TrimSuffix(name, gone)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Tidy removes from a fold's directory what a crash left of replacing a file there, or of removing a generation, and
// PREVIOUS if the generation that it names is gone. No generation of the fold may be on its way out meanwhile.
func (d *Dir) Tidy(fold string) error {
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	names, err := d.fs.List(d.foldPath(fold))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, name := range names {
		generation, going := strings.CutSuffix(name, gone)
		file, half := strings.CutSuffix(name, fresh)
		if going && Number(generation) != 0 || half && slices.Contains(foldFiles, file) {
			err = errors.Join(err, d.fs.RemoveAll(d.foldPath(fold, name)))
		}
	}
	if err != nil {
		return fmt.Errorf("store: tidy fold %s: %w", fold, err)
	}
	p, err := d.Previous(fold)
	if err != nil || p.Generation == "" || slices.Contains(names, p.Generation) {
		return err
	}
	return d.unlink(fold, "PREVIOUS")
}

// foldFiles are the files in the directory of a fold, beside its generations.
var foldFiles = []string{"CURRENT", "NEXT", "PREVIOUS", "HELD", "PAUSED"}
