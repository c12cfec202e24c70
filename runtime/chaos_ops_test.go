package runtime

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A client changes a ward's stream at random, as programs and operators do.
type client struct {
	*ward
	rng    *rand.Rand
	values *churn
}

// An op is one thing that a client does. can is nil where any stream takes it.
type op struct {
	name   string
	weight int
	can    func(c *jetstream.StreamConfig) bool
	do     func(c *client) error
}

func isBucket(c *jetstream.StreamConfig) bool { return c.DenyDelete }
func takesTTL(c *jetstream.StreamConfig) bool { return c.AllowMsgTTL }
func isStream(c *jetstream.StreamConfig) bool { return !c.DenyDelete }

const chaosKeys = 40

var ops = []op{
	{name: "put", weight: 300, do: func(c *client) error { return c.send(c.key(), c.values.value()) }},
	{name: "put empty", weight: 20, do: func(c *client) error { return c.send(c.key(), "") }},
	{name: "put with headers", weight: 30, do: func(c *client) error {
		return c.send(c.key(), c.values.value(), "X-One", "1", "Nats-Msg-Note", "ü", "x-empty", "")
	}},
	{name: "put of an odd key", weight: 30, do: func(c *client) error {
		return c.send(c.values.pick("odd/=_-", "ü.é", "a$b", "A.a", "{}", fmt.Sprintf("%0200d", c.rng.IntN(3)), "\x01"), c.values.value())
	}},
	{name: "burst", weight: 12, do: (*client).burst},
	{name: "delete", weight: 40, do: func(c *client) error { return c.send(c.key(), "", "KV-Operation", "DEL") }},
	{name: "purge key", weight: 30, do: func(c *client) error {
		return c.send(c.key(), "", "KV-Operation", "PURGE", "Nats-Rollup", "sub")
	}},
	{name: "PurgeDeletes", weight: 6, can: isBucket, do: func(c *client) error {
		return c.kv().PurgeDeletes(c.t.Context(), jetstream.DeleteMarkersOlderThan(-1))
	}},
	{name: "rollup of all", weight: 2, do: func(c *client) error { return c.send(c.key(), c.values.value(), "Nats-Rollup", "all") }},
	{name: "put with a TTL", weight: 30, can: takesTTL, do: func(c *client) error {
		return c.send(c.key(), c.values.value(), "Nats-TTL", c.values.pick("1", "1s200ms", "2", "1h", "never"))
	}},
	{name: "purge all", weight: 2, do: func(c *client) error { return c.purge() }},
	{name: "purge by subject", weight: 20, do: func(c *client) error { return c.purge(jetstream.WithPurgeSubject(c.prefix + c.key())) }},
	{name: "purge by seq", weight: 3, do: func(c *client) error { return c.purge(jetstream.WithPurgeSequence(c.anySeq())) }},
	{name: "purge, keep some", weight: 3, do: func(c *client) error { return c.purge(jetstream.WithPurgeKeep(1 + c.rng.Uint64N(60))) }},
	{name: "message delete", weight: 20, can: isStream, do: (*client).deleteOne},
	{name: "MaxAge lowered", weight: 3, can: isStream, do: func(c *client) error { return c.maxAge(time.Duration(500+c.rng.IntN(1500)) * time.Millisecond) }},
	{name: "MaxAge raised", weight: 4, can: isStream, do: func(c *client) error { return c.maxAge(time.Hour) }},
	{name: "MaxAge removed", weight: 3, can: isStream, do: func(c *client) error { return c.maxAge(0) }},
}

// work does one thing after another until enough is closed.
func (c *client) work(enough <-chan struct{}) {
	c.t.Helper()
	sum := 0
	for i := range ops {
		sum += ops[i].weight
	}
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for !c.t.Failed() {
		c.gate.RLock()
		c.one(c.rng.IntN(sum))
		rest := c.rng.IntN(10) // what holds the gate may use rng
		c.gate.RUnlock()
		for range rest {
			select {
			case <-pace.C:
			case <-enough:
				return
			}
		}
	}
}

// one does the operation that a number below the sum of the weights names, if the stream takes it.
func (c *client) one(n int) {
	c.t.Helper()
	o := &ops[0]
	for i := range ops {
		if n -= ops[i].weight; n < 0 {
			o = &ops[i]
			break
		}
	}
	if o.can != nil && !o.can(&c.config) {
		return
	}
	err := o.do(c)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		c.t.Errorf("%s: %s: %v", c.name, o.name, err)
		return
	}
	c.tally.add(tallyOp, o.name)
}

func (c *client) key() string {
	if c.rng.IntN(4) == 0 {
		return fmt.Sprintf("hot.%d", c.rng.IntN(5))
	}
	return fmt.Sprintf("k.%d", c.rng.IntN(chaosKeys))
}

func (c *client) send(key, value string, header ...string) error {
	_, err := c.js.PublishMsg(c.t.Context(), c.message(key, value, header...))
	return err
}

// burst sends some values as fast as the server takes them.
func (c *client) burst() error {
	var all []jetstream.PubAckFuture
	for range 20 + c.rng.IntN(100) {
		f, err := c.js.PublishMsgAsync(c.message(c.key(), c.values.value()))
		if err != nil {
			return err
		}
		all = append(all, f)
	}
	for _, f := range all {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		case <-c.t.Context().Done():
			return c.t.Context().Err()
		}
	}
	return nil
}

func (c *client) purge(opts ...jetstream.StreamPurgeOpt) error {
	st, err := c.js.Stream(c.t.Context(), c.name)
	if err != nil {
		return err
	}
	return st.Purge(c.t.Context(), opts...)
}

// anySeq returns a seq of the stream's older half.
func (c *client) anySeq() uint64 {
	st, err := c.js.Stream(c.t.Context(), c.name)
	if err != nil {
		return 1
	}
	s := st.CachedInfo().State
	return s.FirstSeq + c.rng.Uint64N((s.LastSeq+1-min(s.FirstSeq, s.LastSeq))/2+1)
}

func (c *client) deleteOne() error {
	st, err := c.js.Stream(c.t.Context(), c.name)
	if err != nil {
		return err
	}
	m, err := st.GetMsg(c.t.Context(), c.anySeq(), jetstream.WithGetMsgSubject(">"))
	if err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		return st.SecureDeleteMsg(c.t.Context(), m.Sequence)
	}
	return st.DeleteMsg(c.t.Context(), m.Sequence)
}

func (c *client) maxAge(d time.Duration) error {
	was := c.config.MaxAge
	if was > 0 && (d == 0 || d > was) {
		c.raised.Store(true)
	}
	c.config.MaxAge = d // owned by the client while it works, and by what holds the gate
	_, err := c.js.UpdateStream(c.t.Context(), c.config)
	return err
}
