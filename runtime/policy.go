package runtime

import (
	"errors"

	"github.com/foldrun/foldrun/runtime/source"
)

// Divergence says what a fold does when its stream turns out to hold another history than the one that was folded: it
// was made anew, restored from an older copy, or lost its tail.
type Divergence string

const (
	DivergedRebuild   Divergence = "rebuild"   // a new generation is built beside the one that serves; lost tails are mended in place
	DivergedReconcile Divergence = "reconcile" // the generation that serves is mended in place
	DivergedHalt      Divergence = "halt"      // the fold stops until an operator decides
)

// Upgrade says what a fold does when the generation that serves is not what is configured.
type Upgrade string

const (
	UpgradeAuto   Upgrade = "auto"   // the one that is configured is built beside it
	UpgradeManual Upgrade = "manual" // the fold stops until an operator has it built
)

// evictKeep is the on_evict of a fold whose rows outlive the eviction of their message.
const evictKeep = "keep"

// acceptAny is the acceptance of a loss that is not for another history of the stream's sake.
const acceptAny = -1

// accepts says whether an operator accepts what is lost to a stream that was created at a time: that of the one which
// stopped the fold, and of no other that has its name by now.
func (f *Fold) accepts(created int64) bool {
	a := f.accept.Load()
	return a == acceptAny || a != 0 && a == created
}

// acceptance returns what an operator accepts who has a fold go on that ended because of why.
func acceptance(why error, accept bool) int64 {
	if !accept {
		return 0
	}
	if created := foundCreated(why); created != 0 {
		return created
	}
	return acceptAny
}

// ofStream is an error about a stream that was created at a time.
type ofStream struct {
	error
	created int64
}

func (e ofStream) Unwrap() error { return e.error }

// foundCreated returns when the stream was created that an error is about, 0 when it is about none.
func foundCreated(err error) int64 {
	var of ofStream
	if errors.As(err, &of) {
		return of.created
	}
	if stop := divergence(err); stop != nil {
		return stop.Created
	}
	return 0
}

// divergence returns why a source ended, if that is that its stream holds another history than the one that was folded.
func divergence(err error) *source.Stop {
	var stop *source.Stop
	if !errors.As(err, &stop) {
		return nil
	}
	if isDivergence(stop.Code) {
		return stop
	}
	return nil
}
