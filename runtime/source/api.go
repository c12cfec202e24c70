package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The error codes of the JetStream API that mean something to us.
const (
	errStreamNotFound  = 10059
	errMessageNotFound = 10037
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
		Lag uint64 `json:"lag"`
	} `json:"mirror"`
}

// storedMessage is what we read of the response to STREAM.MSG.GET.
type storedMessage struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
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
		if denied := violation(s.nc, subject); denied != nil {
			err = denied
		}
		return fmt.Errorf("source: %s: %w", op, err)
	}
	if err := decodeResponse(m.Data, resp); err != nil {
		return fmt.Errorf("source: %s: %w", op, err)
	}
	return nil
}

// request is nats.go's RequestWithContext, but it ends when the connection breaks: the answer would never come.
func (s *Source) request(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	broken := s.nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer s.nc.RemoveStatusListener(broken)
	if !s.nc.IsConnected() {
		return nil, errDisconnected
	}
	answer, inbox := make(chan *nats.Msg, 1), s.nc.NewInbox()
	sub, err := s.nc.ChanSubscribe(inbox, answer)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe()
	if err := s.nc.PublishRequest(subject, inbox, body); err != nil {
		return nil, err
	}
	select {
	case m := <-answer:
		if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			return nil, nats.ErrNoResponders
		}
		return m, nil
	case <-broken:
		return nil, errDisconnected
	case <-ctx.Done():
		return nil, ctx.Err()
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

// violation returns the connection's last error if it is a permission violation that explains why a request to
// subject got no answer: the server refuses apart from the request, which only times out. The refused subject is the
// request's or that of an inbox.
func violation(nc *nats.Conn, subject string) error {
	err := nc.LastError()
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	inbox, _, _ := strings.Cut(nc.NewInbox(), ".")
	text := err.Error()
	if strings.Contains(text, `"`+subject+`"`) || strings.Contains(text, `Subscription to "`+inbox+`.`) {
		return err
	}
	return nil
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

// createConsumer makes the consumer of one session: ephemeral, in memory, without acks, one filter, after seq.
func (s *Source) createConsumer(ctx context.Context, info *streamInfo, name string, seq uint64) error {
	threshold := time.Minute
	if limit := info.Config.ConsumerLimits.InactiveThreshold; limit > 0 {
		threshold = min(threshold, limit)
	}
	req := struct {
		Stream string                   `json:"stream_name"`
		Config jetstream.ConsumerConfig `json:"config"`
		Action string                   `json:"action"`
	}{s.opts.Stream, jetstream.ConsumerConfig{
		Name:              name,
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       seq + 1,
		FilterSubject:     s.filter,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: threshold,
		Metadata:          map[string]string{"app": "foldrun", "instance": s.opts.Instance},
	}, "create"}
	return s.call(ctx, "CONSUMER.CREATE."+s.opts.Stream+"."+name+"."+s.filter, req, nil)
}

// forgetConsumer deletes a consumer without waiting: when it fails, the server does it after the inactive threshold.
func (s *Source) forgetConsumer(name string) {
	s.nc.Publish(s.api+"CONSUMER.DELETE."+s.opts.Stream+"."+name, nil)
}
