package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/foldrun/foldrun/hint"
)

// plainAPI is the prefix of the JetStream API where no domain is named.
const plainAPI = "$JS.API."

// mapped returns what a request's subject becomes at a server of the domain. It checks permissions after that; a leaf
// node, which passes the request on to the domain, checks the subject as it is.
func (s *Source) mapped(subject string) string { return plainAPI + strings.TrimPrefix(subject, s.api) }

// needed is all that the source publishes to, as a list of permissions. docs/nats.md has it, as a server's
// configuration. Its user can read no message but those of the filter.
func (s *Source) needed(api string) []string {
	stream := s.opts.Stream
	return []string{
		api + "STREAM.INFO." + stream,
		api + "STREAM.MSG.GET." + stream,
		api + "CONSUMER.CREATE." + stream + ".*." + s.Status().Filter,
		api + "CONSUMER.MSG.NEXT." + stream + ".*",
		api + "CONSUMER.DELETE." + stream + ".*",
	}
}

// denied joins to a permission violation the entry of the list that is missing.
func (s *Source) denied(err error) error {
	for _, entry := range append(s.needed(s.api), s.needed(plainAPI)...) {
		stem, _, _ := strings.Cut(entry, "*") // what the entry has before the consumer's name
		if strings.Contains(err.Error(), `Publish to "`+stem) {
			return hint.Error(err, "allow the user to publish to %q; docs/nats.md has the whole list", entry)
		}
	}
	inbox := s.nc.NewInbox()
	return hint.Error(err, "allow the user to subscribe to %q; docs/nats.md has the whole list", inbox[:strings.LastIndexByte(inbox, '.')]+".>")
}

// Denied asks the server for everything that the source needs, in a way that changes nothing, and returns a violation
// for each permission that is missing.
func (s *Source) Denied(ctx context.Context) (missing []error, err error) {
	stream, none := s.opts.Stream, "foldrun_check"
	for _, probe := range []struct {
		op   string
		req  any
		wait time.Duration
	}{
		{"STREAM.INFO." + stream, nil, s.pace.api},
		{"STREAM.MSG.GET." + stream, struct{}{}, s.pace.api},                                         // it names no message
		{"CONSUMER.CREATE." + stream + "." + none + "." + s.Status().Filter, struct{}{}, s.pace.api}, // it names no stream
		{"CONSUMER.MSG.NEXT." + stream + "." + none, nil, s.pace.api / 4},                            // nobody answers beyond a leaf node
		{"CONSUMER.DELETE." + stream + "." + none, nil, s.pace.api},
	} {
		waiting, done := context.WithTimeout(ctx, probe.wait)
		err := s.call(waiting, probe.op, probe.req, new(json.RawMessage))
		done()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = s.late(ctx, probe.op, err)
		}
		switch {
		case errors.Is(err, nats.ErrPermissionViolation):
			if missing = append(missing, err); strings.Contains(err.Error(), "Subscription to") {
				return missing, nil // no answer to anything would come
			}
		case ctx.Err() != nil, errors.Is(err, errDisconnected):
			return missing, err
		}
	}
	return missing, nil
}

// late returns why a request has no answer: it was refused, or err. A server says that it refuses before it answers the next ping, so
// who waited too short a time, on a busy machine, knows after a round trip.
func (s *Source) late(ctx context.Context, op string, err error) error {
	ctx, done := context.WithTimeout(ctx, s.pace.longest)
	defer done()
	if s.nc.FlushWithContext(ctx) != nil {
		return err
	}
	last, inbox := s.nc.LastError(), s.nc.NewInbox()
	if !errors.Is(last, nats.ErrPermissionViolation) {
		return err
	}
	for _, subject := range []string{`"` + s.api + op + `"`, `"` + s.mapped(s.api+op) + `"`, `Subscription to "` + inbox[:strings.LastIndexByte(inbox, '.')]} {
		if strings.Contains(last.Error(), subject) {
			return fmt.Errorf("source: %s: %w", op, s.denied(last))
		}
	}
	return err
}

// Refused subscribes to subjects, and publishes nothing to others, each for a moment, and returns a violation for each that
// the server does not allow.
func Refused(ctx context.Context, nc *Conn, subscribe, publish []string) (missing []error, err error) {
	try := func(subject, right string, do func() error) error {
		if err := do(); err != nil {
			return err
		}
		if err := nc.FlushWithContext(ctx); err != nil {
			return err
		}
		if last := nc.LastError(); errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), `"`+subject+`"`) {
			missing = append(missing, hint.Error(last, "allow the user to %s to %q", right, subject))
		}
		return nil
	}
	for _, subject := range subscribe {
		err := try(subject, "subscribe", func() error {
			sub, err := nc.SubscribeSync(subject)
			if err == nil {
				sub.Unsubscribe()
			}
			return err
		})
		if err != nil {
			return missing, err
		}
	}
	for _, subject := range publish {
		if err := try(subject, "publish", func() error { return nc.Publish(subject, nil) }); err != nil {
			return missing, err
		}
	}
	return missing, nil
}
