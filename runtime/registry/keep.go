package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/foldrun/foldrun/hint"
)

// A note is what a fold ran last.
type note struct {
	From    string `json:"from"` // as Wanted.from has it
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

// readNote returns what a fold ran last, the zero value if it ran nothing.
func (r *Registry) readNote(fold string) (n note, err error) {
	b, err := os.ReadFile(filepath.Join(r.Dir, fold+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		return n, hint.Error(fmt.Errorf("registry: what fold %s ran last: %w", fold, err), "if the file cannot be mended, remove it: a lower version is then taken")
	}
	return n, nil
}

// Ran notes that a fold runs a module, and removes the modules that no fold runs any more. A lower version of it is
// refused from then on, unless it is pinned.
func (r *Registry) Ran(w Wanted, m Module) error {
	if r.ReadOnly || w.Object == "" && len(r.Trusted) == 0 {
		return nil
	}
	b, err := json.Marshal(note{w.from(), m.Name, m.Version, m.SHA256})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(r.Dir, w.Fold+".json"), append(b, '\n')); err != nil {
		return err
	}
	return r.prune()
}

// keep keeps what was fetched.
func (r *Registry) keep(m Module) error {
	if r.ReadOnly {
		return nil
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	path := r.path(m.SHA256)
	if m.Signature != "" {
		if err := writeFile(path+Suffix, []byte(m.Signature+"\n")); err != nil {
			return err
		}
	}
	return writeFile(path, m.Wasm)
}

func (r *Registry) path(sha256 string) string { return filepath.Join(r.Dir, sha256+".wasm") }

// kept returns what keep kept. The bytes are those of the digest, or there are none.
func (r *Registry) kept(sha256 string) (m Module, err error) {
	if sha256 == "" {
		return m, fs.ErrNotExist
	}
	if m, err = Open(r.path(sha256)); err == nil && m.SHA256 != sha256 {
		err = fmt.Errorf("registry: %s is damaged", r.path(sha256))
	}
	return m, err
}

// prune removes the modules that no note names. It is called by whoever makes folds, one after the other.
func (r *Registry) prune() error {
	all, err := os.ReadDir(r.Dir)
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, e := range all {
		if fold, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			n, err := r.readNote(fold)
			if err != nil {
				return err
			}
			used[n.SHA256] = true
		}
	}
	for _, e := range all {
		sha256, _, _ := strings.Cut(e.Name(), ".")
		if !strings.HasSuffix(e.Name(), ".json") && !used[sha256] {
			err = errors.Join(err, os.Remove(filepath.Join(r.Dir, e.Name())))
		}
	}
	return err
}

// Open reads a file and the signature beside it. What its manifest says may be missing: see Read.
func Open(path string) (m Module, err error) {
	wasm, err := readFile(path, MaxBytes)
	if err != nil {
		return m, err
	}
	sig, err := readFile(path+Suffix, 4<<10)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	m, _ = Read(wasm) // what is wrong with its manifest, compiling it says
	m.Signature = strings.TrimSpace(string(sig))
	return m, nil
}

func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = hint.Error(fmt.Errorf("%s has more than %d bytes", path, most), tooLarge)
	}
	return b, err
}

// writeFile puts a file into place whole, 0600, so that a crash leaves what was there or what is new.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
