package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// A host runs folds over one data directory and answers queries at its doors. It owns none of its fields but those.
type host struct {
	dir      *store.Dir
	doors    doors
	nats     natsDoor
	instance string
	reloader *reloader // nil without a configuration file; its folds are set here
	log      *slog.Logger
}

// run runs the folds, which it closes, until ctx is done. Then each finishes what it has read, while reads go on; then
// the replies under way end.
func (h *host) run(ctx context.Context, folds []*runtime.Fold) error {
	daemon := runtime.NewDaemon(h.dir, folds)
	at := address{h.doors.url(), rand.Text()}
	o := serve.Options{Instance: h.instance, Version: readBuild().Version, Process: at.process, Log: h.log,
		Tokens: h.doors.tokens, Certificate: h.doors.certificate, OpsApart: h.doors.ops != nil, Refusals: new(serve.Refusals)}
	for _, f := range daemon.Folds() {
		o.Folds = append(o.Folds, f)
	}
	if h.reloader != nil {
		h.reloader.folds, o.Reload = daemon.Folds(), h.reloader.reload
	}
	folding, stopFolding := context.WithCancel(ctx)
	defer stopFolding()
	answering, stopAnswering := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAnswering()
	socket, err := serve.ListenAdmin(h.dir.Path())
	if err != nil {
		return errors.Join(err, h.doors.close(), daemon.Close(ctx))
	}
	answered, acted, told := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		defer stopFolding() // nobody would read what they fold
		answered <- h.doors.answer(answering, o)
	}()
	go func() { told <- h.nats.answer(folding, o) }()
	go func() { acted <- serve.NewAdmin(o).Run(folding, socket) }()
	err = at.write(h.dir.Path())
	if err == nil {
		wait := func() {}
		if h.reloader != nil {
			hangup, modules := h.reloader.onHangup(folding), h.reloader.follow(folding)
			wait = func() { hangup(); modules() }
		}
		h.log.Info("foldrun started", "url", at.url, "data_dir", h.dir.Path(), "version", o.Version, "instance", h.instance, "folds", len(folds))
		daemon.Run(folding)
		wait()
		err = forgetAddress(h.dir.Path())
	}
	stopAnswering()
	stopFolding()
	return errors.Join(err, <-answered, <-acted, <-told, daemon.Close(context.WithoutCancel(ctx)))
}
