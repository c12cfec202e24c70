package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// A keeper is a stream from which records are removed in some way, and a fold that follows it.
type keeper struct {
	*site
	name   string // of the stream
	path   string
	opt    FoldOptions
	r      *runner // nil while foldrun is away
	prefix string  // of the subjects
	off    guards
	far    uint64 // farBehind of the fold
}

// newKeeper makes the stream; a bucket's, when its name is one.
func (s *site) newKeeper(c jetstream.StreamConfig) *keeper {
	s.t.Helper()
	k := &keeper{site: s, name: c.Name, path: s.t.TempDir(), prefix: strings.ToLower(c.Name) + ".", opt: s.modelFold(""), far: 10}
	k.opt.Source = source.Options{Stream: c.Name}
	if bucket, ok := strings.CutPrefix(c.Name, "KV_"); ok {
		k.prefix = "$KV." + bucket + "."
		k.opt.Source = source.Options{Bucket: bucket}
		c.AllowRollup, c.DenyDelete, c.AllowDirect, c.Discard = true, true, true, jetstream.DiscardNew
		c.MaxMsgsPerSubject = max(c.MaxMsgsPerSubject, 1)
	}
	c.Subjects = []string{k.prefix + ">"}
	k.opt.Source.Heartbeat = 250 * time.Millisecond
	k.opt.Source.ClockSlack, k.opt.Source.Refresh = time.Nanosecond, 50*time.Millisecond
	must(s.js.CreateStream(s.t.Context(), c))(s.t)
	s.t.Cleanup(func() {
		if k.r != nil { // the test failed
			k.r.end()
			k.r.wait()
			k.r.close()
		}
	})
	return k
}

// change changes the stream's configuration.
func (k *keeper) change(f func(c *jetstream.StreamConfig)) {
	k.t.Helper()
	c := k.stream().CachedInfo().Config
	f(&c)
	must(k.js.UpdateStream(k.t.Context(), c))(k.t)
}

func (k *keeper) stream() jetstream.Stream {
	k.t.Helper()
	return must(k.js.Stream(k.t.Context(), k.name))(k.t)
}

// say stores one message: header is a name and a value, or nothing.
func (k *keeper) say(key, value string, header ...string) uint64 {
	k.t.Helper()
	m := nats.NewMsg(k.prefix + key)
	m.Data = []byte(value)
	for i := 0; i < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	return must(k.js.PublishMsg(k.t.Context(), m))(k.t).Sequence
}

// keys stores a value for each of some keys, and returns the last seq.
func (k *keeper) keys(keys ...string) (seq uint64) {
	k.t.Helper()
	for _, key := range keys {
		seq = k.say(key, "V of "+key)
	}
	return seq
}

func (k *keeper) run() {
	k.t.Helper()
	dir := openDir(k.t, k.path, store.Options{Sync: store.SyncNever})
	f := must(NewFold(k.t.Context(), dir, k.opt))(k.t)
	f.guards, f.sweepPause, f.farBehind = k.off, 0, k.far
	if k.off[guardMessage] {
		f.tamper = func(b *source.Batch) {
			b.Records = slices.DeleteFunc(b.Records, func(u abi.Update) bool { return u.Op != abi.OpPut })
		}
	}
	k.r = run(k.t, dir, f)
}

func (k *keeper) halt() {
	k.t.Helper()
	if db := k.r.Store(); db != nil {
		whole(k.t, db)
	}
	k.r.stop()
	k.r = nil
}

// retained returns what the rows must be: of each source key that has a live record in the stream its value.
func (k *keeper) retained() map[string]string {
	k.t.Helper()
	st := k.stream()
	state := st.CachedInfo().State
	all := map[string]string{}
	for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
		m, err := st.GetMsg(k.t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		check(k.t, err)
		key := m.Subject
		if k.opt.Source.Bucket != "" {
			key = strings.TrimPrefix(key, k.prefix)
		}
		if k.opt.Source.KeyingMessage {
			key = string(binary.BigEndian.AppendUint64(nil, seq))
		}
		all[key] = string(m.Data)
		if !k.opt.Source.KeyingMessage && (m.Header.Get("KV-Operation") != "" || m.Header.Get("Nats-Marker-Reason") != "") {
			delete(all, key)
		}
	}
	return all
}

// standing returns the rows of index a.
func (k *keeper) standing() map[string]string {
	k.t.Helper()
	all := map[string]string{}
	if k.r.Store() == nil {
		return map[string]string{"": "there is no store yet"}
	}
	v := k.r.view()
	defer v.Close()
	check(k.t, v.Scan(0, store.Range{}, func(row store.Row) bool {
		all[string(row.Source)] = string(row.Value)
		return true
	}))
	return all
}

// agree waits until the stream retains n live records, -1 for any number, and the rows are those of them. It looks again when the cursor
// moves, and now and then, because the server removes without a word.
func (k *keeper) agree(n int) {
	k.t.Helper()
	if !k.agrees(n, patience) {
		k.t.Fatalf("the stream retains %q, the rows are %q; %+v", k.retained(), k.standing(), k.r.Status())
	}
}

func (k *keeper) agrees(n int, within time.Duration) bool {
	k.t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		moved := k.r.Moved()
		if kept := k.retained(); (len(kept) == n || n < 0) && maps.Equal(kept, k.standing()) {
			return true
		}
		select {
		case <-moved:
		case <-again.C:
		case <-k.r.done:
			k.t.Fatalf("the fold ended: %v", k.r.err)
		case <-late.C:
			return false
		}
	}
}

// sweptFor reports whether the last sweep was made for a reason. The report comes after the rows that the sweep mended.
func (k *keeper) sweptFor(reason string) bool {
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if sweep := k.r.Status().Sweep; sweep != nil && sweep.Reason == reason {
			return true
		}
		select {
		case <-again.C:
		case <-late.C:
			return false
		}
	}
}

// live runs step while the fold follows, away while it does not.
func (k *keeper) live(step func()) { step() }

func (k *keeper) away(step func()) {
	k.t.Helper()
	k.halt()
	step()
	k.run()
}

func TestLocalExpiry(t *testing.T) {
	s := newSite(t)
	for _, bucket := range []bool{true, false} {
		for _, markers := range []bool{false, true} {
			for _, away := range []bool{false, true} {
				name := "E"
				if bucket {
					name = "KV_E"
				}
				t.Run(fmt.Sprintf("%s markers %v away %v", name, markers, away), func(t *testing.T) {
					c := jetstream.StreamConfig{Name: fmt.Sprintf("%s%v%v", name, markers, away), AllowMsgTTL: true, MaxAge: 3 * time.Second,
						AllowRollup: true, MaxMsgsPerSubject: 1}
					if markers {
						c.SubjectDeleteMarkerTTL = time.Second
					}
					k := s.on(t).newKeeper(c)
					k.opt.Source.KeyingMessage = !bucket && !markers
					k.run()
					k.keys("a", "b")
					k.say("short", "V1", "Nats-TTL", "1")
					k.say("duration", "V2", "Nats-TTL", "1s500ms")
					k.say("never", "V3", "Nats-TTL", "never")
					k.r.reach(5)
					if away {
						k.away(func() {
							for len(k.retained()) > 1 {
								<-time.After(50 * time.Millisecond)
							}
						})
					}
					k.agree(1)
					k.halt()
				})
			}
		}
	}
}

// on returns the site for a subtest.
func (s *site) on(t testing.TB) *site {
	x := *s
	x.t = t
	return &x
}

// TestMaxAgeChanges sets, raises, lowers and removes a stream's MaxAge while rows stand.
func TestMaxAgeChanges(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("away %v", away), func(t *testing.T) {
			k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E", Duplicates: 100 * time.Millisecond})
			do := k.live
			if away {
				do = k.away
			}
			maxAge := func(d time.Duration) {
				t.Helper()
				do(func() { k.change(func(c *jetstream.StreamConfig) { c.MaxAge = d }) })
			}
			k.run()
			k.keys("a", "b")
			k.say("other", "Vn")
			k.agree(3)
			maxAge(time.Hour)
			k.keys("c")
			k.agree(4)
			maxAge(time.Second) // the rows from before there was one go too
			k.agree(0)
			k.keys("d")
			maxAge(time.Hour)
			k.keys("e")
			k.agree(len(k.retained()))
			maxAge(0)
			k.keys("f")
			k.agree(len(k.retained()))
			maxAge(time.Second)
			k.agree(0)
			k.halt()
		})
	}
}
