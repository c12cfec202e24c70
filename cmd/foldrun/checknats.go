package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/source"
)

// natsTimeout bounds what is asked of NATS for one fold.
const natsTimeout = 5 * time.Second

// nats looks at the folds' streams. A server that is away, or a stream that is not there yet, are what a start waits
// for.
func (k *checker) nats(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(k.links)) {
		l := k.links[name]
		switch {
		case l.err == nil && l.context != "":
			k.fact("connection %s: %s, of the context %s", name, source.At(l.conn), l.context)
		case l.err == nil:
			k.fact("connection %s: %s", name, source.At(l.conn))
		case l.err != nil && l.away:
			k.warn(l.err)
		case l.err != nil:
			k.problem(l.err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.config.NATS)) {
		if _, used := k.links[name]; !used && name != k.config.Query.NATS {
			k.fact("connection %s: no fold uses it, so that it was not tried", name)
		}
	}
	for _, fc := range k.config.Folds {
		if l := k.links[fc.Source.NATS]; l.err == nil {
			k.stream(ctx, fc, l)
		} else if k.kept[fc.Name].created != 0 {
			k.fact("fold %s: folded up to seq %d; its stream could not be asked whether it is still the same", fc.Name, k.kept[fc.Name].seq)
		}
	}
}

func (k *checker) stream(ctx context.Context, fc config.Fold, l link) {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	o := foldOptions(k.config, fc, l, nil)
	src, err := source.Open(ctx, l.conn, o.Source)
	if err != nil {
		var stop *source.Stop
		if errors.As(err, &stop) {
			err = hint.Error(errors.New(stop.Text), "%s", stop.Hint)
		}
		k.problem(fmt.Errorf("fold %s: %w", fc.Name, err))
		return
	}
	missing, err := src.Denied(ctx)
	for _, err := range missing {
		k.problem(fmt.Errorf("fold %s: %w", fc.Name, err))
	}
	if err != nil {
		k.warn(fmt.Errorf("fold %s: not all permissions were tried: %w", fc.Name, err))
	}
	st := src.Status()
	switch {
	case st.Code == source.CodeDenied:
		return // told just now
	case st.Code == source.CodeMissing:
		k.missing(ctx, fc, l, st)
		return
	case st.Reason != "":
		mend := st.Hint
		if mend == "" {
			mend = "a start waits for it"
		}
		k.coded(st.Code, fmt.Sprintf("fold %s: stream %s: %s", fc.Name, st.Stream, st.Reason), mend, false)
		return
	}
	k.fact("fold %s: stream %s, %s, last seq %d", fc.Name, st.Stream, counted(st.Messages, "message", "messages"), st.LastSeq)
	k.cursor(fc, st)
}

// missing adds that there is no such stream, which a start waits for, with the names that may have been meant.
func (k *checker) missing(ctx context.Context, fc config.Fold, l link, st source.Status) {
	key, name := "stream", fc.Source.Stream
	if fc.Source.Bucket != "" {
		key, name = "bucket", fc.Source.Bucket
	}
	p := fc.At("source", key)
	p.Text = fmt.Sprintf("stream %s: %s", st.Stream, st.Reason)
	streams, asked := streamNames(ctx, l)
	if !asked {
		k.coded(source.CodeMissing, p.String(), "a start waits for it", false)
		return
	}
	k.coded(source.CodeMissing, p.String(), similar(streams, key, name), false)
}

// similar says which of the streams that there are may have been meant by a name that none has.
func similar(streams []string, key, name string) string {
	const wait = "a start waits for it"
	var buckets, others []string
	for _, s := range streams {
		if bucket, ok := strings.CutPrefix(s, "KV_"); ok {
			buckets = append(buckets, bucket)
		}
		others = append(others, s)
	}
	bare := strings.TrimPrefix(name, "KV_")
	switch {
	case key == "stream" && slices.Contains(buckets, bare):
		return fmt.Sprintf("there is a bucket %q: write bucket = %q", bare, bare)
	case key == "bucket" && slices.Contains(buckets, bare):
		return fmt.Sprintf("a bucket's name is without KV_: write bucket = %q", bare)
	case key == "bucket" && slices.Contains(others, name):
		return fmt.Sprintf("there is a stream %q: write stream = %q", name, name)
	}
	known, what := others, "streams"
	if key == "bucket" {
		name, known, what = bare, buckets, "buckets"
	}
	if near := config.Nearest(name, known); near != "" {
		return fmt.Sprintf("%s; or was %q meant?", wait, near)
	}
	const most = 8
	if len(known) > most {
		known = append(known[:most:most], "…")
	}
	if len(known) == 0 {
		return wait + "; there are no " + what
	}
	return fmt.Sprintf("%s; there are the %s %s", wait, what, strings.Join(known, ", "))
}

// streamNames returns the names of the streams that the account has, if it may be asked: the folds themselves need no
// such permission.
func streamNames(ctx context.Context, l link) (names []string, asked bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	api := "$JS.API."
	if l.domain != "" {
		api = "$JS." + l.domain + ".API."
	}
	m, err := l.conn.RequestWithContext(ctx, api+"STREAM.NAMES", []byte("{}"))
	if err != nil {
		return nil, false
	}
	var reply struct {
		Streams []string
		Error   json.RawMessage
	}
	err = json.Unmarshal(m.Data, &reply)
	return reply.Streams, err == nil && reply.Error == nil
}

// cursor compares where the fold is with the stream. A start looks closer: at the messages that were folded.
func (k *checker) cursor(fc config.Fold, st source.Status) {
	have := k.kept[fc.Name]
	if have.created == 0 || have.stream != st.Stream || k.running {
		return // nothing is folded, another stream was, or the foldrun that runs has said what it found
	}
	stops := fc.OnDivergence == "halt"
	mend := map[string]string{
		"halt":      "a start stops the fold; if the stream is right as it is: foldrun rebuild " + fc.Name,
		"rebuild":   "a start builds the fold anew beside what serves, as on_divergence says",
		"reconcile": "a start mends the fold in place, as on_divergence says",
	}[fc.OnDivergence]
	switch created := st.Created.UnixNano(); {
	case created != have.created:
		k.coded(source.CodeRecreated, fmt.Sprintf("fold %s: %s: stream %s was created at %s, the one that was folded up to seq %d at %s; "+
			"whether it is a restored copy, a start proves by its messages, which are not compared here", fc.Name, source.CodeRecreated, st.Stream,
			instant(created), have.seq, instant(have.created)), mend, stops)
	case st.LastSeq < have.seq:
		k.coded(source.CodeRewound, fmt.Sprintf("fold %s: %s: stream %s ends at seq %d, and was folded up to seq %d", fc.Name, source.CodeRewound,
			st.Stream, st.LastSeq, have.seq), mend, stops)
	default:
		k.fact("fold %s: folded up to seq %d of this stream; the messages were not compared", fc.Name, have.seq)
	}
}

func instant(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
