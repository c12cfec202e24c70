package runtime

import (
	"fmt"

	"github.com/foldrun/foldrun/hint"
)

// fits returns why no build may begin, because of disk_quota: what serves, and as much again, would take more. It is nil for
// a build that has begun already, and while nothing serves.
func (s *supervisor) fits() error {
	quota := s.opt.DiskQuota
	if quota == 0 || s.cur == nil {
		return nil
	}
	next, err := s.dir.Next(s.opt.Name)
	if err != nil || next.Generation != "" {
		return err
	}
	size, err := s.cur.db.Size()
	if err != nil {
		return &Stop{CodeStore, err}
	}
	if 2*size <= quota {
		return nil
	}
	const mib = 1 << 20
	return &Stop{CodeQuota, hint.Error(fmt.Errorf("fold %s: what serves takes %d MiB, and what is to be built beside it may take as much: more than its disk_quota, %d MiB",
		s.opt.Name, size/mib, quota/mib), "raise disk_quota, then foldrun reload and foldrun apply %s", s.opt.Name)}
}
