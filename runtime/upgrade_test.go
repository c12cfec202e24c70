package runtime

import (
	"fmt"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/store"
)

// TestOldFollows configures another generation, which waits: for another fold's build, or for an operator. The one that
// serves follows the source meanwhile, as its own configuration says, also after a restart.
func TestOldFollows(t *testing.T) {
	for _, by := range []Upgrade{UpgradeAuto, UpgradeManual} {
		t.Run(string(by), func(t *testing.T) {
			s := newSite(t)
			kv := s.bucket("edge", 1)
			path, o := t.TempDir(), s.modelFold("edge") // b shows the latest claimant
			r := start(t, path, store.Options{}, o)
			r.reach(s.put(kv, "k", []byte("bx=1")))
			first := r.Status().Generation
			r.stop()

			o.Collisions, o.Upgrade = nil, by
			for i := range 2 {
				dir := openDir(t, path, store.Options{})
				f := must(NewFold(t.Context(), dir, o))(t)
				f.builds <- struct{}{} // another fold builds
				r = run(t, dir, f)
				r.reach(s.put(kv, fmt.Sprint("l", i), []byte("bx=2")))
				st := r.Status()
				state := StateRebuilding
				if by == UpgradeManual {
					state = StateHeld
				}
				if st.Generation != first || st.State != state || st.Code != CodeIdentity || st.Module != "model" || !strings.Contains(st.Reason, "indexes differ") {
					t.Errorf("before the upgrade: %+v", st)
				}
				equal(t, "rows", r.rows(1, store.Range{}), fmt.Sprintf(`"x" "l%d" "2"`, i))
				whole(t, r.Store())
				if i == 0 {
					r.stop()
				}
			}
			if by == UpgradeManual {
				check(t, r.Rebuild(t.Context()))
			}
			<-r.builds
			r.await("a switch", func(st Status) bool { return st.Generation != first && st.State == StateFollowing })
			equal(t, "rows", r.rows(1, store.Range{}), `"x" "k" "1"`, `"x" "l0" "2"`, `"x" "l1" "2"`)
			r.stop()
		})
	}
}
