package main

import (
	"fmt"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// How many files and connections a foldrun may have open. Go raises the soft limit of the process to the hard one at its
// start. A store whose log cannot be opened for want of a descriptor ends the process, so that it must not come to that.
const (
	storeFiles  = 24                                         // of one open generation, beside its table files: logs, manifest, directories, and what flush and compaction write
	generations = 2                                          // of one fold that are open at once: the one that serves, and the one that is built
	otherFiles  = 128                                        // the process's own: standard streams, polling, modules being read, and what a library opens
	clients     = serve.Connections + 2*serve.OpsConnections // HTTP connections, those of ops_listen and of the socket
	fewTables   = 64                                         // table files, at the least that is any use
)

// filesNeeded is how many descriptors a configuration may need.
type filesNeeded struct{ folds, connections int }

func needFiles(c *config.Config, folds int) filesNeeded {
	names := map[string]bool{}
	for _, f := range c.Folds {
		names[f.Source.NATS] = true
	}
	connections := len(names)
	if c.Query.NATS != "" {
		connections++ // of its own
	}
	return filesNeeded{folds, connections}
}

// fixed is what is needed whatever the size of the stores.
func (n filesNeeded) fixed() uint64 {
	return uint64(n.folds*generations*storeFiles + n.connections + otherFiles + clients)
}

func (n filesNeeded) all() uint64   { return n.fixed() + store.OpenFiles }
func (n filesNeeded) least() uint64 { return n.fixed() + fewTables }

// split says what the files are.
func (n filesNeeded) split() string {
	return fmt.Sprintf("%d of tables, %d of %s, %d generations each with %d, %d to NATS, %d of HTTP, %d others",
		store.OpenFiles, n.folds*generations*storeFiles, counted(n.folds, "fold", "folds"), generations, storeFiles, n.connections, clients, otherFiles)
}

// judge compares the need with the process's limit, 0 where the system tells none. The error is a warning as long as
// the limit is at least n.least().
func (n filesNeeded) judge() (limit uint64, err error) {
	limit = fileLimit()
	return limit, n.compare(limit)
}

func (n filesNeeded) compare(limit uint64) error {
	if limit == 0 || limit >= n.all() {
		return nil
	}
	what := "may not suffice for"
	if limit < n.least() {
		what = "is too low for"
	}
	return hint.Error(fmt.Errorf("the limit of %d open files %s %s: they may need %d", limit, what, counted(n.folds, "fold", "folds"), n.all()),
		"raise the hard limit to %d or more: ulimit -n, LimitNOFILE= of a systemd unit, --ulimit nofile= of a container", n.all())
}
