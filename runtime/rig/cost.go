package rig

import "time"

// Cost is what something over N updates took.
type Cost struct {
	N              int
	Wall           time.Duration
	Client, Broker time.Duration // CPU: of this process, and of the broker's, 0 if that is not ours
}

// Measure runs f and says what it cost. The broker may be nil: a server that is not ours, whose CPU is not known.
func (b *Broker) Measure(n int, f func() error) (c Cost, err error) {
	var before, after time.Duration
	if b != nil {
		if before, err = b.cpu(); err != nil {
			return c, err
		}
	}
	wall, own := time.Now(), cpu()
	if err := f(); err != nil {
		return c, err
	}
	c = Cost{N: n, Wall: time.Since(wall), Client: cpu() - own}
	if b != nil {
		after, err = b.cpu()
		c.Broker = after - before
	}
	return c, err
}

// And adds what went on with the same updates.
func (c Cost) And(x Cost) Cost {
	return Cost{c.N, c.Wall + x.Wall, c.Client + x.Client, c.Broker + x.Broker}
}

// Rate is updates a second.
func (c Cost) Rate() float64 { return float64(c.N) / c.Wall.Seconds() }

// ClientMicro and BrokerMicro are µs of CPU an update.
func (c Cost) ClientMicro() float64 { return float64(c.Client.Microseconds()) / float64(c.N) }
func (c Cost) BrokerMicro() float64 { return float64(c.Broker.Microseconds()) / float64(c.N) }
