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

// divergence returns why a source ended, if that is that its stream holds another history than the one that was folded.
func divergence(err error) *source.Stop {
	var stop *source.Stop
	if !errors.As(err, &stop) {
		return nil
	}
	switch stop.Code {
	case source.CodeRewound, source.CodeDiverged, source.CodeRecreated:
		return stop
	}
	return nil
}
