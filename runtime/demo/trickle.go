package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/testdata/cities"
)

// pace is the time between two updates of the trickle.
const pace = 400 * time.Millisecond

// city is a record of the data set, with its fields in the order of the bucket's values.
type city struct {
	ID         int     `json:"id"`
	Name       string  `json:"name"`
	Country    string  `json:"country"`
	Admin1     string  `json:"admin1"`
	Lat        float64 `json:"lat"`
	Lon        float64 `json:"lon"`
	Population int     `json:"population"`
	Timezone   string  `json:"timezone"`
}

// trickle makes updates that look like real ones: people move, regions are reformed, a city leaves the list and comes
// back.
type trickle struct {
	kv      jetstream.KeyValue
	all     []city
	gone    []int               // indexes into all: deleted, and not yet put back
	large   []int               // indexes into all: around the size that the filter asks for
	regions map[string][]string // admin1 codes, by country
}

func newTrickle(ctx context.Context, js jetstream.JetStream) (*trickle, error) {
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, fmt.Errorf("demo: bucket %s: %w", bucket, err)
	}
	t := &trickle{kv: kv, regions: map[string][]string{}}
	seen := map[string]bool{}
	err = cities.Each(func(_ string, value []byte) error {
		var c city
		if err := json.Unmarshal(value, &c); err != nil {
			return err
		}
		if c.Population > 900_000 {
			t.large = append(t.large, len(t.all))
		}
		t.all = append(t.all, c)
		if region := c.Country + "/" + c.Admin1; !seen[region] {
			seen[region] = true
			t.regions[c.Country] = append(t.regions[c.Country], c.Admin1)
		}
		return nil
	})
	return t, err
}

// next makes one update and says what it was, and at which seq.
func (t *trickle) next(ctx context.Context) (what string, seq uint64, err error) {
	i := rand.IntN(len(t.all))
	if rand.IntN(2) == 0 { // towns are many, but it is large cities that pass the filter
		i = t.large[rand.IntN(len(t.large))]
	}
	c := &t.all[i]
	regions := t.regions[c.Country]
	switch n := rand.IntN(10); {
	case n == 0 && len(t.gone) < 20:
		return t.leave(ctx, i)
	case n == 1 && len(t.gone) > 0:
		return t.comeBack(ctx)
	case n < 4 && len(regions) > 1:
		was := c.Admin1
		for c.Admin1 == was {
			c.Admin1 = regions[rand.IntN(len(regions))]
		}
		what = fmt.Sprintf("%s (%s): region %s → %s", c.Name, c.Country, was, c.Admin1)
	default:
		was := c.Population
		c.Population = max(was+int(float64(was)*(rand.Float64()-0.4)*0.1), 1)
		what = fmt.Sprintf("%s (%s): population %d → %d", c.Name, c.Country, was, c.Population)
	}
	seq, err = t.put(ctx, c)
	return what, seq, err
}

func (t *trickle) put(ctx context.Context, c *city) (uint64, error) {
	value, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	return t.kv.Put(ctx, fmt.Sprint(c.ID), value)
}

// leave deletes a city.
func (t *trickle) leave(ctx context.Context, i int) (what string, seq uint64, err error) {
	c := &t.all[i]
	if err := t.kv.Delete(ctx, fmt.Sprint(c.ID)); err != nil {
		return "", 0, err
	}
	t.gone = append(t.gone, i)
	status, err := t.kv.Status(ctx)
	if err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("%s (%s): deleted", c.Name, c.Country), status.(*jetstream.KeyValueBucketStatus).StreamInfo().State.LastSeq, nil
}

// comeBack puts the city back that was deleted first.
func (t *trickle) comeBack(ctx context.Context) (what string, seq uint64, err error) {
	c := &t.all[t.gone[0]]
	t.gone = t.gone[1:]
	seq, err = t.put(ctx, c)
	return fmt.Sprintf("%s (%s): put back", c.Name, c.Country), seq, err
}
