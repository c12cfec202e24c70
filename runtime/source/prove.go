package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/zeebo/xxh3"
)

// What the anchors say about the stream.
type proof int

const (
	proofUnknown  proof = iota // the stream holds none of them any more, and nothing contradicts them
	proofMatch                 // the newest that it holds is as it was
	proofMismatch              // it holds something else there
)

func (p proof) String() string { return [...]string{"unknown", "match", "mismatch"}[p] }

// clockSkew is how far the clocks of two leaders of a stream may differ.
const clockSkew = 10 * time.Second

var errRefilling = errors.New("the mirror is behind the cursor and still being filled")

// prove holds the stream against the position. It returns the stream as the leader sees it if a consumer may start
// after the position, a *Stop if it is provably not the position's stream, and any other error if that cannot be said
// now. A leader may know less than the follower that served us: a stream behind the cursor gets time to settle.
func (r *reader) prove(ctx context.Context) (*streamInfo, error) {
	began := time.Now()
	for {
		info, err := r.streamInfo(ctx)
		if err != nil {
			return nil, err
		}
		if stop := refuse(info); stop != nil {
			return nil, stop
		}
		p, detail, err := r.compare(ctx, info)
		if err != nil {
			return nil, err
		}
		stop := r.judge(info, p, detail)
		if stop != nil && stop.Code == CodeDiverged { // or it was made anew between the two looks
			now, err := r.streamInfo(ctx)
			if err != nil {
				return nil, err
			}
			if !now.Created.Equal(info.Created) {
				continue
			}
		}
		settle, behind := r.opts.Settle, info.State.LastSeq < r.pos.Seq && !r.opts.Off[GuardEnd]
		if info.Config.Mirror != nil {
			settle *= 3
		}
		patient := stop == nil || stop.Code == CodeRewound || info.Config.Mirror != nil && p != proofMismatch
		switch {
		case behind && patient && time.Since(began) < settle:
			r.note(func(st *Status) {
				st.Reason = fmt.Sprintf("the stream ends at %d, behind the cursor %d", info.State.LastSeq, r.pos.Seq)
			})
			if err := sleep(ctx, settle/20); err != nil {
				return nil, err
			}
			continue
		case behind && patient && info.Mirror != nil && (info.Mirror.Lag > 0 || info.Mirror.Active < 0):
			return nil, errRefilling
		case stop != nil:
			r.note(func(st *Status) { st.Checks[stop.Code]++ })
			return nil, stop
		}
		r.note(func(st *Status) { st.Checks[p.String()]++ })
		r.accept(info, p)
		return info, nil
	}
}

// compare asks the leader for the anchors, newest first; the first one that it holds decides. If it does not hold the
// newest, the message that follows that one in time must also follow it in sequence.
func (r *reader) compare(ctx context.Context, info *streamInfo) (p proof, detail string, err error) {
	if p = proofUnknown; r.opts.Off[GuardAnchors] {
		return p, "", nil
	}
	for i, a := range r.pos.Anchors {
		if a.Seq < info.State.FirstSeq || a.Seq > info.State.LastSeq {
			continue
		}
		m, err := r.messageAt(ctx, a.Seq)
		if err != nil {
			return 0, "", err
		}
		if m == nil {
			continue
		}
		if m.Time.UnixNano() != a.Time || xxh3.HashString(m.Subject) != a.Subject {
			return proofMismatch, fmt.Sprintf("seq %d was stored at %s and is now %q, stored at %s",
				a.Seq, stamp(a.Time), m.Subject, stamp(m.Time.UnixNano())), nil
		}
		if p = proofMatch; i == 0 {
			return p, "", nil
		}
		break
	}
	if len(r.pos.Anchors) == 0 {
		return p, "", nil
	}
	newest := r.pos.Anchors[0]
	m, err := r.messageSince(ctx, time.Unix(0, newest.Time).Add(clockSkew).UTC())
	if err != nil || m == nil || m.Seq > newest.Seq {
		return p, "", err
	}
	return proofMismatch, fmt.Sprintf("seq %d was stored at %s, but seq %d is of %s",
		newest.Seq, stamp(newest.Time), m.Seq, stamp(m.Time.UnixNano())), nil
}

// judge returns why the stream is not the position's, or nil.
func (r *reader) judge(info *streamInfo, p proof, detail string) *Stop {
	pos, last := &r.pos, info.State.LastSeq
	same := pos.Created == 0 || pos.Created == info.Created.UnixNano() || r.opts.Off[GuardCreated]
	behind := last < pos.Seq && !r.opts.Off[GuardEnd]
	mirror := info.Config.Mirror != nil
	switch {
	case pos.Seq == 0 && len(pos.Anchors) == 0:
		return nil // nothing was folded: nothing can be contradicted
	case p == proofMismatch && same:
		return &Stop{
			Created: info.Created.UnixNano(),
			Code:    CodeDiverged,
			Text:    fmt.Sprintf("stream %s holds another history than the one that was folded up to %d: %s", info.Config.Name, pos.Seq, detail),
			Hint:    "it was probably restored from an older copy and written since",
		}
	case !same && p != proofMatch:
		if detail == "" {
			detail = fmt.Sprintf("it ends at %d, the cursor is %d, and it holds no message that was folded", last, pos.Seq)
		}
		return &Stop{
			Created: info.Created.UnixNano(),
			Code:    CodeRecreated,
			Text: fmt.Sprintf("stream %s was created at %s, the cursor is of one created at %s: %s",
				info.Config.Name, stamp(info.Created.UnixNano()), stamp(pos.Created), detail),
			Hint: "the stream was deleted and made again; bring the old one back, if that was a mistake",
		}
	case behind && mirror && p == proofMatch:
		return nil // a mirror may end before its origin did when that was purged; the consumer waits for the next seq
	case behind:
		return &Stop{
			Created: info.Created.UnixNano(),
			Code:    CodeRewound,
			Text: fmt.Sprintf("stream %s ends at %d, below the cursor %d: messages that were folded are gone from its end (anchors: %s)",
				info.Config.Name, last, pos.Seq, p),
			Hint: "the server lost its tail, or an older copy was restored; bring the newer copy back, if there is one",

			Anchored: p == proofMatch && same,
		}
	}
	return nil
}

// accept takes the stream as the position's.
func (r *reader) accept(info *streamInfo, p proof) {
	log, created := r.opts.Log, info.Created.UnixNano()
	r.learn(info)
	if r.pos.Created != 0 && r.pos.Created != created && len(r.pos.Anchors) > 0 {
		log.Warn("stream has another creation time, but holds what was folded: adopted",
			"stream", r.opts.Stream, "was", stamp(r.pos.Created), "is", stamp(created))
	}
	r.pos.Stream, r.pos.Domain, r.pos.Created = r.opts.Stream, r.opts.Domain, created
	if first := info.State.FirstSeq; r.pos.Seq > 0 && first > r.pos.Seq+1 && first != r.headLost {
		r.headLost = first
		lost := first - 1 - r.pos.Seq
		r.note(func(st *Status) { st.HeadLost = max(st.HeadLost, lost) })
		log.Warn("stream begins after the cursor: what it dropped in between was not read",
			"code", CodeHeadLost, "stream", r.opts.Stream, "cursor", r.pos.Seq, "first_seq", first, "seqs", lost)
	}
	r.doubt(info)
	r.suspect(info, p)
	log.Debug("stream proved", "stream", r.opts.Stream, "created", stamp(created), "anchors", p.String(),
		"cursor", r.pos.Seq, "first_seq", info.State.FirstSeq, "last_seq", info.State.LastSeq)
}

// doubt warns, once, of what makes a stream a bad source.
func (r *reader) doubt(info *streamInfo) {
	c := &info.Config
	expires := c.MaxAge > 0 || c.AllowMsgTTL
	if expires && c.SubjectDeleteMarkerTTL == 0 && !r.opts.KeyingMessage {
		r.warnOnce("stream expires messages without leaving a marker: they are dropped by the server's clock, some seconds late; a subject delete marker TTL makes that exact", "max_age", c.MaxAge)
	}
	if discards(c) {
		r.warnOnce("stream evicts its oldest messages without leaving a marker: a sweep finds them", "max_bytes", c.MaxBytes, "max_msgs", c.MaxMsgs)
	}
	if c.PersistMode == jetstream.AsyncPersistMode {
		r.warnOnce("stream is persisted asynchronously: it may lose its tail in a crash")
	}
	if lost := info.State.Lost; lost != nil && len(lost.Messages) > 0 {
		r.warnOnce("server reports lost messages in the stream", "messages", len(lost.Messages))
	}
	var major, minor int
	version := r.nc.ConnectedServerVersion()
	if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n == 2 && (major < 2 || major == 2 && minor < 11) {
		r.warnOnce("server is older than 2.11, which foldrun is not tested with", "version", version)
	}
}

func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
