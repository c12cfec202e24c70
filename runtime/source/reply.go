package source

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

// parseAck reads a reply subject without allocating. Neither stream, consumer nor domain can hold a dot.
func parseAck(reply string) (a ack, ok bool) {
	const prefix = "$JS.ACK."
	if len(reply) < len(prefix) || reply[:len(prefix)] != prefix {
		return a, false
	}
	var tokens [11]string // all that we look at: a later format may have more
	n, start := 0, 0
	for i := 0; i <= len(reply); i++ {
		if i < len(reply) && reply[i] != '.' {
			continue
		}
		if n < len(tokens) {
			tokens[n] = reply[start:i]
		}
		n++
		start = i + 1
	}
	at := 2 // the token of the stream
	switch {
	case n == 9:
	case n >= 11:
		at = 4
	default:
		return a, false
	}
	a.consumer = tokens[at+1]
	streamSeq, ok1 := parseUint(tokens[at+3])
	consumerSeq, ok2 := parseUint(tokens[at+4])
	time, ok3 := parseUint(tokens[at+5])
	a.streamSeq, a.consumerSeq, a.time = streamSeq, consumerSeq, int64(time)
	return a, ok1 && ok2 && ok3 && streamSeq > 0 && consumerSeq > 0
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
