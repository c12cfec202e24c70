//go:build unix

package serve_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// An obedient fold notes what it is asked for.
type obedient struct {
	asked  []string
	err    error
	paused bool
}

func (o *obedient) Name() string { return "f" }
func (o *obedient) Status() runtime.Status {
	if o.paused {
		return runtime.Status{Name: "f", State: runtime.StatePaused}
	}
	return runtime.Status{Name: "f", State: runtime.StateHeld}
}
func (o *obedient) Store() *store.DB { return nil }

func (o *obedient) ask(what string) error {
	o.asked = append(o.asked, what)
	return o.err
}

func (o *obedient) Rebuild(context.Context) error { return o.ask("rebuild") }

func (o *obedient) Rollback(context.Context) error { return o.ask("rollback") }

func (o *obedient) Apply(_ context.Context, accept bool) error {
	if accept {
		return o.ask("apply, force")
	}
	return o.ask("apply")
}

func (o *obedient) Pause(context.Context) error {
	o.paused = true
	return o.ask("pause")
}

func (o *obedient) Resume(_ context.Context, accept bool) error {
	if accept {
		return o.ask("resume, accept")
	}
	return o.ask("resume")
}

func (o *obedient) Sweep(_ context.Context, repair bool) (runtime.SweepReport, error) {
	if !repair {
		return runtime.SweepReport{}, errors.New("not told to repair")
	}
	return runtime.SweepReport{Reason: runtime.SweepAsked, Repair: true, Stale: 2}, o.ask("sweep")
}

// admin runs an Admin on the socket of a directory and returns a client of it.
func admin(t *testing.T, dir string, f serve.Fold) *client.Client {
	t.Helper()
	l, err := serve.ListenAdmin(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve.NewAdmin(serve.Options{Folds: []serve.Fold{f}}).Run(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "admin.sock")); !os.IsNotExist(err) {
			t.Errorf("the socket is left: %v", err)
		}
	})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return serve.DialAdmin(ctx, dir) }
	tr := &http.Transport{DialContext: dial}
	t.Cleanup(tr.CloseIdleConnections)
	return &client.Client{URL: "http://localhost", HTTP: &http.Client{Transport: tr}}
}

// TestAdmin asks for each action, in a directory with a short path and in one whose path is too long for a socket.
func TestAdmin(t *testing.T) {
	short, err := os.MkdirTemp("", "f")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	long := filepath.Join(short, strings.Repeat("long", 40))
	if err := os.Mkdir(long, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{short, long} {
		f := new(obedient)
		c := admin(t, dir, f)
		info, err := os.Stat(filepath.Join(dir, "admin.sock"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the socket: %v, %v", info.Mode(), err)
		}
		ctx := t.Context()
		r, err := c.Repair(ctx, "f")
		_, err1 := c.Rebuild(ctx, "f")
		_, err2 := c.Resume(ctx, "f", false)
		st, err3 := c.Resume(ctx, "f", true)
		paused, err4 := c.Pause(ctx, "f")
		_, err5 := c.Apply(ctx, "f", false)
		_, err6 := c.Apply(ctx, "f", true)
		_, err7 := c.Rollback(ctx, "f")
		if err = errors.Join(err, err1, err2, err3, err4, err5, err6, err7); err != nil || st.State != runtime.StateHeld || paused.State != runtime.StatePaused {
			t.Fatal(st, paused, err)
		}
		if got := strings.Join(f.asked, "; "); got != "sweep; rebuild; resume; resume, accept; pause; apply; apply, force; rollback" || r.Stale != 2 || r.OK || !r.Repair {
			t.Errorf("asked for %s; report %+v", got, r)
		}
		f.err = hint.Error(errors.New("no"), "ask later")
		var refused *client.Error
		if _, err := c.Rebuild(ctx, "f"); !errors.As(err, &refused) || refused.Status != http.StatusConflict || refused.Hint != "ask later" {
			t.Errorf("refused: %#v", err)
		}
		if _, err := c.Rebuild(ctx, "g"); !errors.As(err, &refused) || refused.Code != "unknown_fold" {
			t.Errorf("another fold: %#v", err)
		}
		if s, err := c.Status(ctx); err != nil || len(s.Folds) != 1 {
			t.Errorf("a read: %+v, %v", s, err)
		}
	}
}
