// Foldrun keeps derived indexes of NATS JetStream streams and answers queries about them.
//
// # What is where?
//
// A verb has the file of its name, with its help; files whose names go on from there are parts of it. This is wiring: what is
// done is in the packages that are wired. The files, by what their names begin with:
//
//	main root flags            the list of the verbs, the exit codes, and how what is wrong is told, with its mend
//
//	demo                       all of it at once, with nothing to configure
//	run                        run all folds and answer queries, and anew on each change for authors
//	host                       what run runs: folds, doors for HTTP and NATS, and what a reload takes
//	module links               what its folds need: modules, looked at again as they change, and connections to NATS
//	openfiles log signals      and what its process does: descriptors, a log, an end in grace
//	check                      what would be wrong with that, place by place, before it is run
//
//	status generations         how folds are
//	get scan why               rows, and where they are from
//	verify quarantine          what does not add up, and what was not transformed
//	door natsflags             how those reach a foldrun: HTTP, its socket, NATS; or the data directory when none runs
//	rows                       the flags and the output of rows
//
//	plan diff                  what an upgrade would do to folds, and to rows
//	reload apply rollback      upgrades, and the way back
//	pause resume rebuild       a fold's work
//	token                      who may ask
//
//	plugin                     the toolkit for those who write modules: a file for each verb, and for each compiler
//	bench version              this machine; this program
//	diskfree writable          what each system says in its own way
package main
