package golden

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/foldrun/foldrun/abi"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

// The stream that a test's updates would come from.
const (
	streamName    = "KV_test"
	subjectPrefix = "$KV.test."
)

// firstTime is the time of the first update that says nothing of it.
var firstTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// An update is a line of the section updates.
type update struct {
	at      int
	op      abi.Op // 0: the clock moves
	key     string // as written; with keying = "message" the subject
	value   []byte
	subject string
	headers [][2]string
	seq     uint64
	time    int64
}

var ops = map[string]abi.Op{"put": abi.OpPut, "delete": abi.OpDelete, "purge": abi.OpPurge, "clock": 0}

// update reads an update with what its indented lines say.
func (t *Test) update(e entry) (*update, error) {
	u := &update{at: e.at, seq: 1, time: firstTime}
	if t.last != nil {
		u.seq, u.time = t.last.seq+1, t.last.time+1e9
	}
	verb, after, _ := strings.Cut(e.raw[0], " ")
	op, known := ops[verb]
	if !known {
		mend := "lines begin with put, delete, purge or clock, and what is expected with +, - or !"
		if near := config.Nearest(verb, []string{"put", "delete", "purge", "clock"}); near != "" {
			mend = "the nearest is " + near
		}
		return nil, fault(t.Path, e.at, "there is no update %q", verb)("%s", mend)
	}
	if u.op = op; op == 0 {
		return u, t.clock(u, e, after)
	}
	var err error
	if u.key, after, err = cutWord(after); err != nil || u.key == "" && !strings.Contains(e.raw[0], `""`) {
		return nil, fault(t.Path, e.at, "%s", orElse(err, "it has no key"))("write %s KEY, a key with spaces as a Go string", verb)
	}
	u.subject = subjectPrefix + u.key
	if t.byMessage {
		u.subject = u.key
	}
	if op != abi.OpPut && after != "" {
		return nil, fault(t.Path, e.at, "%q follows the key", after)("a %s has a key and no value; a key with spaces is a Go string", verb)
	}
	if u.value, err = t.value(after); err != nil {
		return nil, fault(t.Path, e.at, "%v", err)("write the value as it is, as a Go string, or as @SECTION")
	}
	for i, l := range e.raw[1:] {
		if err := t.qualify(u, e.at+1+i, strings.TrimSpace(l)); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func orElse(err error, text string) string {
	if err != nil {
		return err.Error()
	}
	return text
}

// clock reads a movement of the clock: no message, so the seq stays.
func (t *Test) clock(u *update, e entry, after string) (err error) {
	if u.time, err = readTime(after); err != nil || len(e.raw) > 1 {
		return fault(t.Path, e.at, "%s", orElse(err, "more is said of the clock"))("write clock 2026-01-01T00:00:00Z, and nothing below it")
	}
	u.seq--
	return nil
}

// value reads a value: the rest of a line.
func (t *Test) value(s string) ([]byte, error) {
	switch {
	case strings.HasPrefix(s, "@"):
		for i := range t.sections {
			if x := &t.sections[i]; x.at > 0 && x.name == s[1:] {
				t.used[x.name] = true
				return []byte(x.text()), nil
			}
		}
		return nil, fmt.Errorf("there is no section %s", s[1:])
	case strings.HasPrefix(s, `"`):
		text, err := strconv.Unquote(strings.TrimRight(s, " \t"))
		if err != nil {
			err = fmt.Errorf("%s is not a Go string", s)
		}
		return []byte(text), err
	}
	return []byte(s), nil
}

// qualify reads an indented line below an update.
func (t *Test) qualify(u *update, line int, text string) error {
	name, after, _ := strings.Cut(text, " ")
	after = strings.TrimSpace(after)
	var err error
	switch name {
	case "header":
		name, value, ok := strings.Cut(after, ":")
		if !ok || name == "" {
			return fault(t.Path, line, "%q is not a header", after)("write header NAME: VALUE")
		}
		u.headers = append(u.headers, [2]string{name, strings.TrimSpace(value)})
	case "subject":
		u.subject = after
	case "time":
		if u.time, err = readTime(after); err != nil {
			return fault(t.Path, line, "%v", err)("write time 2026-01-01T00:00:00Z")
		}
	case "seq":
		least := u.seq
		if u.seq, err = strconv.ParseUint(after, 10, 64); err != nil || u.seq < least {
			return fault(t.Path, line, "seq %s, after %d", after, least-1)("seqs ascend: write at least %d", least)
		}
	default:
		known := []string{"header", "subject", "time", "seq"}
		mend := "an update has header, subject, time and seq"
		if near := config.Nearest(name, known); near != "" {
			mend = "the nearest is " + near
		}
		return fault(t.Path, line, "there is no %q of an update", name)("%s", mend)
	}
	return nil
}

// source returns the update's source key, as tests write it.
func (u *update) source(byMessage bool) string {
	if byMessage {
		return strconv.FormatUint(u.seq, 10)
	}
	return word([]byte(u.key))
}

// batch makes a batch of the source of an update.
func (u *update) batch(byMessage bool) *source.Batch {
	b := &source.Batch{From: u.seq - 1, Pos: u.position(u.seq), Clock: u.time, TTL: true}
	if u.op == 0 {
		b.From = u.seq
		return b
	}
	u.record(b, byMessage)
	return b
}

// record appends the update to a batch.
func (u *update) record(b *source.Batch, byMessage bool) {
	r := abi.Update{Seq: u.seq, Time: u.time, Op: u.op, Header: uint32(len(b.Headers)), Headers: uint32(len(u.headers))}
	if byMessage {
		r.Key = b.Append(binary.BigEndian.AppendUint64(nil, u.seq))
	} else {
		r.Key = b.AppendString(u.key)
	}
	r.Value, r.Subject = b.Append(u.value), b.AppendString(u.subject)
	for _, h := range u.headers {
		b.Headers = append(b.Headers, abi.Header{Name: b.AppendString(h[0]), Value: b.AppendString(h[1])})
	}
	b.Records = append(b.Records, r)
}

// Config returns the config that the test gives its module, canonical JSON.
func (t *Test) Config() []byte { return t.config }

// Latest returns the last update of each source key of the test, in a batch with the clock of its end.
func (t *Test) Latest() *source.Batch {
	var all []*update
	last := map[string]*update{}
	b := &source.Batch{TTL: true}
	for _, p := range t.parts {
		for i := range p.steps {
			u := &p.steps[i].update
			if b.Clock = u.time; u.op != 0 {
				all = append(all, u)
				last[u.source(t.byMessage)] = u
			}
		}
	}
	for _, u := range all {
		if last[u.source(t.byMessage)] == u {
			u.record(b, t.byMessage)
		}
	}
	return b
}

// position is where the cursor stands at a seq, when the update is the newest thing that is known.
func (u *update) position(seq uint64) store.Position {
	return store.Position{Stream: streamName, Created: firstTime, Seq: seq, Time: u.time, CaughtUp: u.time}
}
