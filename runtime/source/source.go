package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// A Source reads one stream. It is made by Open; Run may be called again after it has returned, but not twice at once.
type Source struct {
	nc      *nats.Conn
	journal *journal // of nc
	opts    Options
	pace    pace
	api     string // the prefix of the JetStream API's subjects
	heard   chan struct{}
	nudges  nudges

	// owned by Open, then by Run
	prefix string // of the source keys, cut from each subject
	filter string // of the consumer
	warned map[string]bool

	mu     sync.Mutex
	status Status // guarded by mu
}

// Open returns a source of the stream that o names. It looks at the stream, if it can: a stream that cannot be folded
// is refused here, with a *Stop. A stream that does not exist yet and a server that does not answer are no errors:
// Run waits for them, and Status says so.
func Open(ctx context.Context, nc *nats.Conn, o Options) (*Source, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Source{nc: nc, journal: journalOf(nc), opts: o.withDefaults(), pace: defaultPace, api: plainAPI, heard: make(chan struct{}, 1), nudges: nudges{wake: make(chan struct{}, 1)}, warned: map[string]bool{}}
	if o.Domain != "" {
		s.api = "$JS." + o.Domain + ".API."
	}
	s.status = Status{State: StateIdle, Stream: s.opts.Stream, Domain: o.Domain, Resets: map[string]uint64{}, Checks: map[string]uint64{}}
	s.subjects(o.Bucket)
	if !nc.IsConnected() {
		s.status.away(s.journal.away(nc))
		return s, nil
	}
	info, err := s.streamInfo(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		s.status.Reason = err.Error()
		s.status.Code, s.status.Hint = explain(err)
		return s, nil
	}
	if stop := refuse(info); stop != nil {
		return nil, stop
	}
	s.learn(info)
	return s, nil
}

// refuse returns why the stream cannot be folded, or nil.
func refuse(info *streamInfo) *Stop {
	name, retention := info.Config.Name, info.Config.Retention
	if retention == jetstream.LimitsPolicy {
		return nil
	}
	mend := fmt.Sprintf("fold a stream with limits retention that sources it: nats stream add %s_FEED --source %s --retention limits --defaults", name, name)
	if retention == jetstream.WorkQueuePolicy {
		// a stream that sources the work queue would take its jobs away
		mend = fmt.Sprintf("give its subjects to a stream with limits retention, which the work queue sources, and fold that one: "+
			"nats stream add %s_LOG --subjects '%s' --retention limits --defaults; docs/nats.md has the rest", name, strings.Join(info.Config.Subjects, ","))
	}
	return &Stop{
		Code: CodeRefused,
		Text: fmt.Sprintf("stream %s has %s retention: the server removes what is read, so it cannot be read again from a cursor",
			name, strings.ToLower(retention.String())),
		Hint: mend,
	}
}

// learn takes over what the stream's configuration says about subjects, and the facts that Status shows.
func (s *Source) learn(info *streamInfo) {
	mirror := ""
	if m := info.Config.Mirror; m != nil {
		mirror = m.Name
	}
	bucket := s.opts.Bucket
	if bucket != "" {
		bucket = keysOf(bucket, info.Config.Mirror)
	}
	s.subjects(bucket)
	s.note(func(st *Status) {
		st.Mirror, st.Created = mirror, info.Created
		st.Messages, st.Subjects, st.FirstSeq = info.State.Messages, info.State.Subjects, info.State.FirstSeq
		st.LastSeq, st.AsOf = info.State.LastSeq, info.TS
	})
}

// keysOf returns the bucket whose prefix the subjects of a bucket's stream have: a mirror keeps those of its origin,
// unless it renames them.
func keysOf(bucket string, m *jetstream.StreamSource) string {
	switch {
	case m == nil:
		return bucket
	case len(m.SubjectTransforms) == 0:
		return strings.TrimPrefix(m.Name, "KV_")
	}
	tokens := strings.SplitN(m.SubjectTransforms[0].Destination, ".", 3)
	if len(tokens) == 3 && tokens[0] == "$KV" {
		return tokens[1]
	}
	return bucket
}

// subjects says what the source reads of a stream whose keys are those of a bucket; "" is a plain stream.
func (s *Source) subjects(bucket string) {
	s.prefix = ""
	if bucket != "" {
		s.prefix = "$KV." + bucket + "."
	}
	s.filter = s.prefix + s.opts.Filter
	s.note(func(st *Status) { st.Prefix, st.Filter = s.prefix, s.filter })
}

// Run reads everything after from and sends it to p.Out in batches, until ctx is done, the connection is closed for
// good, or the stream is found not to be the position's: then the error is a *Stop. When it returns, everything that
// it started has ended, its consumer is deleted if the server could be reached, and each batch that it held is back
// in p.Free; a batch that was not full and not handed on is dropped, since its messages come again from the cursor.
func (s *Source) Run(ctx context.Context, from store.Position, p Pipe) error {
	if from.Stream != "" && (from.Stream != s.opts.Stream || from.Domain != s.opts.Domain) {
		return s.stopped(&Stop{
			Code: CodeRefused,
			Text: fmt.Sprintf("the position is of stream %q (domain %q), not of %q (domain %q)",
				from.Stream, from.Domain, s.opts.Stream, s.opts.Domain),
			Hint: "another stream needs a fold of its own: build it anew",
		})
	}
	r := newReader(s, from, p)
	defer r.release()
	events := s.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer s.nc.RemoveStatusListener(events)
	r.events = events
	err := r.run(ctx)
	var stop *Stop
	if errors.As(err, &stop) {
		return s.stopped(stop)
	}
	s.note(func(st *Status) { st.State = StateIdle })
	return err
}

// An Incarnation is a stream as its leader sees it.
type Incarnation struct {
	Created int64 // ns since 1970
	LastSeq uint64
}

// Adopt takes the stream as it is for the one that is read from now on, whatever was folded: List lists it. It is for
// after Run has returned.
func (s *Source) Adopt(ctx context.Context) (Incarnation, error) {
	info, err := s.streamInfo(ctx)
	if err != nil {
		return Incarnation{}, err
	}
	if stop := refuse(info); stop != nil {
		return Incarnation{}, stop
	}
	s.learn(info)
	return Incarnation{info.Created.UnixNano(), info.State.LastSeq}, nil
}

// Look returns the source's status with what the leader says of the stream's limits and its first message now.
func (s *Source) Look(ctx context.Context) (Status, error) {
	st := s.Status()
	info, err := s.streamInfo(ctx)
	if err != nil {
		return st, err
	}
	if !info.Created.Equal(st.Created) {
		return st, fmt.Errorf("source: the stream was made anew at %s", info.Created)
	}
	st.FirstSeq, st.AsOf, st.MaxAge, st.TTL = info.State.FirstSeq, info.TS, int64(info.Config.MaxAge), info.Config.AllowMsgTTL
	st.Discards = discards(&info.Config)
	return st, nil
}

// Heard has a value when the stream's leader has spoken since it was last received from: Status has what it said.
func (s *Source) Heard() <-chan struct{} { return s.heard }

func (s *Source) stopped(stop *Stop) *Stop {
	s.note(func(st *Status) {
		st.State, st.Reason, st.Code, st.Hint = StateStopped, stop.Text, stop.Code, stop.Hint
		if stop.Code != CodeRefused {
			st.Contradiction = stop
		}
	})
	return stop
}

// newConsumerName names the consumer of one session. Only [A-Za-z0-9_-] of the instance stays.
func (s *Source) newConsumerName() string {
	instance := strings.Map(func(c rune) rune {
		if c == '-' || c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
			return c
		}
		return '_'
	}, s.opts.Instance)
	unique := nats.NewInbox()
	unique = unique[strings.LastIndexByte(unique, '.')+1:]
	return "foldrun_" + instance[:min(len(instance), 64)] + "_" + unique
}

// warnOnce logs what an operator should know about the stream, once a source.
func (s *Source) warnOnce(message string, args ...any) {
	if s.warned[message] {
		return
	}
	s.warned[message] = true
	s.opts.Log.Warn(message, append([]any{"stream", s.opts.Stream}, args...)...)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
