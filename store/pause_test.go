package store

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestPause notes that a fold is paused, before it has any generation too: a power cut keeps what was acknowledged.
func TestPause(t *testing.T) {
	mem := vfs.NewCrashableMem()
	reopen := func(readOnly bool) *Dir {
		t.Helper()
		mem = mem.CrashClone(vfs.CrashCloneCfg{})
		o := options(mem)
		o.ReadOnly = readOnly
		d, err := OpenDir(dataDir, o)
		ok(t, err)
		return d
	}
	is := func(d *Dir, want string) {
		t.Helper()
		since, paused, err := d.Paused("f")
		ok(t, err)
		if since != want || paused != (want != "") {
			t.Errorf("paused %v since %q, not %q", paused, since, want)
		}
	}
	d := reopen(false)
	is(d, "")
	ok(t, d.Unpause("f"))
	ok(t, d.Pause("f", time.Unix(0, 0)))
	ok(t, d.Close())
	d = reopen(true)
	is(d, "1970-01-01T00:00:00Z")
	if err := d.Pause("f", time.Unix(0, 0)); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	ok(t, d.Close())
	d = reopen(false)
	ok(t, d.Unpause("f"))
	ok(t, d.Close())
	d = reopen(false)
	is(d, "")
	ok(t, d.Close())
}
