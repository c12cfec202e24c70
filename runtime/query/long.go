package query

import "net/http"

// MaxLong bounds the counts and streams that are under way at once: each may read a whole index, and would take what the
// folds need.
const MaxLong = 8

// long admits them.
type long chan struct{}

func (l long) begin() (end func(), err error) {
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	default:
		return nil, &Fault{Status: http.StatusServiceUnavailable, Code: Busy, Message: "too many counts and streams are under way", Hint: "ask again when one has ended"}
	}
}
