package plugin

// Stats count what a worker did.
type Stats struct {
	Frames    uint64
	Instances uint64                      // started
	Fuel      uint64                      // of the calls that went well
	Records   [len(FuelBounds) + 1]uint64 // of these calls, by the mean fuel of their call: at most FuelBounds[i], or more
	Memory    uint32                      // bytes of its instance, after the last of them
}

// FuelBounds are the bounds of Stats.Records.
var FuelBounds = [...]uint64{100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000}

// spent counts a call: its fuel is spread over its records alike, for the meter is read once a call.
func (s *Stats) spent(records int, fuel int64, memory uint32) {
	s.Fuel += uint64(fuel)
	s.Memory = memory
	mean, i := uint64(fuel)/uint64(records), 0
	for i < len(FuelBounds) && mean > FuelBounds[i] {
		i++
	}
	s.Records[i] += uint64(records)
}

// Stats returns the counts so far.
func (w *Worker) Stats() Stats { return w.stats }
