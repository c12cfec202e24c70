package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/foldrun/foldrun/store"
)

// Bounds of a stream.
const (
	MaxStream   = 10 * time.Minute // after which it ends
	streamBytes = 256 << 10        // of rows that are in memory at once
)

// Limited is the code of the end of a stream that has as many rows as were asked for, and is not complete.
const Limited = "limit"

// A Stream is a range of one moment, as lines of JSON: a row each, as in a Page. It holds a view of the store, which it
// reads when Next is called, and nothing more than one piece of the rows in memory. Close it.
type Stream struct {
	At *Position

	m     *moment
	q     Scan
	left  int // rows that may come; -1 = no limit
	until time.Time
	buf   []byte
	rows  uint64
	ended bool
	why   *Fault // that it is not complete
	end   func()
}

// Stream opens a stream of what a Scan asks for. The Rows of its limits are those of the whole stream, 0 for all, and Bytes
// are those of a piece; at most MaxLong streams and counts are under way at once.
func (r *Reader) Stream(ctx context.Context, q Scan) (*Stream, error) {
	end, err := r.holds.long.begin()
	if err != nil {
		return nil, err
	}
	m, err := r.openIndex(ctx, q.Moment, q.Index)
	if err == nil && q.Token == "" {
		m, err = pinned(m)
	}
	if err != nil {
		end()
		return nil, err
	}
	s := &Stream{At: m.at, m: m, q: q, left: -1, until: time.Now().Add(MaxStream), end: end}
	if q.Token != "" && m.until.Before(s.until) {
		s.until = m.until
	}
	if q.Limits.Rows > 0 {
		s.left = q.Limits.Rows
	}
	if s.q.Limits.Bytes < 1 || s.q.Limits.Bytes > streamBytes {
		s.q.Limits.Bytes = streamBytes
	}
	return s, nil
}

// pinned replaces a moment, which it closes, with one that can be held for long.
func pinned(m *moment) (*moment, error) {
	defer m.close()
	v, err := m.pin()
	if err != nil {
		return nil, err
	}
	p := newMoment(m.fold, m.db, v)
	p.index, p.snapshot = m.index, m.snapshot
	return p, nil
}

// Close ends the stream.
func (s *Stream) Close() {
	s.m.close()
	s.end()
}

// Next returns the next lines, valid until it is called again; nil: the stream has ended, End says how.
func (s *Stream) Next(ctx context.Context) []byte {
	for !s.ended {
		if s.left == 0 {
			return s.stop(&Fault{Code: Limited, Message: "there are as many rows as were asked for, and more"})
		}
		if time.Now().After(s.until) {
			return s.stop(&Fault{Code: TooSlow, Message: "the time that a stream may take is over, or that of its token", Hint: `begin another with what "next" holds`})
		}
		if page := s.page(ctx); page != nil && page.Rows > 0 {
			return append(page.body, '\n')
		}
	}
	return nil
}

// page reads the next piece; nil: it cannot be read.
func (s *Stream) page(ctx context.Context) *Page {
	s.q.Limits.Rows = MaxRows
	if s.left >= 0 {
		s.q.Limits.Rows = min(s.left, MaxRows)
	}
	page := &Page{body: s.buf[:0], sep: '\n'}
	if err := s.m.fill(ctx, &s.q, page); err != nil {
		var f *Fault
		errors.As(err, &f)
		s.stop(f)
		return nil
	}
	s.buf, s.ended = page.body, !page.More
	s.rows += uint64(page.Rows)
	if s.left > 0 {
		s.left -= page.Rows
	}
	if page.More {
		s.q.Range.After = &store.Mark{Key: bytes.Clone(page.Next.Key), Source: bytes.Clone(page.Next.Source)}
	}
	return page
}

func (s *Stream) stop(why *Fault) []byte {
	s.ended, s.why = true, why
	return nil
}

// End returns the last line of a stream that has ended:
//
//	{"end": {"complete": bool, "rows": n, "code": …, "message": …, "hint": …, "next": {"after_key": …, "after_source": …}}}
//
// What is after rows is there unless it is complete; next unless no row was passed.
func (s *Stream) End() []byte {
	dst := strconv.AppendBool([]byte(`{"end":{"complete":`), s.why == nil)
	dst = strconv.AppendUint(append(dst, `,"rows":`...), s.rows, 10)
	if s.why != nil {
		for i, text := range []string{s.why.Code, s.why.Message, s.why.Hint} {
			if text == "" {
				continue
			}
			quoted, err := json.Marshal(text)
			if err != nil {
				panic(err) // a string
			}
			dst = append(append(dst, [...]string{`,"code":`, `,"message":`, `,"hint":`}[i]...), quoted...)
		}
		if after := s.q.Range.After; after != nil {
			dst = appendMark(append(dst, `,"next":`...), *after)
		}
	}
	return append(dst, "}}\n"...)
}
