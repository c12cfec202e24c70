package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/runtime/source"
)

// natsDoor is where a foldrun answers over NATS. Its zero value is nowhere.
type natsDoor struct {
	link
	subject string
}

// openNATSDoor sets up the connection of queries, which is none of the folds'. What is wrong with it stops no fold.
func openNATSDoor(c *config.Config, once bool, log *slog.Logger) (d natsDoor) {
	if c.Query.NATS == "" {
		return d
	}
	d = natsDoor{connectOne(c, c.Query.NATS, once, log.With("nats", c.Query.NATS, "of", "queries")), c.Query.Subject}
	if d.err != nil {
		log.Error("queries over NATS are not answered", "problem", d.err, "hint", hint.Of(d.err))
	}
	return d
}

// answer answers over NATS, if that is set up, until ctx is done.
func (d natsDoor) answer(ctx context.Context, o serve.Options) error {
	if d.conn == nil {
		return nil
	}
	return serve.NewNATS(o, d.conn, d.subject).Run(ctx)
}

// answersTo is where clients that do not choose have replies sent.
const answersTo = "_INBOX.foldrun_check"

// queries tries what the NATS door needs.
func (k *checker) queries(ctx context.Context) {
	d := openNATSDoor(k.config, true, slog.New(slog.DiscardHandler))
	switch {
	case d.err != nil && d.away:
		k.warn(fmt.Errorf("queries over NATS: %w", d.err))
		return
	case d.err != nil:
		k.problem(fmt.Errorf("queries over NATS: %w", d.err))
		return
	case d.conn == nil:
		return
	}
	defer d.close()
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	var folds []string
	for _, fc := range k.config.Folds {
		folds = append(folds, fc.Name)
	}
	subscribe := append(serve.NATSSubjects(d.subject, k.config.Instance, folds), "$SRV.PING", "$SRV.INFO.foldrun", "$SRV.STATS.foldrun.check")
	missing, err := source.Refused(ctx, d.conn, subscribe, []string{answersTo})
	for _, err := range missing {
		k.problem(fmt.Errorf("queries over NATS: %w", err))
	}
	if err != nil {
		k.warn(fmt.Errorf("queries over NATS: not all permissions were tried: %w", err))
		return
	}
	k.fact("queries over NATS: %s, below %s and %s", source.At(d.conn), d.subject, serve.InstanceSubject(d.subject, k.config.Instance))
}
