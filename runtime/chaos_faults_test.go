package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
)

// A fault is one thing that happens to a ward, beside what clients do.
type fault struct {
	name string
	slow bool // it takes long to recover from: left out of short runs
	do   func(x *chaos, w *ward)
}

var faults = []fault{
	{name: "connection cut", do: func(_ *chaos, w *ward) { w.proxy.Cut() }},
	{name: "connection cut in a message", do: func(x *chaos, w *ward) { w.proxy.CutIn(1 + x.rng.IntN(20)) }},
	{name: "connection dead", slow: true, do: func(_ *chaos, w *ward) { w.proxy.Kill() }},
	{name: "message swallowed", do: func(_ *chaos, w *ward) { w.proxy.Swallow(1) }},
	{name: "last message swallowed", do: (*chaos).swallowLast},
	{name: "stall", do: func(x *chaos, w *ward) {
		w.proxy.Stall(true)
		x.pass()
		w.proxy.Stall(false)
	}},
	{name: "long stall", slow: true, do: func(_ *chaos, w *ward) { w.proxy.Stall(true) }}, // until the round ends
	{name: "slow link", do: func(x *chaos, w *ward) { w.proxy.Slow(5000 + x.rng.IntN(50000)) }},
	{name: "server restart", do: func(x *chaos, _ *ward) { x.alone(func() { x.restart(func() error { return nil }) }) }},
	{name: "consumer deleted", do: func(_ *chaos, w *ward) { w.deleteConsumers() }},
	{name: "fold stopped", do: func(x *chaos, w *ward) { w.away(x, false) }},
	{name: "fold abandoned", do: func(x *chaos, w *ward) { w.away(x, true) }},
	{name: "fold stopped for a while", do: func(x *chaos, w *ward) {
		if w.r != nil {
			w.stop(false)
		}
	}},
	{name: "made anew, empty", do: func(x *chaos, w *ward) { x.anew(w, 0) }},
	{name: "made anew, with fewer", do: func(x *chaos, w *ward) { x.anew(w, 0.3) }},
	{name: "made anew, with as many", do: func(x *chaos, w *ward) { x.anew(w, 1) }},
	{name: "made anew, with more", do: func(x *chaos, w *ward) { x.anew(w, 1.5) }},
	{name: "missing for a while", do: (*chaos).missing},
	{name: "copied", do: (*chaos).copy},
	{name: "rewound", do: func(x *chaos, w *ward) { x.rewind(w, 0) }},
	{name: "rewound, and written since", do: func(x *chaos, w *ward) { x.rewind(w, 1.2) }},
	{name: "backed up and restored", do: (*chaos).backup},
	{name: "operator: rebuild", do: func(_ *chaos, w *ward) {
		w.alive().ask(func(ctx context.Context, r *runner) { r.Rebuild(ctx) })
	}},
	{name: "operator: sweep", do: func(_ *chaos, w *ward) {
		w.alive().ask(func(ctx context.Context, r *runner) { r.Sweep(ctx, true) })
	}},
	{name: "operator: verify", do: func(_ *chaos, w *ward) {
		w.alive().ask(func(ctx context.Context, r *runner) { r.Sweep(ctx, false) })
	}},
	{name: "operator: resume", do: func(_ *chaos, w *ward) { w.alive().accept() }},
}

func (w *ward) alive() *ward {
	if w.r == nil {
		w.start()
	}
	return w
}

func (w *ward) away(x *chaos, abandon bool) {
	w.t.Helper()
	w.alive().stop(abandon)
	if x.rng.IntN(2) == 0 {
		x.pass()
	}
	w.start()
}

func (w *ward) deleteConsumers() {
	w.t.Helper()
	names := w.stream().ConsumerNames(w.t.Context())
	for name := range names.Name() {
		if err := w.js.DeleteConsumer(w.t.Context(), w.name, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			w.t.Fatal(err)
		}
	}
	check(w.t, names.Err())
}

// alone keeps the clients of all wards away.
func (x *chaos) alone(do func()) {
	for _, w := range x.wards {
		w.gate.Lock()
		defer w.gate.Unlock()
	}
	do()
}

// history gives the stream another history while no client writes.
func (w *ward) history(do func()) {
	w.log.setDoubt(true)
	w.ledger.change(do)
	w.log.setDoubt(true)
}

// anew deletes the stream and makes it again, with so many messages for each seq that the fold has folded.
func (x *chaos) anew(w *ward, share float64) {
	x.t.Helper()
	w.gate.Lock()
	defer w.gate.Unlock()
	w.history(func() {
		check(x.t, w.js.DeleteStream(x.t.Context(), w.name))
		w.create()
		x.fill(w, share)
	})
}

// create makes the stream.
func (w *ward) create() {
	w.t.Helper()
	check(w.t, w.freed(func() error {
		_, err := w.js.CreateStream(w.t.Context(), w.config)
		return err
	}))
}

// freed calls create, which makes a stream, once the server has removed the files of those that were deleted, until it does not
// refuse it because of them.
func (s *site) freed(create func() error) (err error) {
	s.t.Helper()
	s.removed()
	eventually(s.t, "stream: the files of another of that name are still removed", func() bool {
		err = create()
		var refused *jetstream.APIError
		return !errors.As(err, &refused) || refused.ErrorCode != errStoreFailed
	})
	return err
}

// removed waits until the server has removed the files of the streams that were deleted: it answers before. Where another stream of
// that name is deleted meanwhile, nats-server 2.15 leaves its files, and a third one begins with its messages.
func (s *site) removed() {
	s.t.Helper()
	eventually(s.t, "removal of the files of a stream that was deleted", func() bool {
		return len(must(filepath.Glob(filepath.Join(s.dir, "jetstream", "*", "streams", ".*")))(s.t)) == 0
	})
}

// errStoreFailed is the code of "error creating store for stream".
const errStoreFailed = 10049

// fill writes until the stream ends at so much of what the fold's cursor is, but no more than some.
func (x *chaos) fill(w *ward, share float64) {
	x.t.Helper()
	if w.r == nil || w.r.Store() == nil || share == 0 {
		return
	}
	c := x.clients[w]
	to := uint64(share * float64(w.r.Store().State().Position().Seq))
	from := w.stream().CachedInfo().State.LastSeq
	for range min(to-min(to, from), 200) {
		check(x.t, c.send(c.key(), c.values.value()))
	}
}

// missing deletes the stream, and makes it again when the fold has noticed, or after a while.
func (x *chaos) missing(w *ward) {
	x.t.Helper()
	w.gate.Lock()
	defer w.gate.Unlock()
	w.history(func() {
		check(x.t, w.js.DeleteStream(x.t.Context(), w.name))
		w.within(2*time.Second, func() bool { return w.r == nil || w.r.Status().Code == source.CodeMissing })
		x.pass()
		w.create()
	})
}

// place returns where the server keeps the stream.
func (w *ward) place() string { return filepath.Join(w.dir, "jetstream", "$G", "streams", w.name) }

// older returns where a copy of it is.
func (x *chaos) olderOf(w *ward) string { return filepath.Join(x.older, w.name) }

// copy keeps a copy of the stream.
func (x *chaos) copy(w *ward) {
	x.t.Helper()
	x.alone(func() {
		x.restart(func() error {
			if err := os.RemoveAll(x.olderOf(w)); err != nil {
				return err
			}
			return os.CopyFS(x.olderOf(w), os.DirFS(w.place()))
		})
		w.copied = true
	})
}

// rewind puts an older copy of the stream back and writes so many messages for each seq that the fold has folded. Where
// there is none it makes one, and lets the clients go on for a while.
func (x *chaos) rewind(w *ward, share float64) {
	x.t.Helper()
	if !w.copied {
		x.copy(w)
		at := w.alive().r.Status().Seq
		w.within(2*time.Second, func() bool { return w.r.Status().Seq > at+20 })
	}
	x.alone(func() {
		w.history(func() {
			x.restart(func() error {
				if err := os.RemoveAll(w.place()); err != nil {
					return err
				}
				return os.CopyFS(w.place(), os.DirFS(x.olderOf(w)))
			})
			w.config = w.stream().CachedInfo().Config
			x.fill(w, share)
		})
	})
	w.copied = x.rng.IntN(3) == 0 // once more, or a newer copy
}

// within waits until ok, or for a while: what comes next happens in any case.
func (w *ward) within(d time.Duration, ok func() bool) {
	enough := time.NewTimer(d)
	defer enough.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-enough.C:
			return
		}
	}
}

// swallowLast swallows a message after which none comes, until the fold has noticed, or for a while.
func (x *chaos) swallowLast(w *ward) {
	x.t.Helper()
	w.alive()
	w.gate.Lock()
	defer w.gate.Unlock()
	w.within(2*time.Second, func() bool { return w.r.Status().CaughtUp })
	c, was, resets := x.clients[w], w.proxy.Swallowed(), w.tailGaps()
	w.proxy.Swallow(1)
	check(x.t, c.send(c.key(), c.values.value()))
	w.within(2*time.Second, func() bool { return w.proxy.Swallowed() > was && w.tailGaps() > resets })
}

func (w *ward) tailGaps() uint64 { return w.r.Status().Source.Resets["tail_gap"] }

// backup does what an operator does to move a stream: its backup is restored, which gives it another creation time.
func (x *chaos) backup(w *ward) {
	x.t.Helper()
	w.gate.Lock()
	defer w.gate.Unlock()
	w.history(func() {
		state, chunks := w.snapshot()
		check(x.t, w.js.DeleteStream(x.t.Context(), w.name))
		w.removed()
		w.restore(state, chunks)
	})
}

// snapshot reads a backup of the stream.
func (w *ward) snapshot() (head json.RawMessage, chunks [][]byte) {
	w.t.Helper()
	inbox := w.nc.NewInbox()
	sub := must(w.nc.SubscribeSync(inbox))(w.t)
	defer sub.Unsubscribe()
	body := fmt.Appendf(nil, `{"deliver_subject":%q,"no_consumers":true,"chunk_size":65536}`, inbox)
	var answer struct {
		Config json.RawMessage `json:"config"`
		State  json.RawMessage `json:"state"`
	}
	check(w.t, json.Unmarshal(w.api("STREAM.SNAPSHOT."+w.name, body), &answer))
	head = must(json.Marshal(map[string]any{"config": answer.Config, "state": answer.State}))(w.t)
	for {
		m := must(sub.NextMsg(patience))(w.t)
		if len(m.Data) == 0 {
			return head, chunks
		}
		chunks = append(chunks, m.Data)
		if m.Reply != "" {
			check(w.t, m.Respond(nil))
		}
	}
}

// restore makes the stream from a backup.
func (w *ward) restore(head json.RawMessage, chunks [][]byte) {
	w.t.Helper()
	var to struct {
		Subject string `json:"deliver_subject"`
	}
	check(w.t, json.Unmarshal(w.api("STREAM.RESTORE."+w.name, head), &to))
	for _, chunk := range append(chunks, nil) {
		m := must(w.nc.Request(to.Subject, chunk, patience))(w.t)
		if len(chunk) == 0 {
			w.refused(m)
		}
	}
}

// api makes one request to the JetStream API.
func (w *ward) api(op string, body []byte) json.RawMessage {
	w.t.Helper()
	m := must(w.nc.Request("$JS.API."+op, body, patience))(w.t)
	w.refused(m)
	return m.Data
}

func (w *ward) refused(m *nats.Msg) {
	w.t.Helper()
	var answer struct {
		Error json.RawMessage `json:"error"`
	}
	check(w.t, json.Unmarshal(m.Data, &answer))
	if answer.Error != nil {
		w.t.Fatalf("%s: %s", m.Subject, answer.Error)
	}
}
