package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// limits is what a database keeps of the limits that verdicts depend on. They are beside the identity: a raised one
// changes nothing but what had failed on it, and all of that is in quarantine.
type limits struct {
	Of   map[string]int64 `json:"limits"`
	Owed bool             `json:"owed"` // raised since everything in quarantine was last tried
}

// Lowers names the limits of another identity that are lower here, or not there: what was transformed under the other
// might have failed under this one; and memory, where it is another: a guest that is refused memory may go on and yield
// something else. It is "" where all of what was transformed stands.
func (id Identity) Lowers(other Identity) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(id.Limits)) {
		switch was, ok := other.Limits[name]; {
		case !ok || id.Limits[name] < was:
			all = append(all, fmt.Sprintf("limits.%s is lowered from %d to %d", name, was, id.Limits[name]))
		case name == "memory" && id.Limits[name] != was:
			all = append(all, fmt.Sprintf("limits.%s is raised from %d to %d, and a module may yield other rows when it is refused memory", name, was, id.Limits[name]))
		}
	}
	return strings.Join(all, ", ")
}

// Raise makes the limits of id, none of which is lower, those of the generation. Where one is higher, what is in
// quarantine is owed a retry from then on: see Owes.
func (db *DB) Raise(id Identity) error {
	if maps.Equal(db.Identity().Limits, id.Limits) {
		return nil
	}
	return db.setLimits(limits{id.Limits, true})
}

// ErrLimits is part of the error of Build for a generation that holds what was transformed under a higher limit.
var ErrLimits = errors.New("store: built under a higher limit")

// adopt makes the limits of id those of a generation that is to be built on.
func (db *DB) adopt(id Identity) error {
	lowered := id.Lowers(db.Identity())
	switch {
	case lowered == "":
		return db.Raise(id)
	case db.State().Position().Seq == 0:
		return db.setLimits(limits{Of: id.Limits})
	}
	return fmt.Errorf("%w: generation %s: %s", ErrLimits, db.generation, lowered)
}

// Owes reports whether a limit was raised, and what is in quarantine was not tried again since.
func (db *DB) Owes() bool { return db.limits.Load().Owed }

// Retried notes that everything in quarantine was tried under the limits that hold.
func (db *DB) Retried() error { return db.setLimits(limits{Of: db.limits.Load().Of}) }

func (db *DB) setLimits(l limits) error {
	v, err := json.Marshal(l)
	if err == nil {
		err = db.pebble.Set(keyLimits, v, pebble.Sync)
	}
	if err != nil {
		return fmt.Errorf("store: limits of %s: %w", db.path, err)
	}
	db.limits.Store(&l)
	return db.describe()
}

// loadLimits reads the limits.
func (db *DB) loadLimits() error {
	v, err := db.get(keyLimits)
	var l limits
	if err == nil {
		err = json.Unmarshal(v, &l)
	}
	if err != nil {
		return fmt.Errorf("its limits: %w", err)
	}
	db.limits.Store(&l)
	return nil
}
