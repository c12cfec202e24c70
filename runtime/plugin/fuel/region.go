package fuel

import "slices"

// A region is a loop without calls, the outermost one, or a whole function that has such a loop and calls nothing. Its
// fuel is in a local, for which wazero has a register: each turn of a tight loop would wait for the global to go to
// memory and come back. The global is brought up to date wherever the region is left, and for the call of a helper.
//
// A branch out of a loop goes by way of its end, since code for that in the midst of the loop makes each turn longer:
//
//	block (result ...)     ;; what loop has written begins and ends here
//	  block                ;; one for each block that is left to
//	    loop ...
//	    end
//	  end
//	  global = local
//	  br to where the branch was to lead
//	end
//
// After a trap the global is what it was when the region was entered, or when the last slice came, and with the reserve not below
// zero: such a trap is the module's own, whatever the last charge was.

// regions finds the regions, and the blocks that they are left to.
func (b *body) regions(whole bool) {
	for i := range b.blocks {
		k := &b.blocks[i]
		k.region, k.exits = none, nil
		switch {
		case i == 0 && b.tight && !b.calls && whole:
			k.region = 0
		case i > 0 && b.blocks[k.parent].region != none:
			k.region = b.blocks[k.parent].region
		case i > 0 && k.wrapped() && !k.calls:
			k.region = int32(i)
		}
	}
	if !b.tight || b.blocks[0].region == 0 {
		return
	}
	for i := range b.events {
		e := &b.events[i]
		switch {
		case e.stays():
		case e.op == 0x0d: // br_if
			b.addExit(e, e.block)
		case e.op == 0x0e: // br_table
			for _, id := range b.labels[e.block : e.block+e.labels] {
				b.addExit(e, id)
			}
		}
	}
}

const none = -1

// mostExits is how many blocks a region is left to by way of its end; a branch to others, or with a value, has the
// global brought up to date before it.
const mostExits = 8

func (b *body) addExit(e *event, id int32) {
	region := b.blocks[e.in].region
	if id >= region || b.blocks[id].arity > 0 || b.exit(region, id) >= 0 {
		return
	}
	if k := &b.blocks[region]; len(k.exits) < mostExits {
		k.exits = append(k.exits, id)
	}
}

// exit returns which exit of a region leads to block id, or none.
func (b *body) exit(region, id int32) int32 {
	return int32(slices.Index(b.blocks[region].exits, id))
}

// getFuel leaves the fuel on the stack.
func (w *emitter) getFuel() {
	if w.cached {
		w.bytes(0x20) // local.get
		w.u32(w.local)
		return
	}
	w.global(globalGet, w.fuel)
}

// setFuel takes the fuel from the stack.
func (w *emitter) setFuel() {
	if w.cached {
		w.bytes(0x21) // local.set
		w.u32(w.local)
		return
	}
	w.global(globalSet, w.fuel)
}

// save brings the global up to date, and load the local, where that is used.
func (w *emitter) save() {
	if w.cached {
		w.getFuel()
		w.global(globalSet, w.fuel)
	}
}

func (w *emitter) load() {
	if w.cached {
		w.global(globalGet, w.fuel)
		w.bytes(0x21) // local.set
		w.u32(w.local)
	}
}

// call calls a helper, which may refill.
func (w *emitter) call(function uint32) {
	w.save()
	w.bytes(0x10)
	w.u32(function)
	w.load()
}

// exit brings the global up to date before a branch to one of the blocks, where it leaves the region and not by its end.
func (w *emitter) exit(b *body, e *event, ids ...int32) {
	region := b.blocks[e.in].region
	for _, id := range ids {
		if id < region && b.exit(region, id) < 0 {
			w.save()
			return
		}
	}
}

// label writes the label of block id, as seen from an event. What leaves the region goes by way of its end, where the
// global is brought up to date.
func (w *emitter) label(b *body, e *event, id int32) {
	to := w.places[id]
	if region := b.blocks[e.in].region; id < region {
		if i := b.exit(region, id); i >= 0 {
			to = w.places[b.blocks[region].parent] + 2 + i
		}
	}
	w.u32(uint32(w.places[e.in] - to))
}
