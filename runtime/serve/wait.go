package serve

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/foldrun/foldrun/runtime"
)

// maxWait bounds how long a reader may wait for a position.
const maxWait = 30 * time.Second

// atLeast returns the position that is demanded, nil if none is.
func (p *params) atLeast() *runtime.AtLeast {
	seq, have := p.one("min_seq")
	wait, haveWait := p.one("wait")
	created, haveCreated := p.one("incarnation")
	if !have {
		if haveWait || haveCreated {
			p.bad("add min_seq=…, the seq that the put returned", "wait and incarnation go with min_seq, which is not given")
		}
		return nil
	}
	var want runtime.AtLeast
	var err error
	if want.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		p.bad("write the seq that the put returned", "min_seq is %q", seq)
	}
	if haveWait {
		if want.Wait, err = time.ParseDuration(wait); err != nil || want.Wait < 0 || want.Wait > maxWait {
			p.bad("write a duration up to "+maxWait.String()+", as 250ms", "wait is %q", wait)
		}
	}
	if haveCreated {
		at, err := time.Parse(time.RFC3339Nano, created)
		if err != nil {
			p.bad("write the stream's creation time as Foldrun-Incarnation has it", "incarnation is %q", created)
		}
		want.Created = at.UnixNano()
	}
	return &want
}

// endKey is the key of the context of Run in that of a request.
type endKey struct{}

func withEnd(run context.Context) context.Context {
	return context.WithValue(context.Background(), endKey{}, run)
}

// untilEnd returns the context of a request that waits: it is done when Run begins to end, which lets the others finish.
func untilEnd(request context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(request)
	run, ok := request.Value(endKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(run, cancel)
	return ending{ctx, run}, func() { stop(); cancel() }
}

// ending is a context that has an error as soon as run has: AfterFunc takes its time.
type ending struct {
	context.Context
	run context.Context
}

func (e ending) Err() error {
	if err := e.run.Err(); err != nil {
		return err
	}
	return e.Context.Err()
}

// waiting returns the context of a request that may wait for a position.
func waiting(w http.ResponseWriter, r *http.Request, want *runtime.AtLeast) (context.Context, context.CancelFunc) {
	if want == nil {
		return r.Context(), func() {}
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(want.Wait + replyTimeout)) // without a network there is none
	return untilEnd(r.Context())
}
