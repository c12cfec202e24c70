package runtime

// A guard is one of the ways in which a fold notices that a record is gone which no message says is gone.
type guard string

const (
	guardTTL     guard = "ttl"     // a message's own time to live ends its record
	guardMaxAge  guard = "max_age" // the stream's MaxAge ends records
	guardClock   guard = "clock"   // an idle fold's clock follows the server's
	guardFewer   guard = "fewer"   // the stream has fewer subjects, or messages, than the fold has source keys
	guardHorizon guard = "horizon" // the fold was away longer than the markers of removals stand
	guardHead    guard = "head"    // the stream begins after the cursor, or after records that are keyed by their message
	guardUnknown guard = "unknown" // the stream holds nothing any more that proves it
	guardRaised  guard = "raised"  // a MaxAge was raised: what was ended by the old one may stand again
	guardEvery   guard = "every"   // the interval
)

// guards are those that a test has turned off.
type guards map[guard]bool

func (g guards) off(x guard) bool { return g[x] }
