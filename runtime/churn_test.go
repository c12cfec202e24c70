package runtime

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// A churn changes the keys of a bucket at random.
type churn struct {
	*site
	bucket string
	kv     jetstream.KeyValue
	rng    *rand.Rand
	health float64 // of the values that the module would fail on, this share is made anew
}

const (
	churnKeys = 300
	hotKeys   = 10
)

// some changes n keys. Most of the changes go one by one, as a program's would; deletes and purges among them.
func (c *churn) some(n int) {
	c.t.Helper()
	ctx := c.t.Context()
	for range n {
		key := fmt.Sprintf("k.%d", c.rng.IntN(churnKeys))
		if c.rng.IntN(4) == 0 {
			key = c.hot()
		}
		switch c.rng.IntN(10) {
		case 0:
			check(c.t, c.kv.Delete(ctx, key))
		case 1:
			check(c.t, c.kv.Purge(ctx, key))
		default:
			c.put(c.kv, key, []byte(c.value()))
		}
	}
}

func (c *churn) hot() string { return fmt.Sprintf("hot.%d", c.rng.IntN(hotKeys)) }

// burst puts n values to the hot keys as fast as the server takes them.
func (c *churn) burst(n int) {
	c.t.Helper()
	for range n {
		must(c.js.PublishAsync("$KV."+c.bucket+"."+c.hot(), []byte(c.value())))(c.t)
	}
	select {
	case <-c.js.PublishAsyncComplete():
	case <-c.t.Context().Done():
		c.t.Fatal("the burst did not end")
	}
}

// vanish purges n keys as an operator does: no message says so.
func (c *churn) vanish(n int) {
	c.t.Helper()
	st := must(c.js.Stream(c.t.Context(), "KV_"+c.bucket))(c.t)
	for range n {
		check(c.t, st.Purge(c.t.Context(), jetstream.WithPurgeSubject(fmt.Sprintf("$KV.%s.k.%d", c.bucket, c.rng.IntN(churnKeys)))))
	}
}

// value makes a value of the model module's grammar.
func (c *churn) value() string {
	v := c.anyValue()
	for c.health > 0 && transform("", v).failed != nil && c.rng.Float64() < c.health {
		v = c.anyValue()
	}
	return v
}

func (c *churn) anyValue() string {
	text := func() string {
		return c.pick("", "x", "y", "same", "\x00", "\xff\x00\x01", strings.Repeat("long", c.rng.IntN(200)))
	}
	switch c.rng.IntN(20) {
	case 0:
		return ""
	case 1:
		return "F" + text()
	case 2:
		return c.pick("E", "E\x07", "E\x07it is broken", "E\xff\xff")
	case 3:
		return "D" + text()
	case 4:
		return "X" + text()
	case 5:
		return "T" + text()
	case 6:
		return fmt.Sprintf("N%d", c.rng.IntN(30))
	case 7:
		return "K" + c.name()
	case 8:
		return "V" + text()
	case 9: // some of these rows are due a moment later, others never
		return fmt.Sprintf("L%d:%s", []int64{1, 1e6, 50e6, 500e6, 3600e9}[c.rng.IntN(5)], c.commands())
	case 10:
		return c.commands() + ";" + c.pick("zzz", "\x00", "a;Q=1")
	}
	return c.commands()
}

// commands makes up to 5 entries. Few names, so that keys collide.
func (c *churn) commands() string {
	var all []string
	for range c.rng.IntN(6) {
		all = append(all, c.pick("a", "b")+c.name()+c.pick("", "=", "=x", "=y", "=same", "=a=b"))
	}
	return strings.Join(all, ";")
}

func (c *churn) name() string {
	return c.pick("", "red", "green", "blue", "\x00", "\x00\xff", "\x00\x01", "\xff", fmt.Sprint(c.rng.IntN(40)), fmt.Sprint(c.rng.IntN(40)))
}

func (c *churn) pick(all ...string) string { return all[c.rng.IntN(len(all))] }
