// Package hint joins to an error what its reader can do about it. The command line prints both.
package hint

import (
	"errors"
	"fmt"
)

type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// Error returns err with a hint: the mend, in one sentence. It returns nil for a nil err.
func Error(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return hinted{err, fmt.Sprintf(format, args...)}
}

// Of returns the outermost hint in err's chain, "" when there is none.
func Of(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}
