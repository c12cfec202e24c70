package runtime

import (
	"errors"

	"github.com/foldrun/foldrun/store"
)

// The stable codes of why a fold does not do its work, beside those of package source. They stand in status, logs and
// docs/runbook.md.
const (
	CodeConfig         = "config_invalid"     // the configuration that the fold stands in has a mistake
	CodeModule         = "module_invalid"     // the module is refused, or no instance of it starts
	CodeModuleAway     = "module_unavailable" // the module's object store is away, and none was fetched before
	CodeUntrusted      = "module_untrusted"   // the module may not run: its signature, its sha256 or its version is not what is asked for
	CodeIdentity       = "generation_differs" // what the fold is configured to be is not what its current generation is
	CodeStore          = "store_failed"       // the store could not be opened, read or written
	CodeFormat         = "store_format"       // the generation that serves is of a store format that this foldrun does not read
	CodeDamaged        = "store_damaged"      // a file of the store is corrupt
	CodeDiskLow        = "disk_low"           // paused until there is min_free_disk again
	CodeQuota          = "disk_quota"         // paused until the fold takes less than its disk_quota, or a build of it would not
	CodeRecordFailed   = "record_failed"      // on_error = "halt", and a record could not be transformed
	CodeBudget         = "error_budget"       // more records failed than error_budget allows
	CodeQuarantineFull = "quarantine_full"    // what failed takes more room than quarantine has
	CodeHeld           = "switch_held"        // what is to replace the rows holds too few of them
	CodeGate           = "gate_failed"        // what is to replace the rows does not answer a gate query as it is to
	CodeRolledBack     = "rolled_back"        // an operator went back from what is configured
	CodePaused         = "paused"             // an operator paused the fold
	CodeCatchingUp     = "catching_up"        // not everything that the stream holds was folded yet, not even once
	CodeStale          = "stale"              // everything was folded last longer ago than max_staleness allows
	CodeConnection     = "nats_connection"    // the connection to NATS could not be set up
)

// CodeOf returns the code of a store that cannot be opened or read.
func CodeOf(err error) string {
	switch {
	case store.IsDamage(err):
		return CodeDamaged
	case errors.Is(err, store.ErrFormat):
		return CodeFormat
	}
	return CodeStore
}

// Stop is why a fold ended for good: trying again would find the same.
type Stop struct {
	Code string // stable
	Err  error  // with its hint, if it has one
}

func (s *Stop) Error() string { return s.Code + ": " + s.Err.Error() }
func (s *Stop) Unwrap() error { return s.Err }
