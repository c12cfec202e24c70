package source

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/store"
)

// control takes a message that is not of the stream: the status of a pull, or the leader's answer.
func (r *reader) control(ctx context.Context, s *session, m *nats.Msg) error {
	status, text := m.Header.Get("Status"), m.Header.Get("Description")
	if m.Subject == s.inbox+".info" {
		info := new(streamInfo)
		if status != "" || decodeResponse(m.Data, info) != nil {
			return nil // asked again in a while; a stream that is gone takes its consumer along, which is heard of
		}
		if err := r.leaderSays(s, info); err != nil {
			return err
		}
		return r.moveIdle(ctx, time.Now())
	}
	if strings.HasPrefix(m.Subject, s.inbox+".nudge") {
		return r.nudged(ctx, s, m)
	}
	switch status {
	case "100":
		return r.heartbeat(ctx, s, m)
	case "404", "408": // the pull expired
		r.ended(s, m.Subject)
		return r.pull(s)
	case "409":
		return r.conflict(s, m, strings.ToLower(text))
	case "503":
		return &reset{"no_responders", "the consumer does not answer"}
	}
	return &reset{"status", strings.TrimSpace(status + " " + text)}
}

// conflict takes a 409: a pull that got all its bytes has ended as it should, anything else is the end of the session.
func (r *reader) conflict(s *session, m *nats.Msg, text string) error {
	switch {
	case strings.Contains(text, "batch completed"):
		r.ended(s, m.Subject)
		return r.pull(s)
	case strings.Contains(text, "exceeds maxbytes"):
		if m.Header.Get("Nats-Pending-Messages") == fmt.Sprint(r.opts.PullMessages) {
			s.bytes *= 2 // not one message fitted
		}
		r.ended(s, m.Subject)
		return r.pull(s)
	case strings.Contains(text, "consumer deleted"):
		return &reset{"consumer_deleted", ""}
	case strings.Contains(text, "leadership change"):
		return &reset{"leadership_change", ""}
	case strings.Contains(text, "server shutdown"):
		return &reset{"server_shutdown", ""}
	}
	return &reset{"status", "409 " + text}
}

// heartbeat compares what the server delivered with what came. If it is the same, everything up to the stream seq in
// the heartbeat has been looked at, and nothing in it matches the filter but what came.
func (r *reader) heartbeat(ctx context.Context, s *session, m *nats.Msg) error {
	delivered, ok1 := parseUint(m.Header.Get("Nats-Last-Consumer"))
	scanned, ok2 := parseUint(m.Header.Get("Nats-Last-Stream"))
	now := time.Now()
	r.note(func(st *Status) {
		st.Heartbeats++
		st.LastHeard = now
	})
	if !ok1 || !ok2 {
		return nil
	}
	if delivered > s.seq {
		return &reset{"tail_gap", fmt.Sprintf("the server delivered %d messages, %d came", delivered, s.seq)}
	}
	if delivered == s.seq {
		if r.pending() { // it must not reach beyond the digest point
			scanned = min(scanned, (r.cur.From/store.PointEvery+1)*store.PointEvery)
		}
		if scanned > r.pos.Seq {
			r.pos.Seq = scanned
			r.note(func(st *Status) {
				st.Advances++
				st.LastSeq = max(st.LastSeq, scanned)
			})
		}
	}
	r.stampCaughtUp()
	if err := r.askLeader(s, now); err != nil {
		return err
	}
	return r.moveIdle(ctx, now)
}
