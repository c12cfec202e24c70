package runtime

import (
	"fmt"
	"os"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// TestSlowRecords folds records of which each takes its module as much fuel as it may have. Some are committed long
// before all that were read are transformed, and a stop does not wait for those.
func TestSlowRecords(t *testing.T) {
	k := newSite(t).newKeeper(jetstream.StreamConfig{Name: "E"})
	k.opt.Wasm = must(os.ReadFile("../testdata/hostile/loop.wasm"))(t)
	k.opt.Collisions = nil
	k.far = farBehind // no commit waits
	const records = 10_000
	for i := range records {
		must(k.js.PublishAsync(k.prefix+fmt.Sprint(i), []byte("!"), jetstream.WithStallWait(patience)))(t)
	}
	<-k.js.PublishAsyncComplete()
	k.run()
	k.r.await("some records", func(st Status) bool { return st.Quarantined > 0 })
	st := k.r.Status()
	k.halt()
	if st.Seq >= records || st.Seq != st.Quarantined {
		t.Errorf("the first commit that was seen is at %d, with %d in quarantine", st.Seq, st.Quarantined)
	}
}
