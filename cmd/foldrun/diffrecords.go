package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/golden"
	"github.com/foldrun/foldrun/runtime/source"
)

// records are the live records of a bucket, a stream or a file: the last of each source key. They are read in batches.
type records struct {
	config *config.Config
	nats   string
	source source.Options
	stderr io.Writer

	clock int64  // of a fold that has folded them all, ns since 1970
	given []byte // the config that a test has
	each  func(ctx context.Context, add func(*source.Batch) error) error
	link  link
}

// The size of a batch of records that are compared.
const diffRecords, diffBytes = 1024, 4 << 20

// clockSlack is how far the clock of an idle fold is behind the server's.
const clockSlack = 10 * time.Second

// open finds the records; from is as --from has it.
func (r *records) open(ctx context.Context, from string) error {
	bucket, isBucket := strings.CutPrefix(from, "bucket:")
	stream, isStream := strings.CutPrefix(from, "stream:")
	switch {
	case isBucket:
		r.source.Bucket, r.source.Stream, r.source.KeyingMessage = bucket, "", false
	case isStream:
		r.source.Bucket, r.source.Stream = "", stream
	case from != "" && filepath.Ext(from) == ".txtar":
		return r.openTest(from)
	case from != "":
		return r.openDump(from)
	}
	return r.openStream(ctx)
}

func (r *records) close() {
	if r.link.conn != nil {
		r.link.conn.Close()
	}
}

func (r *records) openTest(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	t, err := golden.Parse(name, text)
	if err != nil {
		return err
	}
	b := t.Latest()
	r.clock, r.given = b.Clock, t.Config()
	r.each = func(_ context.Context, add func(*source.Batch) error) error { return add(b) }
	return nil
}

func (r *records) openStream(ctx context.Context) error {
	r.link = connectOne(r.config, r.nats, true, slog.New(slog.DiscardHandler))
	if r.link.err != nil {
		return r.link.err
	}
	r.source.Domain, r.source.BatchRecords, r.source.BatchBytes = r.link.domain, diffRecords, diffBytes
	src, err := source.Open(ctx, r.link.conn, r.source)
	if err != nil {
		return err
	}
	st, err := src.Look(ctx)
	if err == nil && st.Reason != "" {
		err = hint.Error(errors.New(st.Reason), "%s", st.Hint)
	}
	if err != nil {
		return err
	}
	r.clock = st.AsOf.Add(-clockSlack).UnixNano()
	r.each = func(ctx context.Context, add func(*source.Batch) error) error {
		if st.LastSeq == 0 {
			return nil
		}
		var b source.Batch
		var n uint64
		err := src.Latest(ctx, st.LastSeq, &b, func() error {
			n += uint64(b.Len())
			r.progress(n)
			return add(&b)
		})
		r.progress(0)
		return err
	}
	return nil
}

// progress says on a terminal how many records were compared; 0 takes that back.
func (r *records) progress(n uint64) {
	switch {
	case !isTerminal(r.stderr):
	case n == 0:
		fmt.Fprint(r.stderr, "\r\x1b[K")
	default:
		fmt.Fprintf(r.stderr, "\r%s", counted(n, "record", "records"))
	}
}

// A dumped is a line of a file of records.
type dumped struct {
	Key     client.Bytes        `json:"key"`
	Value   json.RawMessage     `json:"value"`
	Op      string              `json:"op"`
	Subject string              `json:"subject"`
	Headers map[string][]string `json:"headers"`
	Seq     uint64              `json:"seq"`
	Time    time.Time           `json:"time"`
}

// openDump reads a file of records once, to know the last of each source key: it keeps 24 bytes a key, and none of the
// records.
func (r *records) openDump(name string) error {
	last := map[[16]byte]int{}
	err := eachDumped(name, func(line int, d *dumped) error {
		last[keyHash(d.Key)] = line
		r.clock = max(r.clock, d.Time.UnixNano())
		return nil
	})
	if err != nil {
		return err
	}
	r.each = func(_ context.Context, add func(*source.Batch) error) error {
		b := &source.Batch{TTL: true}
		err := eachDumped(name, func(line int, d *dumped) error {
			if !r.source.KeyingMessage && last[keyHash(d.Key)] != line {
				return nil
			}
			d.record(b, r.source.KeyingMessage)
			if b.Len() < diffRecords && len(b.Bytes) < diffBytes {
				return nil
			}
			err := add(b)
			b.Reset()
			b.TTL = true
			return err
		})
		if err != nil {
			return err
		}
		return add(b)
	}
	return nil
}

func keyHash(key []byte) [16]byte {
	sum := sha256.Sum256(key)
	return [16]byte(sum[:16])
}

// eachDumped reads the lines of a file.
func eachDumped(name string, f func(line int, d *dumped) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	s.Buffer(nil, 256<<20)
	for line := 1; s.Scan(); line++ {
		if len(s.Bytes()) == 0 {
			continue
		}
		d := dumped{Op: "put", Seq: uint64(line), Time: time.Unix(int64(line), 0)}
		err := json.Unmarshal(s.Bytes(), &d)
		if err == nil && (len(d.Key) == 0 || opNames[d.Op] == 0) {
			err = errors.New("it has no key, or no op that there is")
		}
		if err != nil {
			return hint.Error(fmt.Errorf("%s:%d: %w", name, line, err), `write {"key": "…", "value": …}, and if need be op (put, delete, purge), subject, headers, seq, time`)
		}
		if err := f(line, &d); err != nil {
			return err
		}
	}
	return s.Err()
}

var opNames = map[string]abi.Op{"put": abi.OpPut, "delete": abi.OpDelete, "purge": abi.OpPurge}

// record appends a line to a batch.
func (d *dumped) record(b *source.Batch, byMessage bool) {
	u := abi.Update{Seq: d.Seq, Time: d.Time.UnixNano(), Op: opNames[d.Op], Key: b.Append(d.Key)}
	u.Subject = u.Key
	if d.Subject != "" {
		u.Subject = b.AppendString(d.Subject)
	}
	if byMessage {
		u.Key = b.Append(binary.BigEndian.AppendUint64(nil, d.Seq))
	}
	value := client.Bytes(d.Value)
	if err := json.Unmarshal(d.Value, &value); err != nil {
		value = client.Bytes(d.Value)
	}
	u.Value = b.Append(value)
	u.Header = uint32(len(b.Headers))
	var names []string
	for name := range d.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range d.Headers[name] {
			b.Headers = append(b.Headers, abi.Header{Name: b.AppendString(name), Value: b.AppendString(v)})
		}
	}
	u.Headers = uint32(len(b.Headers)) - u.Header
	b.Records = append(b.Records, u)
}
