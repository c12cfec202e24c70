package runtime

import (
	"testing"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// TestDivergedDefault: a fold that says nothing of another history of its stream does what one with DivergedRebuild does, also where an
// operator accepts what that loses.
func TestDivergedDefault(t *testing.T) {
	dir := openDir(t, t.TempDir(), store.Options{})
	defer func() { check(t, dir.Close()) }()
	mends := func(on Divergence, anchored, accepted bool) bool {
		f := newFold(dir, recipe{opt: FoldOptions{Name: "f", OnDiverged: on}.complete(dir)})
		if accepted {
			f.accept.Store(acceptAny)
		}
		g := &follower{Fold: f, recipe: f.recipe}
		return g.mends(&source.Stop{Code: source.CodeRewound, Anchored: anchored})
	}
	for _, anchored := range []bool{false, true} {
		for _, accepted := range []bool{false, true} {
			if is, want := mends("", anchored, accepted), mends(DivergedRebuild, anchored, accepted); is != want {
				t.Errorf("anchored %v, accepted %v: mended in place: %v, want %v", anchored, accepted, is, want)
			}
		}
	}
}
