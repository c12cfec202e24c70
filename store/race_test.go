//go:build race

package store

// slow is how much smaller a sample the race detector leaves time for.
const slow = 5
