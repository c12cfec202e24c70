// Package query reads the indexes of folds, whatever door a reader comes through: requests and replies are Go structs, and
// a reply can be written as JSON, the same through each door.
//
// Each reply is of one moment of one fold: its rows and its Position are of one snapshot of the store. A request may
// demand that the moment be as late as a position (AtLeast).
//
// Every read ends: it is bounded in rows, in bytes of the reply as JSON, and in time (Limits). A reply that holds less than
// was asked for says so, and what to ask for the rest with.
//
// Every error is a *Fault.
//
// # Why is a reply made whole before it is sent?
//
// A file that turns out damaged in the middle of a scan must not leave a reader with half of the rows and no error. So a
// reply is bounded, and a slow reader holds memory, not a view of the store.
package query
