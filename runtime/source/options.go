package source

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// A Guard is one of the ways in which a source notices that its stream holds another history than the one that was
// folded. docs/source.md tells of each.
type Guard string

const (
	GuardCreated Guard = "created" // the stream's creation time
	GuardAnchors Guard = "anchors" // messages that were folded
	GuardEnd     Guard = "end"     // the stream's last seq
)

// Options say what to read. The zero value of each field is its default; Stream or Bucket must be given.
type Options struct {
	Stream        string // the stream; or
	Bucket        string // the KV bucket: the stream KV_<bucket>, keys without the prefix $KV.<bucket>. (the origin's, for a mirror)
	Domain        string // the JetStream domain, "" for none
	Filter        string // one subject filter, below the bucket's prefix or the stream's subjects; default ">"
	KeyingMessage bool   // each message is its own record, its key the seq; else the subject is the key and the latest message counts
	Instance      string // names the consumers, so that an operator can tell whose they are; default "0"

	PullMessages int           // messages asked for by one pull request; default 5000. At most 1.5 times as many are under way
	PullBytes    int           // bytes asked for by one pull request; default 8 MiB, never less than the server's max_payload and 64 KiB
	Heartbeat    time.Duration // the server's sign of life while it has nothing to send; default 1s. After 2.5 of silence the session ends
	Refresh      time.Duration // the stream's leader is asked for its state this often; default 10s
	ClockSlack   time.Duration // how far behind the server's clock that of an idle fold is; default 10s, which leaders' clocks may differ by
	Settle       time.Duration // how long a stream may end before the cursor until it counts as rewound: a leader may know less than the follower that served us; default 10s, of a mirror three times as long
	BatchRecords int           // updates in a batch, at most; default 16384
	BatchBytes   int           // bytes in a batch, at most, but for one larger message; default 8 MiB
	Log          *slog.Logger  // default: discard

	Off map[Guard]bool // tests turn guards off, to see what they guard against

	// Due says whether anything would expire if the fold's clock were now (ns since 1970) and the stream's MaxAge maxAge
	// (ns, 0 = none). The clock is the time of the last update; while the stream is idle and everything is read, it is the
	// server's less some seconds, and a batch without updates brings it when Due says so. Nil: nothing ever expires.
	Due func(now, maxAge int64) bool
}

// Fixed by the design of the loop; a test may shorten them.
type pace struct {
	api      time.Duration // a request to the JetStream API
	advance  time.Duration // an idle position is handed on at most this often
	nudge    time.Duration // the least between two extra pulls
	caughtUp time.Duration // a position that only learned CaughtUp is handed on at most this often
	healthy  time.Duration // a session that lasted this long starts the backoff anew
	backoff  time.Duration // the first pause between two sessions, doubled up to the next
	longest  time.Duration
	denied   time.Duration // the longest pause after a permission violation
}

var defaultPace = pace{
	api:      2 * time.Second,
	advance:  2 * time.Second,
	nudge:    20 * time.Millisecond,
	caughtUp: time.Minute,
	healthy:  10 * time.Second,
	backoff:  50 * time.Millisecond,
	longest:  5 * time.Second,
	denied:   30 * time.Second,
}

func (o Options) withDefaults() Options {
	if o.Bucket != "" {
		o.Stream = "KV_" + o.Bucket
	}
	if o.Filter == "" {
		o.Filter = ">"
	}
	if o.Instance == "" {
		o.Instance = "0"
	}
	setInt := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	setInt(&o.PullMessages, 5000)
	setInt(&o.PullBytes, 8<<20)
	setInt(&o.BatchRecords, 16384)
	setInt(&o.BatchBytes, 8<<20)
	if o.Heartbeat <= 0 {
		o.Heartbeat = time.Second
	}
	if o.ClockSlack <= 0 {
		o.ClockSlack = clockSkew
	}
	if o.Refresh <= 0 {
		o.Refresh = 10 * time.Second
	}
	if o.Settle <= 0 {
		o.Settle = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) validate() error {
	switch {
	case o.Bucket != "" && o.Stream != "":
		return errors.New("source: a bucket and a stream are given, only one can be read")
	case o.Bucket == "" && o.Stream == "":
		return errors.New("source: neither a bucket nor a stream is given")
	case strings.ContainsAny(o.Bucket+o.Stream, " \t\r\n.*>/\\"):
		return fmt.Errorf("source: %q is not the name of a stream or bucket", o.Bucket+o.Stream)
	case o.Bucket != "" && o.KeyingMessage:
		return fmt.Errorf("source: bucket %q is keyed by subject; to read it as a log, name the stream KV_%s", o.Bucket, o.Bucket)
	case strings.ContainsAny(o.Domain, " \t\r\n.*>"):
		return fmt.Errorf("source: %q is not the name of a domain", o.Domain)
	}
	if o.Filter == "" {
		return nil
	}
	tokens := strings.Split(o.Filter, ".")
	for i, t := range tokens {
		bad := t == "" || strings.ContainsAny(t, " \t\r\n") || strings.ContainsAny(t, "*>") && len(t) > 1
		if bad || t == ">" && i < len(tokens)-1 {
			return fmt.Errorf("source: filter %q is not a subject filter", o.Filter)
		}
	}
	return nil
}
