package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/store"
)

// TestDamageRebuilds flips a byte in each table file of a fold that runs, and reads: the fold goes on, and a new
// generation replaces the damaged one.
func TestDamageRebuilds(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E", MaxMsgsPerSubject: 1})
	k.run()
	last := uint64(0)
	for i := range 200 {
		last = k.say(fmt.Sprint(i), "V"+strings.Repeat("x", 4000))
	}
	for range 3 { // the second start moves what the log holds into a table file, of which the third has read little
		k.r.reach(last)
		k.r.stop()
		k.run()
	}
	k.r.reach(last)
	was := k.r.Store()
	flip(t, was.Path())
	v := must(was.View())(t)
	err := v.Scan(0, store.Range{}, func(store.Row) bool { return true })
	v.Close()
	if !store.IsDamage(err) {
		t.Fatalf("read what was flipped: %v", err)
	}
	k.r.await("another generation", func(st Status) bool { return k.r.Store() != was && st.Code == "" })
	k.agree(200)
	k.keys("d")
	k.agree(201)
	if g := k.r.Store().Generation(); !strings.HasSuffix(g, "-2") {
		t.Errorf("generation %s serves", g)
	}
	k.halt()
}

// flip flips a byte in the middle of each table file.
func flip(t *testing.T, dir string) {
	t.Helper()
	tables := must(filepath.Glob(filepath.Join(dir, "*.sst")))(t)
	if len(tables) == 0 {
		t.Fatal("there is no table file")
	}
	for _, name := range tables {
		b := must(os.ReadFile(name))(t)
		f := must(os.OpenFile(name, os.O_WRONLY, 0))(t)
		must(f.WriteAt([]byte{b[len(b)/2] ^ 1}, int64(len(b)/2)))(t)
		check(t, f.Close())
	}
}
