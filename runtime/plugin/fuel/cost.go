package fuel

// charge works out what every check charges, and returns the charge of the function's entry.
//
// A pass goes from the function's end to its beginning. cost is at each point what the ways from there on still have to
// have charged for them, up to the checks that they meet:
//
//   - An instruction costs its weight and what follows it.
//   - The head of a loop that something branches to has a check, so a branch to it costs nothing more. Nothing else runs
//     backwards, so there is no endless way without a check.
//   - Where ways fork, the dearer counts. If it is dearer by slack or more, the difference is charged by a check of its
//     own, at its beginning, and the cheaper counts. So what is not run is charged only where it is little.
//   - Where the dearer way begins at a block's end, which other ways reach too, that end is marked, and the next pass
//     puts a check there that charges all that follows. Marks of the last pass come too late: then the dearer counts.
func (b *body) charge(slack int64) (entry int64) {
	b.liveness()
	for range passes {
		marked := b.marks
		entry = b.pass(slack)
		if b.marks == marked {
			break
		}
	}
	return entry
}

const passes = 3

func (b *body) pass(slack int64) (entry int64) {
	cost := int64(0)
	for i := len(b.events) - 1; i >= 0; i-- {
		e := &b.events[i]
		if e.stays() {
			cost += e.straight
			continue
		}
		e.charge = 0
		k := &b.blocks[0]
		if e.op != 0x0e {
			k = &b.blocks[e.block]
		}
		switch e.op {
		case 0x0b: // end
			if k.checked {
				e.charge, cost = cost, 0
			}
			if k.op != 0x03 {
				cost += k.merge
				k.atLabel = cost
			}
		case 0x05: // else
			k.atElse, k.elseAt = cost, i
			cost = k.atLabel
		case 0x04: // if
			cost = b.fork(e, k, cost, slack)
		case 0x03: // loop
			if k.targeted {
				e.charge, cost = cost+k.merge, 0
			}
		case 0x0d: // br_if
			cost = b.either(e, e.block, cost, slack)
		case 0x0c: // br
			cost = k.atLabel
		case 0x0e: // br_table
			cost = b.dearest(b.labels[e.block:e.block+e.labels], slack)
		default: // return unreachable
			cost = 0
		}
		cost += e.straight
	}
	return cost
}

// fork returns the cost of an if whose then costs cost.
func (b *body) fork(e *event, k *block, cost, slack int64) int64 {
	if k.hasElse && k.atElse-cost >= slack {
		b.events[k.elseAt].charge = k.atElse - cost
		return cost
	}
	if k.hasElse {
		return dearer(e, cost, k.atElse, slack)
	}
	return b.either(e, e.block, cost, slack)
}

// either returns the cost where one way leads on, which costs cost, and one to the label of a block.
func (b *body) either(e *event, id int32, cost, slack int64) int64 {
	label := b.blocks[id].atLabel
	if label-cost >= slack {
		b.mark(id)
	}
	return dearer(e, cost, label, slack)
}

// dearer returns the cost where one way leads on from e, which costs cost, and one elsewhere, which costs other.
func dearer(e *event, cost, other, slack int64) int64 {
	if cost-other >= slack {
		e.charge = cost - other
		return other
	}
	return max(cost, other)
}

// dearest returns the cost where ways lead to several labels.
func (b *body) dearest(labels []int32, slack int64) (most int64) {
	least := b.blocks[labels[0]].atLabel
	for _, id := range labels {
		most = max(most, b.blocks[id].atLabel)
		least = min(least, b.blocks[id].atLabel)
	}
	for _, id := range labels {
		if b.blocks[id].atLabel-least >= slack {
			b.mark(id)
		}
	}
	return most
}

// mark has a check put after the end of a block. What follows the function's own costs nothing; a loop's label is its
// head.
func (b *body) mark(id int32) {
	if k := &b.blocks[id]; !k.checked && k.op != 0x03 && id != 0 {
		k.checked = true
		b.marks++
	}
}
