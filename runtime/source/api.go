package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The error codes of the JetStream API that mean something to us.
const (
	errStreamNotFound       = 10059
	errMessageNotFound      = 10037
	errNotEnabled           = 10076
	errNotEnabledForAccount = 10039
)

// apiError is the error of a JetStream API response.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

func isAPIError(err error, code int) bool {
	var e *apiError
	return errors.As(err, &e) && e.ErrCode == code
}

// streamInfo is what we read of the response to STREAM.INFO.
type streamInfo struct {
	Config  jetstream.StreamConfig `json:"config"`
	Created time.Time              `json:"created"`
	TS      time.Time              `json:"ts"` // the server's clock
	State   struct {
		Messages uint64 `json:"messages"`
		FirstSeq uint64 `json:"first_seq"`
		LastSeq  uint64 `json:"last_seq"`
		Subjects uint64 `json:"num_subjects"`
		Lost     *struct {
			Messages []uint64 `json:"msgs"`
		} `json:"lost"`
	} `json:"state"`
	Mirror *struct {
		Lag    uint64 `json:"lag"`
		Active int64  `json:"active"` // ns since it last heard of its origin, -1 when it never did
	} `json:"mirror"`
}

// storedMessage is what we read of the response to STREAM.MSG.GET.
type storedMessage struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Headers []byte    `json:"hdrs"`
	Data    []byte    `json:"data"`
}

// call makes one request to the JetStream API. op is the subject without the API's prefix; req nil sends no body.
func (s *Source) call(ctx context.Context, op string, req, resp any) error {
	var body []byte
	if req != nil {
		var err error
		if body, err = json.Marshal(req); err != nil {
			return fmt.Errorf("source: %s: %w", op, err)
		}
	}
	subject := s.api + op
	ctx, cancel := context.WithTimeout(ctx, s.pace.api)
	defer cancel()
	m, err := s.request(ctx, subject, body)
	if err != nil {
		return fmt.Errorf("source: %s: %w", op, err)
	}
	if err := decodeResponse(m.Data, resp); err != nil {
		return fmt.Errorf("source: %s: %w", op, err)
	}
	return nil
}

// request is nats.go's RequestWithContext, but it ends when the connection breaks, or the server refuses the request or
// the subscription to its answer: then the answer would never come, and a time-out would not say why.
func (s *Source) request(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	broken := s.nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer s.nc.RemoveStatusListener(broken)
	if !s.nc.IsConnected() {
		return nil, errDisconnected
	}
	answer, inbox, mark := make(chan *nats.Msg, 1), s.nc.NewInbox(), s.journal.mark()
	sub, err := s.nc.ChanSubscribe(inbox+".*", answer) // as a session does: what is not allowed is known before one begins
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe()
	if err := s.nc.PublishRequest(subject, inbox+".answer", body); err != nil {
		return nil, err
	}
	for {
		refused, err := s.journal.refusal(mark, subject, s.mapped(subject), inbox+".*")
		if err != nil {
			return nil, s.denied(err)
		}
		select {
		case m := <-answer:
			if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
				return nil, nats.ErrNoResponders
			}
			return m, nil
		case <-refused:
		case <-broken:
			return nil, errDisconnected
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func decodeResponse(data []byte, resp any) error {
	var failed struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(data, &failed); err != nil {
		return err
	}
	if failed.Error != nil {
		return failed.Error
	}
	if resp == nil {
		return nil
	}
	return json.Unmarshal(data, resp)
}

func (s *Source) streamInfo(ctx context.Context) (*streamInfo, error) {
	info := new(streamInfo)
	return info, s.call(ctx, "STREAM.INFO."+s.opts.Stream, nil, info)
}

// messageAt returns the leader's message at seq, or nil if it holds none there.
func (s *Source) messageAt(ctx context.Context, seq uint64) (*storedMessage, error) {
	return s.message(ctx, map[string]any{"seq": seq})
}

// messageSince returns the leader's first message at or after t, or nil.
func (s *Source) messageSince(ctx context.Context, t time.Time) (*storedMessage, error) {
	return s.message(ctx, map[string]any{"start_time": t})
}

func (s *Source) message(ctx context.Context, req any) (*storedMessage, error) {
	var r struct {
		Message storedMessage `json:"message"`
	}
	err := s.call(ctx, "STREAM.MSG.GET."+s.opts.Stream, req, &r)
	if isAPIError(err, errMessageNotFound) {
		return nil, nil
	}
	return &r.Message, err
}

// A consumer is one that we make: ephemeral, in memory, without acks, with one filter.
type consumer struct {
	name, filter string
	after        uint64 // seq
	headersOnly  bool
	latest       bool // the last message of each subject, wherever it lies
}

func (s *Source) createConsumer(ctx context.Context, info *streamInfo, c consumer) error {
	policy, first := jetstream.DeliverByStartSequencePolicy, c.after+1
	if c.latest {
		policy, first = jetstream.DeliverLastPerSubjectPolicy, 0
	}
	threshold := time.Minute
	if limit := info.Config.ConsumerLimits.InactiveThreshold; limit > 0 {
		threshold = min(threshold, limit)
	}
	req := struct {
		Stream string                   `json:"stream_name"`
		Config jetstream.ConsumerConfig `json:"config"`
		Action string                   `json:"action"`
	}{s.opts.Stream, jetstream.ConsumerConfig{
		Name:              c.name,
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     policy,
		OptStartSeq:       first,
		FilterSubject:     c.filter,
		HeadersOnly:       c.headersOnly,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: threshold,
		Metadata:          map[string]string{"app": "foldrun", "instance": s.opts.Instance},
	}, "create"}
	return s.call(ctx, "CONSUMER.CREATE."+s.opts.Stream+"."+c.name+"."+c.filter, req, nil)
}

// forgetConsumer deletes a consumer without waiting: when it fails, the server does it after the inactive threshold.
func (s *Source) forgetConsumer(name string) {
	s.nc.Publish(s.api+"CONSUMER.DELETE."+s.opts.Stream+"."+name, nil)
}
