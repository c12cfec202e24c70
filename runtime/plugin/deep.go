package plugin

import (
	"context"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/foldrun/foldrun/runtime/plugin/fuel"
)

// deep keeps stacks. wazero gives each exported function of each instance a stack of its own on Go's heap, which doubles
// as it grows: a record whose calls nest without end makes 40 MiB of garbage, and so does the next one, on its fresh
// instance. But a function that is called by reference runs on the stack of who calls it, whichever instance that is of. So
// once a call of a module has overflowed, its calls in the lane of the dear go through a module of ours that lives on,
// with its stack.
type deep struct {
	mu   sync.Mutex
	on   bool
	idle *time.Timer // lets the stacks go; nil until the first overflow
	kept []*through  // that no call is using
}

// What is kept is beside the memory budget: docs/operating.md says so.
const (
	deepIdle = 10 * time.Second // after the last overflow the stacks are let go
	deepKept = 2                // stacks of a module are kept at most, of some 20 MiB each
)

// through is an instance of throughModule.
type through struct {
	guest api.Module
	call  api.Function
}

// throughModule exports call: (ref, ptr, len) -> i64, which calls ref(ptr, len) -> i64:
//
//	table.set 0 (i32.const 0) (local.get 0)
//	call_indirect (type 0) (local.get 1) (local.get 2) (i32.const 0)
const throughModule = "\x00asm\x01\x00\x00\x00" +
	"\x01\x0e\x02\x60\x02\x7f\x7f\x01\x7e\x60\x03\x70\x7f\x7f\x01\x7e" + // types
	"\x03\x02\x01\x01" + // the function's
	"\x04\x04\x01\x70\x00\x01" + // a table of one reference
	"\x07\x08\x01\x04call\x00\x00" + // exports
	"\x0a\x13\x01\x11\x00\x41\x00\x20\x00\x26\x00\x20\x01\x20\x02\x41\x00\x11\x00\x00\x0b"

// take returns a kept stack, or a new one, or nil while calls need none. The stack is given back with keep.
func (d *deep) take(ctx context.Context, m *Module) *through {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on {
		return nil
	}
	if n := len(d.kept); n > 0 {
		t := d.kept[n-1]
		d.kept = d.kept[:n-1]
		return t
	}
	guest, err := m.runtime.InstantiateWithConfig(ctx, []byte(throughModule), wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return nil // the guest has its own
	}
	return &through{guest, guest.ExportedFunction("call")}
}

func (d *deep) keep(ctx context.Context, t *through) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.on && len(d.kept) < deepKept {
		d.kept = append(d.kept, t)
		return
	}
	t.guest.Close(ctx)
}

// overflowed says that a call in the lane of the dear has.
func (d *deep) overflowed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on = true
	if d.idle == nil {
		d.idle = time.AfterFunc(deepIdle, d.letGo)
		return
	}
	d.idle.Reset(deepIdle)
}

// letGo lets the stacks go, until the next overflow.
func (d *deep) letGo() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.kept {
		t.guest.Close(context.Background())
	}
	d.on, d.kept = false, nil
}

// close is for when no call is left.
func (d *deep) close() {
	if d.idle != nil {
		d.idle.Stop()
	}
	d.letGo()
}

// invokeTransform calls foldrun_transform with the first two values of the stack, in the lane of the dear on a stack that
// is kept.
func (in *instance) invokeTransform(given int64) (err *callError) {
	may := allowance{given, fuel.DefaultStack}
	if !in.turn.dear {
		return in.invoke(in.transform, 2, may)
	}
	d := &in.module.deep
	defer func() {
		if err != nil && err.code == codeOverflow {
			d.overflowed()
		}
	}()
	t := d.take(in.ctx, in.module)
	if t == nil {
		return in.invoke(in.transform, 2, may)
	}
	defer d.keep(in.ctx, t)
	var ref [1]uint64
	if err := in.guest.ExportedFunction(fuel.RefFunction).CallWithStack(in.ctx, ref[:]); err != nil {
		return in.invoke(in.transform, 2, may)
	}
	in.stack[0], in.stack[1], in.stack[2] = ref[0], in.stack[0], in.stack[1]
	return in.invoke(t.call, 3, may)
}
