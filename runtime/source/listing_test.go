package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// listed returns the seqs that a listing yields.
func (s *Source) listed(t testing.TB, upTo uint64, at func(seq uint64)) (all []uint64) {
	t.Helper()
	b := new(Batch)
	check(t, s.List(t.Context(), upTo, b, func() error {
		for i := range b.Records {
			if len(b.Value(i)) > 0 {
				t.Fatalf("message %d came with its value", b.Records[i].Seq)
			}
			all = append(all, b.Records[i].Seq)
			if at != nil {
				at(b.Records[i].Seq)
			}
		}
		return nil
	}))
	return all
}

// A listing is whole whatever happens to its messages and its consumer, and ends where nothing matches any more.
func TestList(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	p, nc := proxied(t, s)
	s.publish("e.in", 10, 12_000, 10)
	s.publish("e.out", 1, 10, 10)
	src := open(t, nc, Options{Stream: "E", Filter: "e.in.*", BatchRecords: 1000, Heartbeat: 500 * time.Millisecond}) // a busy machine is not silence
	for _, fault := range []string{"none", "gap", "tail", "consumer deleted", "cut"} {
		t.Run(fault, func(t *testing.T) {
			done := false
			all := src.listed(t, 12_010, func(seq uint64) {
				switch {
				case done:
				case fault == "gap" && seq == 3000, fault == "tail" && seq == 11_000:
					p.Swallow(1)
					done = true
				case fault == "consumer deleted" && seq == 2000:
					done = true
					for _, name := range s.consumers("E") {
						if err := s.js.DeleteConsumer(t.Context(), "E", name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
							t.Error(err)
						}
					}
				case fault == "cut" && seq == 2000:
					p.Cut()
					done = true
				}
			})
			if len(all) != 12_000 {
				t.Fatalf("%d messages were listed", len(all))
			}
			for i, seq := range all {
				if seq != uint64(i)+1 {
					t.Fatalf("message %d has seq %d", i, seq)
				}
			}
			p.Swallow(0)
		})
	}
	if all := src.listed(t, 100, nil); len(all) != 100 {
		t.Errorf("%d messages up to 100", len(all))
	}
	ctx, cancel := context.WithCancel(t.Context())
	b := new(Batch)
	if err := src.List(ctx, 12_010, b, func() error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a listing that nobody waits for: %v", err)
	}
	broken := errors.New("broken")
	if err := src.List(t.Context(), 12_010, b, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a listing whose owner fails: %v", err)
	}
}

// The latest messages come whole, each of its own subject, whatever is lost on the way.
func TestLatest(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	p, nc := proxied(t, s)
	s.publish("e.in", 6000, 8000, 500) // the last 6000 are those that count: more than a pull may bring, and more bytes
	s.publish("e.out", 1, 10, 10)
	for _, fault := range []string{"none", "gap", "cut"} {
		t.Run(fault, func(t *testing.T) {
			src := open(t, nc, Options{Stream: "E", Filter: "e.in.*", BatchRecords: 100, Heartbeat: time.Second}) // a busy machine is not silence
			b, done, want := new(Batch), fault == "none", uint64(2001)
			check(t, src.list(t.Context(), &listing{upTo: 8010, batch: b, latest: true, f: func() error {
				for i := range b.Records {
					if b.Records[i].Seq != want || len(b.Value(i)) != 500 {
						t.Fatalf("message %d of %d bytes, want %d", b.Records[i].Seq, len(b.Value(i)), want)
					}
					want++
				}
				switch {
				case done:
				case fault == "gap":
					p.Swallow(1)
				case fault == "cut":
					p.Cut()
				}
				done = true
				return nil
			}}))
			p.Swallow(0)
			if want != 8001 {
				t.Errorf("it ended before %d", want)
			}
		})
	}
	src, all := open(t, nc, Options{Stream: "E", KeyingMessage: true}), 0
	b := new(Batch)
	check(t, src.Latest(t.Context(), 8010, b, func() error { all += b.Len(); return nil }))
	if all != 8010 {
		t.Errorf("%d messages of a log", all)
	}
}

// TestLatestLarge has the latest messages be more bytes than a pull is to bring: none is lost between two.
func TestLatestLarge(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.publish("e.in", 6000, 6000, 5000)
	src, n := open(t, s.nc, Options{Stream: "E", Filter: "e.in.*", Heartbeat: mute}), 0
	b := new(Batch)
	check(t, src.Latest(t.Context(), 6000, b, func() error { n += b.Len(); return nil }))
	if n != 6000 {
		t.Errorf("%d of 6000 messages came", n)
	}
}

func TestFetch(t *testing.T) {
	s := newSite(t)
	s.bucket(jetstream.KeyValueConfig{Bucket: "b", History: 5})
	s.put("$KV.b.k", "one")
	last := s.put("$KV.b.k", "two")
	src, b := open(t, s.nc, Options{Bucket: "b"}), new(Batch)
	if found, err := src.Fetch(t.Context(), []byte("k"), 0, b); err != nil || !found || b.Records[0].Seq != last || string(b.Value(0)) != "two" || string(b.Key(0)) != "k" {
		t.Errorf("%v, %v: %+v", found, err, b.Records)
	}
	if found, err := src.Fetch(t.Context(), []byte("other"), 0, b); err != nil || found {
		t.Errorf("%v, %v", found, err)
	}
}

func TestExpiryOfHeader(t *testing.T) {
	const s = 1_000_000_000
	for value, want := range map[string]int64{
		"5": 5*s + 7, "1m": 60*s + 7, "1500ms": s + 7, "never": store.Never, "NEVER": store.Never,
		"": 0, "0": 0, "-1": 0, "999ms": 0, "x": 0, "9223372036854775807": store.Never - 1,
	} {
		if got := expiry(value, 7, true); got != want {
			t.Errorf("%q is %d, want %d", value, got, want)
		}
	}
	if expiry("5", 7, false) != 0 || expiry("never", 7, false) != store.Never {
		t.Error("a stream that does not allow it")
	}
}

func TestHorizon(t *testing.T) {
	var got []string
	for _, c := range []jetstream.StreamConfig{
		{}, {DenyDelete: true, DenyPurge: true}, {AllowMsgTTL: true}, {AllowMsgTTL: true, SubjectDeleteMarkerTTL: 60e9},
		{MaxMsgs: 1}, {MaxMsgs: 1, Discard: jetstream.DiscardNew}, {MaxAge: 1},
	} {
		got = append(got, horizon(&c).String())
	}
	if want := "[25m0s 2562047h47m16.854775807s 0s 1m0s 0s 25m0s 25m0s]"; fmt.Sprint(got) != want {
		t.Errorf("%s\n%s", got, want)
	}
}

// A listing up to a seq that the stream does not reach, as when it was rewound, ends with an error: the server would say
// for ever that there is nothing more.
func TestListBeyondTheEnd(t *testing.T) {
	s := newSite(t)
	s.log("e.>")
	s.publish("e.a", 10, 10, 10)
	src := open(t, s.nc, Options{Stream: "E", Heartbeat: 100 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := src.List(ctx, 11, new(Batch), func() error { return nil })
	if err == nil || !strings.Contains(err.Error(), "ends at 10") || ctx.Err() != nil {
		t.Errorf("listed up to 11 of 10: %v", err)
	}
}
