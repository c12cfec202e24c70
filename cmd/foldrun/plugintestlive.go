package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/golden"
	"github.com/foldrun/foldrun/runtime/source"
)

// liveCase makes a test of what the stream holds of a source key. What it yields is not said: plugin test --update does.
func (h *heldCase) liveCase(ctx context.Context, key []byte) (*golden.Case, error) {
	c, err := h.configuration()
	if err != nil {
		return nil, hint.Error(fmt.Errorf("%w, and without a configuration the stream cannot be asked: %w", notHeld(h.fold, key), err), "name it with -c")
	}
	for _, fc := range c.Folds {
		if fc.Name == h.fold {
			return readLive(ctx, c, fc, key)
		}
	}
	return nil, hint.Error(fmt.Errorf("%s has no fold %q", c.Path, h.fold), "name with -c the configuration that foldrun runs with")
}

// readLive reads the last message of a source key from NATS.
func readLive(ctx context.Context, c *config.Config, fc config.Fold, key []byte) (*golden.Case, error) {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	l := connectOne(c, fc.Source.NATS, true, slog.New(slog.DiscardHandler))
	if l.err != nil {
		return nil, l.err
	}
	defer l.conn.Close()
	o := foldOptions(c, fc, l, nil)
	src, err := source.Open(ctx, l.conn, o.Source)
	if err != nil {
		return nil, fmt.Errorf("fold %s: %w", fc.Name, err)
	}
	seq := uint64(0)
	if o.Source.KeyingMessage {
		if len(key) != 8 {
			return nil, hint.Error(misuse{errors.New("with keying = \"message\" a source key is a seq")}, "write it as 8 bytes, big-endian: --source-hex 00000000000004d2 is 1234")
		}
		seq = binary.BigEndian.Uint64(key)
	}
	var b source.Batch
	found, err := src.Fetch(ctx, key, seq, &b)
	if err != nil {
		return nil, fmt.Errorf("fold %s: %w", fc.Name, err)
	}
	if !found {
		return nil, hint.Error(fmt.Errorf("%s: source key %q is neither in quarantine nor in the stream", fc.Name, key), "foldrun why %s/INDEX KEY tells the source keys of a row", fc.Name)
	}
	return caseOfUpdate(fc.Name, &b.Updates), nil
}

// caseOfUpdate makes a test of the one update in a slab.
func caseOfUpdate(fold string, u *abi.Updates) *golden.Case {
	r := u.Records[0]
	at := time.Unix(0, r.Time).UTC()
	k := &golden.Case{
		Comment: fmt.Sprintf("From the stream of %s, seq %d of %s.", fold, r.Seq, at.Format(time.RFC3339Nano)),
		Op:      map[abi.Op]string{abi.OpPut: "put", abi.OpDelete: "delete", abi.OpPurge: "purge"}[r.Op],
		Key:     u.Key(0), Subject: u.At(r.Subject), Value: u.Value(0), Seq: r.Seq, Time: at,
	}
	for _, h := range u.Headers[r.Header : r.Header+r.Headers] {
		k.Headers = append(k.Headers, [2]string{string(u.At(h.Name)), string(u.At(h.Value))})
	}
	return k
}
