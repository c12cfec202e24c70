package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/foldrun/foldrun/hint"
)

// A Standing is what an entry of a fold's directory is to the fold.
type Standing string

const (
	StandingCurrent  Standing = "current"  // it serves
	StandingNext     Standing = "next"     // it is being built to replace the one that serves
	StandingPrevious Standing = "previous" // it is kept as the way back
	StandingReplaced Standing = "replaced" // a switch has just replaced it
	StandingLeaving  Standing = "leaving"  // it is being removed: the next start does that
	StandingOrphan   Standing = "orphan"   // no file of the fold names it; foldrun made it, and it can be removed
	StandingUnknown  Standing = "unknown"  // foldrun did not make it, or not as it is: it is never touched
)

// An Entry is what lies in a fold's directory.
type Entry struct {
	Name     string // of the generation, of what is unknown the name
	Standing Standing
	Why      string
	Bytes    int64
	Until    time.Time // of what is kept as the way back
	Identity Identity  // the zero value where it is not told
}

// A Survey is what the directory of a fold holds, for who has not its lock: what runs there may go on.
type Survey struct {
	Fold    string
	Path    string
	Current string
	Ours    bool    // foldrun made it: it has a file or a generation of a fold
	Entries []Entry // sorted by name
	Bytes   int64   // of all of them
}

// SurveyFolds looks at every directory of a data directory that may be a fold's. It changes nothing.
func SurveyFolds(path string) (all []Survey, err error) {
	d := &Dir{path: path, fs: vfs.Default, opt: Options{ReadOnly: true}}
	names, err := d.fs.List(d.foldPath(""))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	slices.Sort(names)
	for _, name := range names {
		s, err2 := d.survey(name)
		err = errors.Join(err, err2)
		all = append(all, s)
	}
	if err != nil {
		return nil, fmt.Errorf("store: folds of %s: %w", path, err)
	}
	return all, nil
}

// names are the generations that the files of a fold name.
type names struct {
	current  string
	next     []Next // as read before and after the way back was: what becomes the one from the other is never missed
	previous Previous
}

func (d *Dir) names(fold string) (n names, err error) {
	read := func() error {
		next, err := d.Next(fold)
		n.next = append(n.next, next)
		if errors.Is(err, ErrNext) {
			return nil
		}
		return err
	}
	err = read()
	p, err2 := d.Previous(fold)
	err = errors.Join(err, err2, read())
	n.previous = p
	n.current, err2 = d.Current(fold)
	return n, errors.Join(err, err2)
}

// of says what a generation is by its name.
func (n *names) of(generation string) (s Standing, why string) {
	if generation == n.current {
		return StandingCurrent, "it serves"
	}
	for _, next := range n.next {
		if next.Generation == generation {
			return StandingNext, "it is being built; it replaces what serves once it has caught up"
		}
	}
	if generation == n.previous.Generation {
		return StandingPrevious, "it is the way back of the last upgrade"
	}
	for _, next := range n.next {
		if next.Replaces == generation {
			return StandingReplaced, "a switch has just replaced it: the foldrun that runs, or the next start, keeps it as the way back or removes it"
		}
	}
	return StandingOrphan, ""
}

// survey looks at the directory of one fold.
func (d *Dir) survey(fold string) (s Survey, err error) {
	s = Survey{Fold: fold, Path: d.foldPath(fold)}
	info, err := d.fs.Stat(s.Path)
	if err != nil || !info.IsDir() {
		return s, err
	}
	list, err := d.fs.List(s.Path) // before the names: what is made after is none of the list
	if err != nil {
		return s, err
	}
	n, err := d.names(fold)
	if err != nil {
		return s, err
	}
	s.Current = n.current
	slices.Sort(list)
	for _, name := range list {
		if slices.Contains(foldFiles, strings.TrimSuffix(name, fresh)) {
			s.Ours = true
			continue
		}
		e := d.entry(fold, name, &n)
		s.Ours = s.Ours || e.Standing != StandingUnknown
		s.Bytes += e.Bytes
		s.Entries = append(s.Entries, e)
	}
	return s, nil
}

// entry says what an entry of a fold's directory is.
func (d *Dir) entry(fold, name string, n *names) Entry {
	e := Entry{Name: name, Standing: StandingUnknown, Why: "foldrun did not make it: it is never touched"}
	path := d.foldPath(fold, name)
	e.Bytes, _ = sizeOf(d.fs, path) // of a file none
	generation := strings.TrimSuffix(name, gone)
	if info, err := d.fs.Stat(path); err != nil || !info.IsDir() || Number(generation) == 0 {
		if err == nil && !info.IsDir() {
			e.Bytes = info.Size()
		}
		return e
	}
	if generation != name {
		e.Name, e.Standing, e.Why = generation, StandingLeaving, "it is being removed: the next start does it"
		return e
	}
	if e.Standing, e.Why = n.of(name); e.Standing == StandingPrevious {
		e.Until = n.previous.Until
	}
	var made error
	e.Identity, made = d.made(fold, name)
	switch {
	case e.Standing != StandingOrphan:
	case made != nil:
		e.Standing, e.Why = StandingUnknown, "it is not as foldrun makes one, and never touched: "+made.Error()
	case n.current == "":
		e.Why = "the fold has no CURRENT: a start goes on with what is configured, and with no other"
	case e.Identity.Fold == "":
		e.Why = "no file of the fold names it, and it does not say what it is: a first build that was given up"
	default:
		e.Why = "no file of the fold names it"
	}
	return e
}

// A file of Pebble's or of ours in the directory of a generation.
var generationFile = regexp.MustCompile(`^([0-9]{6,}\.(log|sst|blob)|(MANIFEST|OPTIONS)-[0-9]{6,}|OPTIONS-[0-9]{6,}\.dbtmp|temporary\.[0-9]{6,}\.dbtmp|marker\.[a-z-]+\.[0-9]{6}\..+|LOCK|[0-9]+\` + runSuffix + `)$`)

// made returns the identity of a generation, the zero value where it does not tell; an error says why foldrun did not make it,
// or not as it is.
func (d *Dir) made(fold, generation string) (id Identity, err error) {
	path := d.foldPath(fold, generation)
	list, err := d.fs.List(path)
	if err != nil {
		return id, err
	}
	for _, name := range list {
		info, err := d.fs.Stat(d.fs.PathJoin(path, name))
		if err == nil && info.IsDir() || !fileOfOurs(name) && !generationFile.MatchString(name) {
			return id, fmt.Errorf("it holds %s", name)
		}
	}
	b, err := readFile(d.fs, d.fs.PathJoin(path, identityFile))
	if errors.Is(err, os.ErrNotExist) {
		return id, nil
	}
	var was described
	if err == nil {
		err = json.Unmarshal(b, &was)
	}
	if err != nil {
		return id, fmt.Errorf("%s: %w", identityFile, err)
	}
	text, err := was.Identity.canonical()
	if is := generationOf(text); err == nil && (!SameIdentity(is, generation) || was.Identity.Fold != fold) {
		err = fmt.Errorf("its %s is that of generation %s of fold %s: it was renamed or copied", identityFile, is, was.Identity.Fold)
	}
	return was.Identity, err
}

// RemoveOrphan removes a generation that no file of its fold names, whether foldrun runs on the data directory or not. It
// refuses everything else.
func RemoveOrphan(path, fold, generation string) error {
	d := &Dir{path: path, fs: vfs.Default}
	name := d.fs.PathJoin(path, "LOCK")
	if _, err := d.fs.Stat(name); err != nil { // else it would be made
		return hint.Error(fmt.Errorf("store: data_dir %s: %w", path, err), "name the data_dir of a foldrun that ran here")
	}
	lock, err := d.fs.Lock(name)
	switch errno := syscall.Errno(0); {
	case err == nil:
		defer lock.Close()
	case errors.As(err, &errno) && errno == syscall.EAGAIN || errors.Is(err, syscall.EACCES): // a foldrun runs there
	default:
		return fmt.Errorf("store: data_dir %s: %w", path, err)
	}
	running := err != nil
	s, err := d.survey(fold)
	if err != nil {
		return fmt.Errorf("store: fold %s: %w", fold, err)
	}
	i := slices.IndexFunc(s.Entries, func(e Entry) bool { return e.Name == generation && e.Standing != StandingLeaving })
	switch {
	case i < 0:
		return fmt.Errorf("store: fold %s has %w %s", fold, ErrNoGeneration, generation)
	case s.Entries[i].Standing != StandingOrphan:
		return hint.Error(fmt.Errorf("store: generation %s of fold %s is no orphan: %s", generation, fold, s.Entries[i].Why), "only what no file of a fold names is removed")
	case running && s.Current == "":
		return hint.Error(fmt.Errorf("store: fold %s has no CURRENT: the foldrun that runs may take generation %s", fold, generation), "stop it first, or let it build the fold")
	}
	held, err := d.fs.Lock(d.foldPath(fold, generation, "LOCK"))
	if err != nil {
		return hint.Error(fmt.Errorf("store: generation %s of fold %s is open: %w", generation, fold, err), "stop who reads it")
	}
	return errors.Join(d.remove(fold, generation), held.Close())
}
