package source

import "strings"

// An ack is what the reply subject of a delivered message says:
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time, ns>.<pending>
//	$JS.ACK.<domain>.<account hash>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time, ns>.<pending>[.<token>…]
type ack struct {
	consumer    string // a view of the reply
	streamSeq   uint64
	consumerSeq uint64
	time        int64
}

// parseAck reads a reply subject without allocating. Neither stream, consumer nor domain can hold a dot. It is called
// for each message: it looks at each byte of the numbers once, and leaves the rest to instructions that look for a dot.
func parseAck(reply string) (a ack, ok bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return a, false
	}
	switch dots := strings.Count(rest, "."); {
	case dots == 6:
	case dots >= 8: // a later format may have more
		rest = skipToken(skipToken(rest))
	default:
		return a, false
	}
	a.consumer, rest, _ = strings.Cut(skipToken(rest), ".")
	streamSeq, rest, ok1 := cutUint(skipToken(rest))
	consumerSeq, rest, ok2 := cutUint(rest)
	time, _, ok3 := cutUint(rest)
	a.streamSeq, a.consumerSeq, a.time = streamSeq, consumerSeq, int64(time)
	return a, ok1 && ok2 && ok3 && streamSeq > 0 && consumerSeq > 0
}

func skipToken(s string) string { return s[strings.IndexByte(s, '.')+1:] }

// cutUint reads the number before the first dot, as parseUint does, and returns what follows the dot.
func cutUint(s string) (v uint64, rest string, ok bool) {
	n := 0
	for n < len(s) && s[n] != '.' {
		d := s[n] - '0'
		if d > 9 {
			return 0, "", false
		}
		v = v*10 + uint64(d)
		n++
	}
	return v, s[min(n+1, len(s)):], 1 <= n && n <= 19
}

// parseUint is strconv.ParseUint for what a server writes: 1 to 19 digits.
func parseUint(s string) (v uint64, ok bool) {
	if len(s) == 0 || len(s) > 19 {
		return 0, false
	}
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		v = v*10 + uint64(d)
	}
	return v, true
}
