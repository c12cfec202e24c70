package source

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// A listing is one call of List.
type listing struct {
	*Source
	recorder
	filter  string
	created time.Time
	upTo    uint64
	batch   *Batch
	f       func() error
	latest  bool   // whole messages, and with the subject as the key only the last of each
	last    uint64 // what was listed up to

	// of the session that is under way
	consumer string
	inbox    string
	asked    int    // messages that the last pull asked for
	open     int    // of them, those that it may still bring
	bytes    int    // that a pull of whole messages is to bring, about
	brought  int    // bytes that the last one did
	came     uint64 // the consumer's sequence of the last message
}

// listingPull is how many messages one pull of a listing asks for. There is one pull at a time, so that a listing takes
// no more than its share of server and line.
const listingPull = 5000

// listingTries is how often in a row a listing begins anew without getting on.
const listingTries = 5

// List reads the headers of every message of the source that the stream holds up to the seq upTo, in stream order. It
// fills b, without values, and calls f whenever b is full and at the end; what f leaves of b is dropped. It has a
// consumer of its own, may run beside Run, and goes on where it was after anything but an error of f, ctx's end, and a
// stream that was made anew.
//
// It ends only when the server has said that it looked at everything up to upTo: a replica that lags behind the leader
// would otherwise pass for a stream that lost its tail.
func (s *Source) List(ctx context.Context, upTo uint64, b *Batch, f func() error) error {
	return s.list(ctx, &listing{upTo: upTo, batch: b, f: f})
}

// Latest is List of whole messages, and of those only the last of each source key. One whose key changes meanwhile may
// be missing: its last message is then beyond upTo.
func (s *Source) Latest(ctx context.Context, upTo uint64, b *Batch, f func() error) error {
	return s.list(ctx, &listing{upTo: upTo, batch: b, f: f, latest: true})
}

func (s *Source) list(ctx context.Context, l *listing) error {
	st := s.Status()
	l.Source, l.recorder = s, recorder{prefix: st.Prefix, byMessage: s.opts.KeyingMessage}
	l.filter, l.created = st.Filter, st.Created
	l.bytes = max(s.opts.PullBytes, int(s.nc.MaxPayload())+64<<10)
	l.batch.Reset()
	l.batch.TTL = st.TTL
	pause := backoff{next: s.pace.backoff}
	for tries := 0; ; tries++ {
		was := l.last
		err, done := l.session(ctx)
		if done || err == nil {
			return err
		}
		if l.last > was {
			tries, pause.next = 0, s.pace.backoff
		}
		if tries+1 >= listingTries || ctx.Err() != nil {
			return fmt.Errorf("source: listing at %d: %w", l.last, err)
		}
		if err := sleep(ctx, pause.take(s.pace.longest)); err != nil {
			return err
		}
		if err := s.reconnected(ctx); err != nil {
			return err
		}
	}
}

// reconnected returns when the connection is up.
func (s *Source) reconnected(ctx context.Context) error {
	up := s.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer s.nc.RemoveStatusListener(up)
	for !s.nc.IsConnected() {
		if s.nc.IsClosed() {
			return fmt.Errorf("source: %w", nats.ErrConnectionClosed)
		}
		select {
		case <-up:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// session lists what one consumer delivers. done says that err, nil or not, is the end of the listing.
func (l *listing) session(ctx context.Context) (err error, done bool) {
	info, err := l.streamInfo(ctx)
	if err != nil {
		return err, false
	}
	if err, done := l.fits(info); err != nil {
		return err, done
	}
	l.consumer, l.inbox, l.came, l.asked = l.newConsumerName(), l.nc.NewInbox(), 0, 0
	ch := make(chan *nats.Msg, listingPull+64)
	sub, err := l.nc.ChanSubscribe(l.inbox, ch)
	if err != nil {
		return err, false
	}
	defer sub.Unsubscribe()
	defer l.forgetConsumer(l.consumer)
	if err := l.createConsumer(ctx, info, consumer{name: l.consumer, filter: l.filter, after: l.last, headersOnly: !l.latest,
		latest: l.latest && !l.byMessage}); err != nil {
		return err, false
	}
	// The stream may have been made anew before the consumer. From here on that would end the consumer.
	if info, err = l.streamInfo(ctx); err != nil {
		return err, false
	}
	if err, done := l.fits(info); err != nil {
		return err, done
	}
	if err := l.pull(); err != nil {
		return err, false
	}
	silence := time.NewTimer(0)
	defer silence.Stop()
	for {
		m, err := l.next(ctx, ch, silence)
		if err == nil && m.Reply == "" {
			err, done = l.control(m)
		} else if err == nil {
			err, done = l.message(m)
		}
		if err != nil || done {
			return err, done
		}
	}
}

// fits returns why a stream cannot be listed as it is to be. done is as session's.
func (l *listing) fits(info *streamInfo) (err error, done bool) {
	if !info.Created.Equal(l.created) {
		return fmt.Errorf("source: the stream was made anew at %s", info.Created), true
	}
	if last := info.State.LastSeq; last < l.upTo { // a leader that is a little behind, or a stream that was rewound: it would not end
		return fmt.Errorf("source: the stream ends at %d, and is to be listed up to %d", last, l.upTo), false
	}
	return nil, false
}

// size returns how many messages to ask for. Of whole messages it has no max_bytes: where that, or its time, ends a pull that
// the latest messages fill, nats-server 2.15 forgets the one that came next. They are as many as the last ones' size allows.
func (l *listing) size() int {
	switch {
	case !l.latest:
		return listingPull
	case l.asked == 0:
		return max(1, min(listingPull, l.bytes/int(max(1, l.nc.MaxPayload()))))
	}
	return max(1, min(listingPull, 2*l.asked, l.bytes*l.asked/max(1, l.brought)))
}

func (l *listing) pull() error {
	l.asked = l.size()
	l.open, l.brought = l.asked, 0
	body := fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, l.asked, max(30*time.Second, 3*l.opts.Heartbeat), l.opts.Heartbeat)
	return l.nc.PublishRequest(l.api+"CONSUMER.MSG.NEXT."+l.opts.Stream+"."+l.consumer, l.inbox, body)
}

// next waits for a message. What has come is taken first: f may have taken longer than silence may last.
func (l *listing) next(ctx context.Context, ch <-chan *nats.Msg, silence *time.Timer) (*nats.Msg, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	select {
	case m := <-ch:
		return m, nil
	default:
	}
	silence.Reset(l.opts.Heartbeat * 5 / 2)
	select {
	case m := <-ch:
		return m, nil
	case <-silence.C:
		return nil, &reset{reason: "silence"}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// control takes the status of a pull. done is as session's.
func (l *listing) control(m *nats.Msg) (err error, done bool) {
	status, text := m.Header.Get("Status"), m.Header.Get("Description")
	switch status {
	case "409":
		if strings.Contains(strings.ToLower(text), "batch completed") { // its last message had the next pull sent
			return nil, false
		}
	case "100":
		delivered, ok1 := parseUint(m.Header.Get("Nats-Last-Consumer"))
		scanned, ok2 := parseUint(m.Header.Get("Nats-Last-Stream"))
		switch {
		case ok1 && delivered > l.came:
			return &reset{reason: "gap"}, false
		case ok1 && ok2 && scanned >= l.upTo:
			return l.flush(), true
		}
		return nil, false
	case "404", "408":
		if l.latest { // it may have cost a message
			return &reset{reason: "expired"}, false
		}
		return l.pull(), false
	}
	return &reset{"status", strings.TrimSpace(status + " " + text)}, false
}

// message takes one message of the stream. done is as session's.
func (l *listing) message(m *nats.Msg) (err error, done bool) {
	a, ok := parseAck(m.Reply)
	if !ok || a.consumer != l.consumer {
		return nil, false
	}
	if l.came++; a.consumerSeq != l.came {
		return &reset{reason: "gap"}, false
	}
	if a.streamSeq > l.upTo {
		return l.flush(), true
	}
	l.brought += messageSize(m)
	if err := l.take(m, a); err != nil {
		return err, true
	}
	if a.streamSeq == l.upTo {
		return l.flush(), true
	}
	if l.open--; l.open == 0 {
		return l.pull(), false
	}
	return nil, false
}

// take adds one message to the batch.
func (l *listing) take(m *nats.Msg, a ack) error {
	if a.streamSeq <= l.last {
		return nil
	}
	if b := l.batch; b.Len() > 0 && (b.Len() >= l.opts.BatchRecords || len(b.Bytes)+messageSize(m) > l.opts.BatchBytes) {
		if err := l.flush(); err != nil {
			return err
		}
	}
	l.record(l.batch, m, a.streamSeq, a.time)
	l.last = a.streamSeq
	return nil
}

func (l *listing) flush() error {
	if l.batch.Len() == 0 {
		return nil
	}
	ttl := l.batch.TTL
	err := l.f()
	l.batch.Reset()
	l.batch.TTL = ttl
	return err
}

// Fetch puts into b, which it empties, the message that counts for a source key by the leader's word: the last of its
// subject, or with keying = "message" that of the seq. found is false when there is none.
func (s *Source) Fetch(ctx context.Context, key []byte, seq uint64, b *Batch) (found bool, err error) {
	st := s.Status()
	b.Reset()
	b.MaxAge, b.TTL = st.MaxAge, st.TTL
	var req any = map[string]any{"last_by_subj": st.Prefix + string(key)}
	if s.opts.KeyingMessage {
		req = map[string]any{"seq": seq}
	}
	stored, err := s.message(ctx, req)
	if err != nil || stored == nil {
		return false, err
	}
	m := &nats.Msg{Subject: stored.Subject, Data: stored.Data}
	if len(stored.Headers) > 0 {
		if m.Header, err = nats.DecodeHeadersMsg(stored.Headers); err != nil {
			return false, fmt.Errorf("source: headers of message %d: %w", stored.Seq, err)
		}
	}
	r := recorder{prefix: st.Prefix, byMessage: s.opts.KeyingMessage}
	r.record(b, m, stored.Seq, stored.Time.UnixNano())
	return true, nil
}

// Holds says whether the leader holds, at seq, a message that was stored at time (ns since 1970).
func (s *Source) Holds(ctx context.Context, seq uint64, time int64) (bool, error) {
	m, err := s.messageAt(ctx, seq)
	return m != nil && m.Time.UnixNano() == time, err
}
