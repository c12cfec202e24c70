package source

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// A session is the life of one consumer, owned by the reader that made it.
type session struct {
	name    string         // of the consumer
	inbox   string         // messages come here: data and status of pull n at inbox.n, the leader's answer at inbox.info
	ch      chan *nats.Msg // what came by nats.go; it has room for all that can be under way
	sink    *sink          // what came past it: see tap. All comes by one of the two
	silence *time.Timer    // runs while the loop waits
	heard   bool           // something came since it was set
	seq     uint64         // the consumer's sequence of the last message; the next one has the next
	pulls   []pull         // open, oldest first, at most two
	opened  uint64         // pulls so far: the number of the last one
	bytes   int            // asked for by one pull
	subject string         // of a pull request
	mark    int            // in the connection's journal, when it began
	askedAt time.Time      // when the leader was last asked
	asked   uint64         // the position then
	behind  int            // answers in a row that were behind it

	nudges   int         // extra pulls so far
	nudge    string      // the last one's reply subject
	nudgedAt time.Time   // when it was sent
	due      *time.Timer // ends the wait for the next one
}

// A pull is one open pull request: what may still come for it.
type pull struct {
	id              uint64
	messages, bytes int
}

// pullExpires ends a pull that is not filled. The server demands that a heartbeat is at most half of it.
func (r *reader) pullExpires() time.Duration { return max(30*time.Second, 3*r.opts.Heartbeat) }

// session proves the stream, makes a consumer after the position and reads it until something is in doubt. It never
// returns nil.
func (r *reader) session(ctx context.Context) error {
	r.note(func(st *Status) { st.State = StateProving })
	r.consumer = ""
	info, err := r.prove(ctx)
	if err != nil {
		return err
	}
	s := &session{name: r.newConsumerName(), inbox: r.nc.NewInbox(), mark: r.journal.mark()}
	s.subject = r.api + "CONSUMER.MSG.NEXT." + r.opts.Stream + "." + s.name
	r.consumer = s.name
	defer r.dropConsumer(ctx, s.name)
	if err := r.createConsumer(ctx, info, consumer{name: s.name, filter: r.filter, after: r.pos.Seq}); err != nil {
		return err
	}
	r.deleteUnsure()
	// The stream may have been made anew between the proof and the consumer. From here on that would end the consumer.
	again, err := r.streamInfo(ctx)
	if err != nil {
		return err
	}
	s.askedAt, s.asked = time.Now(), r.pos.Seq
	if err := r.leaderSays(s, again); err != nil {
		return err
	}
	s.bytes = max(r.opts.PullBytes, int(r.nc.MaxPayload())+64<<10)
	// room for two pulls, for their heartbeats until they expire while nobody reads, and for their ends
	beats := 2 * int(r.pullExpires()/r.opts.Heartbeat)
	s.ch = make(chan *nats.Msg, 2*r.opts.PullMessages+beats+64)
	s.sink = r.journal.wire.sink(s.inbox+".*", cap(s.ch))
	defer s.sink.close()
	sub, err := r.nc.ChanSubscribe(s.inbox+".*", s.ch)
	if err != nil {
		return fmt.Errorf("source: subscribe: %w", err)
	}
	defer sub.Unsubscribe()
	s.silence = time.NewTimer(r.silence())
	defer s.silence.Stop()
	s.due = time.NewTimer(time.Hour)
	defer s.due.Stop()
	r.nudges.renew()
	r.note(func(st *Status) {
		st.State, st.Reason, st.Code, st.Hint, st.Contradiction = StateReading, "", "", "", nil
		st.Sessions++
		r.showCaughtUp(st, r.pos.Seq >= r.target)
	})
	r.hear() // what waits for the proof
	r.opts.Log.Info("reading", "stream", r.opts.Stream, "cursor", r.pos.Seq, "created", stamp(r.pos.Created),
		"first_seq", info.State.FirstSeq, "last_seq", r.target, "messages", info.State.Messages, "consumer", s.name)
	return r.read(ctx, s)
}

func (r *reader) silence() time.Duration { return r.opts.Heartbeat * 5 / 2 }

// dropConsumer deletes the consumer of a session that ended. Only the last one is waited for.
func (r *reader) dropConsumer(ctx context.Context, name string) {
	if ctx.Err() == nil || !r.nc.IsConnected() {
		r.forgetConsumer(name)
		return
	}
	if err := r.call(context.WithoutCancel(ctx), "CONSUMER.DELETE."+r.opts.Stream+"."+name, nil, nil); err != nil {
		r.opts.Log.Debug("consumer not deleted: it expires", "stream", r.opts.Stream, "consumer", name, "err", err)
	}
}

// read is the loop: what has come goes into the current batch; when nothing more is there, the batch is handed on if
// nothing else is in flight.
func (r *reader) read(ctx context.Context, s *session) error {
	if err := r.pull(s); err != nil {
		return err
	}
	for {
		later, err := r.nudge(s)
		if err != nil {
			return err
		}
		m := s.next()
		if m == nil {
			if r.pending() && r.idle() {
				if err := r.flush(ctx); err != nil {
					return err
				}
				continue
			}
			if err := r.hasten(ctx); err != nil {
				return err
			}
			if m, err = r.wait(ctx, s, later); err != nil {
				return err
			}
			if m == nil {
				continue
			}
		}
		s.heard = true
		if m.Reply == "" {
			err = r.control(ctx, s, m)
		} else {
			err = r.message(ctx, s, m)
		}
		if err != nil {
			return err
		}
	}
}

// next returns a message that has come, nil when none has. It is valid until the next call.
func (s *session) next() *nats.Msg {
	if m := s.sink.next(); m != nil {
		return m
	}
	select {
	case m := <-s.ch:
		return m
	default:
		return nil
	}
}

// wait blocks until there is something to do: an extra pull after later, unless that is 0. It returns nil, nil when that is
// not a message.
func (r *reader) wait(ctx context.Context, s *session, later time.Duration) (*nats.Msg, error) {
	var free chan *Batch
	if r.pending() || r.hurry { // a batch that comes back may be the one that makes the pipeline idle
		free = r.pipe.Free
	}
	if s.heard {
		s.silence.Reset(r.silence())
		s.heard = false
	}
	if later > 0 {
		s.due.Reset(later)
	}
	select {
	case m := <-s.ch:
		return m, nil
	case <-s.sink.woken():
		return s.next(), nil
	case <-r.nudges.wake:
		return nil, nil
	case <-s.due.C:
		return nil, nil
	case b := <-free:
		r.spare = append(r.spare, b)
		return nil, nil
	case st := <-r.events:
		if st == nats.CONNECTED {
			return nil, &reset{reason: "reconnected"}
		}
		return nil, errDisconnected
	case <-s.silence.C:
		if _, err := r.journal.refusal(s.mark, s.subject, r.mapped(s.subject), s.inbox+".*"); err != nil {
			return nil, fmt.Errorf("source: %w", r.denied(err))
		}
		return nil, &reset{"silence", fmt.Sprintf("neither a message nor a heartbeat for %s", r.silence())}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// message takes one message of the stream.
func (r *reader) message(ctx context.Context, s *session, m *nats.Msg) error {
	a, ok := parseAck(m.Reply)
	if !ok {
		return &reset{"reply", fmt.Sprintf("the reply subject %q is not one of JetStream", m.Reply)}
	}
	if a.consumer != s.name {
		return nil
	}
	if a.consumerSeq != s.seq+1 {
		return &reset{"gap", fmt.Sprintf("message %d of the consumer after %d", a.consumerSeq, s.seq)}
	}
	s.seq = a.consumerSeq
	s.came(messageSize(m))
	if a.streamSeq <= r.pos.Seq {
		r.note(func(st *Status) { st.Duplicates++ })
	} else if err := r.add(ctx, m, a.streamSeq, a.time); err != nil {
		return err
	}
	return r.pull(s)
}

// came counts a message against the oldest pull: the server fills them in order.
func (s *session) came(size int) {
	if len(s.pulls) == 0 {
		return
	}
	p := &s.pulls[0]
	p.messages--
	p.bytes -= size
	if p.messages == 0 {
		s.pulls = append(s.pulls[:0], s.pulls[1:]...)
	}
}

// pull keeps the server busy: the next pull is sent when half of the last one has come.
func (r *reader) pull(s *session) error {
	for len(s.pulls) == 0 || len(s.pulls) == 1 && (s.pulls[0].messages <= r.opts.PullMessages/2 || s.pulls[0].bytes <= s.bytes/2) {
		s.opened++
		s.pulls = append(s.pulls, pull{s.opened, r.opts.PullMessages, s.bytes})
		body := fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`,
			r.opts.PullMessages, s.bytes, r.pullExpires(), r.opts.Heartbeat)
		if err := r.nc.PublishRequest(s.subject, fmt.Sprintf("%s.%d", s.inbox, s.opened), body); err != nil {
			return fmt.Errorf("source: pull: %w", err)
		}
		if err := r.askLeader(s, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// ended forgets the pull that a status message came for; one that is forgotten already is no news.
func (r *reader) ended(s *session, subject string) {
	id, _ := parseUint(strings.TrimPrefix(subject, s.inbox+"."))
	for i, p := range s.pulls {
		if p.id == id {
			s.pulls = append(s.pulls[:i], s.pulls[i+1:]...)
			return
		}
	}
}

// askLeader asks for the stream's last seq, now and then. The answer comes like any message, so nothing waits for it.
func (r *reader) askLeader(s *session, now time.Time) error {
	if now.Sub(s.askedAt) < r.opts.Refresh {
		return nil
	}
	s.askedAt, s.asked = now, r.pos.Seq
	if err := r.nc.PublishRequest(r.api+"STREAM.INFO."+r.opts.Stream, s.inbox+".info", nil); err != nil {
		return fmt.Errorf("source: ask the leader: %w", err)
	}
	return nil
}

// leaderSays takes the leader's word on where the stream ends. A word that contradicts the position ends the session,
// and the next one proves the stream. A leader may be a little behind the follower that serves us; one that stays behind
// is asked no more.
func (r *reader) leaderSays(s *session, info *streamInfo) error {
	if info.Created.UnixNano() != r.pos.Created && !r.opts.Off[GuardCreated] {
		return &reset{"identity", "the stream's creation time changed"}
	}
	if info.State.LastSeq < s.asked && info.Config.Mirror == nil && !r.opts.Off[GuardEnd] {
		if s.behind++; s.behind == 3 {
			return &reset{"identity", fmt.Sprintf("the stream ends at %d, behind the position %d", info.State.LastSeq, s.asked)}
		}
		s.askedAt = time.Time{}
		return nil
	}
	s.behind = 0
	r.target, r.targetAt = info.State.LastSeq, nanos(info.TS)
	r.maxAge, r.ttl = int64(info.Config.MaxAge), info.Config.AllowMsgTTL
	r.clock, r.clockAt = nanos(info.TS), time.Now()
	r.stampCaughtUp()
	r.note(func(st *Status) {
		st.Messages, st.Subjects, st.FirstSeq = info.State.Messages, info.State.Subjects, info.State.FirstSeq
		st.LastSeq, st.AsOf, st.AsOfSeq = max(info.State.LastSeq, r.pos.Seq), info.TS, info.State.LastSeq
		st.MaxAge, st.TTL = r.maxAge, r.ttl
		r.showCaughtUp(st, st.Seq >= r.target)
	})
	r.hear()
	return nil
}

// hear has those look who wait for the leader's word.
func (r *reader) hear() {
	select {
	case r.heard <- struct{}{}:
	default:
	}
}
