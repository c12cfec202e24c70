package serve

import (
	"os"
	"time"
)

// watched are files that are read again when they change. They are looked at when what they hold is needed, which costs
// a stat a file and no watcher.
type watched struct {
	paths []string
	infos []os.FileInfo // as they were before they were read; nil: could not be looked at
	fresh bool          // one was written just before: it may be written again within the same tick of its clock
}

// oldEnough is how old a change must be to be told from another one by its time.
const oldEnough = 2 * time.Second

// changed reports whether the files may hold something else than at the last call that said so. Read them after it.
func (f *watched) changed() bool {
	infos := make([]os.FileInfo, len(f.paths))
	same, fresh := f.infos != nil && !f.fresh, false
	for i, path := range f.paths {
		if info, err := os.Stat(path); err == nil {
			infos[i] = info
			age := time.Since(info.ModTime())
			fresh = fresh || age > -oldEnough && age < oldEnough
		}
		same = same && sameFile(f.infos[i], infos[i])
	}
	if same {
		return false
	}
	f.infos, f.fresh = infos, fresh
	return true
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}
