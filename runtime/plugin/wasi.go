package plugin

import (
	"context"
	"encoding/binary"
	"log/slog"

	"github.com/tetratelabs/wazero/api"
)

// The functions of WASI that do as much work as the guest asks for. wazero has them too, but uncharged: a guest could
// keep the host busy for hours on no fuel. What they cost is in fuel: about a nanosecond each.

// errno of WASI
const (
	errnoBadf  = 8
	errnoFault = 21
	errnoInval = 28
)

// instanceKey is the context key of the *instance that a host function is called by.
type instanceKey struct{}

// randomGet is (buf, len) -> errno. Every call gives the same bytes.
func randomGet(ctx context.Context, guest api.Module, stack []uint64) {
	caller(ctx).burn(guest, uint64(uint32(stack[1])))
	b, ok := guest.Memory().Read(uint32(stack[0]), uint32(stack[1]))
	if !ok {
		stack[0] = errnoFault
		return
	}
	for i := range b {
		b[i] = byte(i)*0x9d + 0x3b
	}
	stack[0] = 0
}

// fdWrite is (fd, iovs, iovs_len, nwritten) -> errno. What a guest writes to its standard output and error goes to the
// log, at debug; nothing else is open.
func (m *Module) fdWrite(ctx context.Context, guest api.Module, stack []uint64) {
	fd, iovs, n, written := uint32(stack[0]), uint32(stack[1]), uint32(stack[2]), uint32(stack[3])
	caller(ctx).burn(guest, 10*uint64(n))
	mem := guest.Memory()
	table, ok := mem.Read(iovs, 8*min(n, 1<<28))
	switch {
	case fd != 1 && fd != 2:
		stack[0] = errnoBadf
		return
	case !ok || n >= 1<<28:
		stack[0] = errnoFault
		return
	}
	var text []byte
	total, kept := uint32(0), m.mayLog(ctx, slog.LevelDebug)
	for ; len(table) > 0; table = table[8:] {
		at, length := binary.LittleEndian.Uint32(table), binary.LittleEndian.Uint32(table[4:])
		part, ok := mem.Read(at, length)
		if !ok {
			stack[0] = errnoFault
			return
		}
		total += length
		if kept {
			text = append(text, part[:min(len(part), maxLogLine-len(text))]...)
		}
	}
	if len(text) > 0 {
		m.opt.Log.Debug("module output", "module", m.manifest.Name, "text", string(text))
	}
	stack[0] = 0
	if !mem.WriteUint32Le(written, total) {
		stack[0] = errnoFault
	}
}

const (
	maxSubscriptions = 1024
	subscriptionSize = 48
	eventSize        = 32
	longestSleep     = int64(1) << 60 // ns, in one call of the guest
	absolute         = 1              // flag of a clock subscription: its time-out is a time
)

// pollOneoff is (in, out, nsubscriptions, nevents) -> errno. The guest's clock jumps to the first time-out, and the
// call returns: a guest that slept on a clock that stands still would never wake. A file is never ready. In a frame of
// many records it traps, since those that follow would find the clock moved: each is then judged alone.
func pollOneoff(ctx context.Context, guest api.Module, stack []uint64) {
	in, out, n, count := uint32(stack[0]), uint32(stack[1]), uint32(stack[2]), uint32(stack[3])
	caller(ctx).burn(guest, 100*uint64(n))
	if n == 0 || n > maxSubscriptions {
		stack[0] = errnoInval
		return
	}
	mem := guest.Memory()
	subs, ok1 := mem.Read(in, n*subscriptionSize)
	events, ok2 := mem.Read(out, n*eventSize)
	if !ok1 || !ok2 {
		stack[0] = errnoFault
		return
	}
	c := &caller(ctx).clock
	if c.still {
		c.refused = true
		panic(errSleeps)
	}
	wait := int64(-1) // until the first event
	for i := range n {
		if t := c.timeout(subs[i*subscriptionSize:]); wait < 0 || t < wait {
			wait = t
		}
	}
	happened := uint32(0)
	for i := range n {
		s := subs[i*subscriptionSize:][:subscriptionSize]
		if c.timeout(s) > wait {
			continue
		}
		e := events[happened*eventSize:][:eventSize]
		clear(e)
		copy(e, s[:8]) // the guest's own mark
		if e[10] = s[8]; s[8] != 0 {
			binary.LittleEndian.PutUint16(e[8:], errnoBadf)
		}
		happened++
	}
	c.slept = min(c.slept+wait, longestSleep)
	stack[0] = 0
	if !mem.WriteUint32Le(count, happened) {
		stack[0] = errnoFault
	}
}

// timeout returns how long a subscription waits, ns: 0 for what is over, or for a file.
func (c *guestClock) timeout(s []byte) int64 {
	if s[8] != 0 {
		return 0
	}
	t := int64(min(binary.LittleEndian.Uint64(s[24:]), uint64(longestSleep)))
	if binary.LittleEndian.Uint16(s[40:])&absolute != 0 {
		now := uptime + c.slept
		if binary.LittleEndian.Uint32(s[16:]) == 0 {
			now = epoch*1e9 + c.slept
		}
		t -= now
	}
	return max(t, 0)
}
