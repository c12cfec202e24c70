package serve_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/client/natsdoor"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/source"
)

var reads = flag.Int("reads", 2000, "reads of TestReadYourWrites")

// A tally is what readers of one kind found.
type tally struct {
	mu           sync.Mutex
	took         []time.Duration
	stale, early int // with and without min_seq
}

func (a *tally) add(took time.Duration, stale, early bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.took = append(a.took, took)
	if stale {
		a.stale++
	}
	if early {
		a.early++
	}
}

// TestReadYourWrites has several clients put and then read, at the seq that the put returned: half of them over HTTP, half over
// NATS, where two replicas answer. Half of the keys lie outside the fold's filter, half of the reads give the incarnation.
func TestReadYourWrites(t *testing.T) {
	patient := func(o *runtime.FoldOptions) { o.Source.Heartbeat = 10 * time.Second } // a busy machine is not silence
	f := newFollow(t, "echo", patient)
	created := f.created()
	f.until("the first commit", func(s runtime.Status) bool { return s.CaughtUp })
	other, start := f.twin(patient)
	start()
	f.overNATS("one", f.Fold)
	f.overNATS("two", other)
	f.shared("one", "two")
	doors := []string{"HTTP", "NATS"}
	kinds := map[string]*tally{}
	for _, door := range doors {
		for _, place := range []string{"a", "z"} {
			for _, given := range []bool{false, true} {
				kinds[fmt.Sprint(door, place, given)] = new(tally)
			}
		}
	}
	const clients = 4
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			door, who := doors[n%2], f.who
			if door == "NATS" {
				who = natsdoor.New(f.nc, natsdoor.Subject)
			}
			for i := range *reads / clients {
				place, given := []string{"a", "z"}[i%2], i/2%2 == 0
				want := client.AtLeast{Wait: patience}
				if given {
					want.Incarnation = created
				}
				f.putAndRead(kinds[fmt.Sprint(door, place, given)], who, fmt.Sprintf("%s.%d.%d", place, n, i%6), fmt.Sprint(i), want)
			}
		})
	}
	all.Wait()
	n := 0
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		k := kinds[name]
		slices.Sort(k.took)
		n += len(k.took)
		t.Logf("%s, in the filter: %-5v incarnation given: %-5v %d reads, p50 %s, p99 %s, longest %s; stale %d, without min_seq %d", name[:4], name[4] == 'a',
			name[5:], len(k.took), k.took[len(k.took)/2], k.took[len(k.took)*99/100], k.took[len(k.took)-1], k.stale, k.early)
		if k.stale > 0 {
			t.Errorf("%d of %d reads are stale", k.stale, len(k.took))
		}
	}
	if n != *reads {
		t.Errorf("%d reads, not %d", n, *reads)
	}
	for _, fold := range []*runtime.Fold{f.Fold, other} {
		if s := fold.Status(); s.Code != "" || s.Source.Sessions != 1 {
			t.Errorf("%+v", s)
		}
	}
}

// putAndRead puts a value and reads it, without and with the seq.
func (f *follow) putAndRead(k *tally, who *client.Client, key, value string, want client.AtLeast) {
	expected := value
	if strings.HasPrefix(key, "z") {
		expected = ""
	}
	seq, err := f.kv.PutString(f.t.Context(), key, value)
	if err != nil {
		f.t.Error(err)
		return
	}
	got, at, err := f.readBy(who, "main", key, client.AtLeast{})
	if err != nil {
		f.t.Error(err)
		return
	}
	early := got != expected || at.Seq < seq
	want.Seq = seq
	began := time.Now()
	got, at, err = f.readBy(who, "main", key, want)
	if err != nil {
		f.t.Errorf("%s: %v", key, err)
		return
	}
	k.add(time.Since(began), got != expected || at.Seq < seq, early)
}

// TestReadAfterRecreation deletes the stream and makes it again under a generation that stands far ahead. No reader is told
// that this has its put.
func TestReadAfterRecreation(t *testing.T) {
	f := newFollow(t, "echo", nil)
	refused := map[string]int{}
	for round := range 15 {
		value := fmt.Sprint("round ", round)
		seq := f.put("a.k", value)
		if round > 0 && seq > 3 {
			t.Fatalf("the new stream begins at %d", seq)
		}
		want := client.AtLeast{Seq: seq, Wait: patience}
		if round%3 == 2 {
			want.Incarnation = f.created()
		}
		for late := time.Now().Add(patience); ; {
			got, at, err := f.read("main", "a.k", want)
			var no *client.Error
			if err == nil {
				if got != value || !at.Incarnation.Equal(f.created()) {
					t.Fatalf("round %d, incarnation given %v: %q at %+v", round, round%3 == 2, got, at)
				}
				break
			}
			if !errors.As(err, &no) || no.Status != http.StatusConflict || no.Hint == "" || time.Now().After(late) {
				t.Fatal(err)
			}
			refused[no.Code]++
		}
		for range 50 {
			seq = f.put("a.k", "filler")
		}
		if _, _, err := f.read("main", "a.k", client.AtLeast{Seq: seq, Wait: patience}); err != nil {
			t.Fatal(err)
		}
		check(t, f.js.DeleteKeyValue(t.Context(), "b"))
		f.make()
	}
	t.Logf("refused meanwhile: %v", refused)
	delete(refused, source.CodeRecreated)
	if len(refused) > 0 {
		t.Errorf("other refusals: %v", refused)
	}
}
