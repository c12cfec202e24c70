// Package rig is what measurements are made with: a broker in a process of its own, as it is in production, so that its CPU is
// not counted as ours; a bucket to fill, and to read as a bare consumer does; folds; and what each of these costs.
package rig
