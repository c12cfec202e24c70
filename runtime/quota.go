package runtime

import (
	"fmt"

	"github.com/foldrun/foldrun/hint"
)

// Disk returns how much the files of all generations of the fold take, bytes; 0 where nobody can say. It looks at each file: it is
// for who shows that, not for what is asked with every read.
func (f *Fold) Disk() int64 {
	n, err := f.dir.Used(f.name)
	if err != nil {
		f.log.Warn("what the fold takes on disk is not known", "err", err)
		return 0
	}
	return n
}

// fits returns why no build may begin, because of disk_quota: what serves, and as much again, would take more. It is nil for
// a build that has begun already, unless that is dropped for another; for one that stands on disk as the way back, and while
// nothing serves.
func (f *Fold) fits(dropped bool) error {
	quota := f.opt.DiskQuota
	if quota == 0 || f.cur == nil {
		return nil
	}
	next, err := f.dir.Next(f.opt.Name)
	if err != nil || next.Generation != "" && !dropped {
		return err
	}
	p, err := f.dir.Previous(f.opt.Name)
	if err != nil || f.id.Has(p.Generation) {
		return err
	}
	size, err := f.cur.db.Size()
	if err != nil {
		return &Stop{CodeStore, err}
	}
	if 2*size <= quota {
		return nil
	}
	const mib = 1 << 20
	return &Stop{CodeQuota, hint.Error(fmt.Errorf("fold %s: what serves takes %d MiB, and what is to be built beside it may take as much: more than its disk_quota, %d MiB",
		f.opt.Name, size/mib, quota/mib), "raise disk_quota, then foldrun reload, which begins it; what an operator asked for is to be asked for again")}
}

// damaged has a generation built in the place of the one that serves, whose files are damaged. Where disk_quota has no room for
// that, what can be read of it serves on and is followed, until an operator makes room.
func (s *supervisor) damaged() error {
	damage := s.serving.db.Damage()
	refused, failed := s.attempt(&Stop{CodeDamaged, damage})
	if failed != nil || refused == nil {
		return failed
	}
	if code, text := Describe(refused); code == CodeQuota {
		held := &Stop{CodeQuota, hint.Error(fmt.Errorf("what serves is damaged (%w), and is not built anew: %s", damage, text),
			"raise disk_quota, then foldrun reload")}
		s.log.Error("not built anew", "code", held.Code, "err", held.Err, "hint", HintOf(held))
		s.set(func() { s.held = held })
		return nil
	}
	return refused
}
