package query

import (
	"errors"
	"net/http"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/store"
)

// A Fault is why a request has no reply.
type Fault struct {
	Status  int    // of HTTP; other doors have it as their number too
	Code    string // stable
	Message string
	Hint    string    // what to do about it, perhaps ""
	At      *Position // what was looked at, where that was known
	Err     error     // of the store, where that could not be read; else nil
}

func (f *Fault) Error() string { return f.Code + ": " + f.Message }

func (f *Fault) Unwrap() error { return f.Err }

// The codes of faults, beside those of why a fold stopped, and why a position is not to be had.
const (
	Parameter    = "bad_parameter"
	NotFound     = "not_found" // the key has no row
	UnknownFold  = "unknown_fold"
	UnknownIndex = "unknown_index"
	Starting     = "fold_starting"
	Closing      = "closing"
	NotFollowing = "not_following" // the source cannot be asked
	TooSlow      = "too_slow"      // the time for one request was over before there was anything to reply
	Busy         = "busy"          // one only may do it at a time, or too many ask

	TokenExpired     = "token_expired"      // the snapshot of the token is gone
	TooManySnapshots = "too_many_snapshots" // none can be kept now
)

func bad(message, hint string) *Fault {
	return &Fault{Status: http.StatusBadRequest, Code: Parameter, Message: message, Hint: hint}
}

func closing() *Fault {
	return &Fault{Status: http.StatusServiceUnavailable, Code: Closing, Message: "foldrun is stopping", Hint: "ask again once it has started"}
}

// FaultOf makes an error a fault: what is none is a store that could not be read. db may be nil.
func FaultOf(err error, db *store.DB) *Fault {
	var f *Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, store.ErrClosed):
		return closing()
	}
	f = &Fault{Status: http.StatusServiceUnavailable, Code: runtime.CodeOf(err), Message: err.Error(), Hint: hint.Of(err), Err: err}
	if f.Code == runtime.CodeDamaged && f.Hint == "" && db != nil {
		f.Hint = db.RebuildHint()
	}
	return f
}
