package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile bounds a configuration file.
const maxFile = 1 << 20

// A file is one configuration file while it is read.
type file struct {
	name        string // as it is told to the user
	dir         string // absolute; relative paths start there
	main        bool
	trusting    bool // the main file has trusted_keys
	includes    []include
	describing  bool            // there is no file: the schema is being asked for its keys
	schema      func() []string // all keys that such a file may hold; nil: schemaKeys
	values      map[string]any
	head        map[string]any // without values: what stands before the mistake
	lines       lines
	connections map[string]NATS // of the main file
	keys        []string        // of the schema, as far as it was walked
	claims      []string        // names of its folds, good or not
	uses        []string        // the connections that they name
	folds       []Fold          // those without a problem
	faulty      []Fold          // the others
	problems    []Problem
}

// Load reads the file and what it includes. The Config is never nil; the error is nil or a *Problems. When that is not
// Fatal, the Config may run: it has the folds that are good, and lacks those of the included files with a mistake.
// When it is Fatal, the Config is good only for looking for further mistakes.
//
// Load opens no file but those, and connects to nothing.
func Load(path string) (*Config, error) {
	c := Default()
	c.Path = path
	main := open(path, true)
	if main.values != nil {
		main.readMain(main.table(nil, "", main.values), c)
	}
	c.lines = main.lines
	files := append([]*file{main}, main.included()...)
	problems := gather(c, files)
	if len(problems.All) == 0 {
		return c, nil
	}
	problems.Unread = main.values == nil
	c.DataDir, problems.Placed = main.place(c.DataDir)
	problems.sort(path)
	return c, problems
}

// open reads and parses a file. One that cannot be has no values.
func open(path string, main bool) *file {
	f := &file{name: path, main: main}
	src, err := readFile(path, main)
	if err != nil {
		f.problem(nil, "cannot be read: "+err.Error(), f.mendUnread(err))
		return f
	}
	full, err := filepath.Abs(path)
	if err != nil {
		f.problem(nil, "has no absolute path: "+err.Error(), "")
		return f
	}
	f.dir = filepath.Dir(full)
	if !f.parse(src) {
		f.values, f.head = nil, head(src, f.problems[0].Line)
	}
	return f
}

// place returns the data_dir that a file names, and whether it does: one with a mistake elsewhere says where its foldrun runs.
func (f *file) place(otherwise string) (dir string, named bool) {
	values := f.values
	if values == nil {
		values = f.head
	}
	s, ok := values["data_dir"].(string)
	if text, _ := judge(s, []rule{pathRule}); !ok || s == "" || text != "" || slices.ContainsFunc(f.problems, func(p Problem) bool { return p.Key == "data_dir" }) {
		return otherwise, false
	}
	return f.resolve(s), true
}

// mendUnread says what to do about a file that cannot be read.
func (f *file) mendUnread(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "run as a user that may read it"
	case filepath.Base(f.name) == PluginFile:
		return "name the plugin's directory"
	case !f.main:
		return "what include matches are regular files of at most " + formatSize(maxFile)
	case errors.Is(err, fs.ErrNotExist):
		return "name the configuration file with -c; config.example.toml shows every key"
	}
	return "name a file with -c, of at most " + formatSize(maxFile)
}

// readFile reads a file. The main one may be a pipe; a pattern may not lead to one, which would be waited for.
func readFile(path string, main bool) (string, error) {
	if !main && !isRegular(path) {
		return "", errors.New("not a regular file")
	}
	r, err := os.Open(path)
	if err != nil {
		return "", cause(err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return "", cause(err)
	}
	if len(b) > maxFile {
		return "", fmt.Errorf("larger than %s", formatSize(maxFile))
	}
	return string(b), nil
}

// cause drops the path from an error that is told beside it.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func (f *file) problem(path []string, text, hint string) {
	f.problems = append(f.problems, Problem{
		File: f.name, Line: f.lines.at(path), Key: dotted(path), Text: text, Hint: hint, Fatal: f.main,
	})
}

// An include is one pattern of the list, absolute.
type include struct {
	index   int
	pattern string
	plain   bool // no pattern, but the path of a file: it must exist
}

// pattern notes the pattern at index i of the list and returns it, absolute. What would be a wildcard in the path of the
// file's own directory is none.
func (f *file) pattern(i int, p string) string {
	inc := include{i, p, !strings.ContainsAny(p, `*?[`)}
	if !filepath.IsAbs(p) {
		dir := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(f.dir)
		inc.pattern = filepath.Join(dir, p)
	}
	f.includes = append(f.includes, inc)
	return inc.pattern
}

// included reads the files that f includes: each once, f itself never, sorted by name.
func (f *file) included() []*file {
	var paths []string
	for _, inc := range f.includes {
		found, _ := filepath.Glob(inc.pattern) // globRule saw its form
		if len(found) == 0 && inc.plain {
			f.problem([]string{"include", element(inc.index)}, "there is no such file", "only a pattern may match nothing")
		}
		paths = append(paths, found...)
	}
	slices.Sort(paths)
	var files []*file
	for _, path := range slices.Compact(paths) {
		if !sameFile(path, f.name) {
			files = append(files, f.include(path))
		}
	}
	return files
}

func (f *file) include(path string) *file {
	g := open(path, false)
	if rel, err := filepath.Rel(f.dir, path); err == nil && !filepath.IsAbs(f.name) {
		g.rename(filepath.Join(filepath.Dir(f.name), rel))
	}
	g.connections, g.trusting = f.connections, f.trusting
	if g.values != nil {
		g.readIncluded(g.table(nil, "", g.values))
	}
	return g
}

// rename names a file as the user would, who named the main file by a relative path.
func (f *file) rename(name string) {
	f.name = name
	for i := range f.problems {
		f.problems[i].File = name
	}
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular() // the error is Open's to tell
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// gather fills c.Folds with the good folds of files, the main one first, and returns what is wrong with the others.
func gather(c *Config, files []*file) *Problems {
	p := &Problems{}
	twice := claimedTwice(files, p)
	for _, f := range files {
		p.All = append(p.All, f.problems...)
		p.LeftOut, p.NATS = append(p.LeftOut, f.claims...), append(p.NATS, f.uses...)
		for _, fold := range f.folds {
			if f.main || len(f.problems) == 0 && !twice[fold.Name] {
				c.Folds = append(c.Folds, fold)
			} else {
				p.Folds = append(p.Folds, fold)
			}
		}
		p.Folds = append(p.Folds, f.faulty...)
	}
	slices.SortStableFunc(p.Folds, func(a, b Fold) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Folds, func(a, b Fold) int { return cmp.Compare(a.Name, b.Name) })
	p.LeftOut = slices.DeleteFunc(p.LeftOut, c.has) // another file's fold of that name stands
	return p
}

func (c *Config) has(fold string) bool {
	return slices.ContainsFunc(c.Folds, func(f Fold) bool { return f.Name == fold })
}

// claimedTwice returns the names that several files claim. Which is meant nobody knows: the first in the order of the
// file names would let a new file take over a name that is being served. So none is, but for the main file's.
func claimedTwice(files []*file, p *Problems) map[string]bool {
	first, twice := map[string]*file{}, map[string]bool{}
	for _, f := range files {
		for _, name := range f.claims {
			g := first[name]
			if g == nil {
				first[name] = f
				continue
			}
			twice[name] = true
			path := []string{"fold", name}
			p.All = append(p.All, Problem{
				File: f.name, Line: f.lines.at(path), Key: dotted(path),
				Text: fmt.Sprintf("is also in %s:%d", g.name, g.lines.at(path)),
				Hint: "a fold's name is its directory: rename one",
			})
		}
	}
	return twice
}
