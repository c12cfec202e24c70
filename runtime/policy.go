package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
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

// Policies are what the options say that is no part of a generation's identity, and so is applied in place, as a configuration has
// it: "" where it says nothing.
func (o *FoldOptions) Policies() map[string]string {
	budget := o.Budget
	if budget == nil {
		budget = &defaultBudget
	}
	all := map[string]string{
		"error_budget":    budgetText(budget),
		"disk_quota":      sizeText(o.DiskQuota),
		"on_divergence":   string(cmp.Or(o.OnDiverged, DivergedRebuild)),
		"upgrade":         string(cmp.Or(o.Upgrade, UpgradeAuto)),
		"max_staleness":   durationText(o.Staleness),
		"build_jitter":    durationText(o.Jitter),
		"rollback_window": durationText(o.Rollback),
	}
	for i := range o.Gates {
		all["gate."+o.Gates[i].Name] = o.Gates[i].text()
	}
	return all
}

// Policies returns those of what runs, nil where nothing can.
func (f *Fold) Policies() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return nil
	}
	return f.opt.Policies()
}

func budgetText(b *store.Budget) string {
	if b.Share > 0 {
		return strconv.FormatFloat(100*b.Share, 'g', 6, 64) + "%"
	}
	return strconv.FormatUint(b.Least, 10)
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	text := d.String() // 1h0m0s
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func sizeText(n int64) string {
	if n == 0 {
		return ""
	}
	unit := "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n%1024 != 0 {
			break
		}
		n, unit = n/1024, next
	}
	return fmt.Sprintf("%d%s", n, unit)
}
