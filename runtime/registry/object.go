package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/hint"
)

// ErrAway says that an object store did not answer, or does not have the object: later it may.
var ErrAway = errors.New("the object store is away")

// MaxBytes is the largest module that is taken, as package fuel has it.
const MaxBytes = 32 << 20

const tooLarge = "is it the module, without its debug information?"

const (
	fetchTime = time.Minute     // for all of an object
	askTime   = 5 * time.Second // for one request
)

// The metadata of a module's object.
const (
	metaName      = "foldrun-name"
	metaVersion   = "foldrun-version"
	metaSignature = "foldrun-signature"
)

// Objects are the object stores that a connection leads to. Its zero value leads nowhere.
type Objects struct {
	Conn   *nats.Conn
	Domain string // of JetStream, "" for none
}

func (o Objects) jetStream() (jetstream.JetStream, error) {
	if o.Domain != "" {
		return jetstream.NewWithDomain(o.Conn, o.Domain)
	}
	return jetstream.New(o.Conn)
}

// stream returns the stream of an object store.
func (o Objects) stream(ctx context.Context, bucket string) (jetstream.Stream, error) {
	if o.Conn == nil || !o.Conn.IsConnected() {
		return nil, away(errors.New("there is no connection to NATS"))
	}
	js, err := o.jetStream()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s, err := js.Stream(ctx, "OBJ_"+bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, hint.Error(away(fmt.Errorf("there is no object store %q", bucket)), "nats object add %s makes it, or: foldrun plugin push --create; is the name right?", bucket)
	}
	return s, away(err)
}

// away wraps what keeps an object store from being read. Of a denied request nothing is heard but that no answer comes.
func away(err error) error {
	if err == nil {
		return nil
	}
	return hint.Error(fmt.Errorf("%w: %w", ErrAway, err), "is NATS up, and may the user read there? docs/modules.md has the permissions; foldrun looks again by itself")
}

// info returns what an object store says of an object.
func info(ctx context.Context, s jetstream.Stream, bucket, name string) (i jetstream.ObjectInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	m, err := s.GetLastMsgForSubject(ctx, subjectOf(bucket, name))
	missing := hint.Error(away(fmt.Errorf("object store %s has no object %q", bucket, name)), "foldrun plugin push FILE.wasm %s/%s puts one there; is the name right?", bucket, name)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return i, missing
	case err != nil:
		return i, away(err)
	}
	if err := json.Unmarshal(m.Data, &i); err != nil {
		return i, hint.Error(fmt.Errorf("its record in the object store cannot be read: %w", err), "push the module again")
	}
	switch {
	case i.Deleted:
		return i, missing
	case i.Opts != nil && i.Opts.Link != nil:
		return i, hint.Error(errors.New("it is a link"), "name the object that it leads to")
	case i.Size > MaxBytes:
		return i, hint.Error(fmt.Errorf("it has %d bytes, more than the %d of the largest module", i.Size, MaxBytes), tooLarge)
	}
	return i, nil
}

// subjectOf is where the record of an object is published.
func subjectOf(bucket, name string) string {
	return "$O." + bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// Look returns the sha256 of an object and its signature, as its publisher wrote them.
func (o Objects) Look(ctx context.Context, object string) (sha256, signature string, err error) {
	bucket, name, _ := strings.Cut(object, "/")
	s, err := o.stream(ctx, bucket)
	if err != nil {
		return "", "", err
	}
	i, err := info(ctx, s, bucket, name)
	if err != nil {
		return "", "", err
	}
	return digestOf(i), i.Metadata[metaSignature], nil
}

// digestOf returns the digest of an object in hexadecimal, "" if it has none.
func digestOf(i jetstream.ObjectInfo) string {
	b, err := jetstream.DecodeObjectDigest(i.Digest)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(b)
}

// fetch reads an object "bucket/name" and its signature. One that is replaced meanwhile is read anew.
func (o Objects) fetch(ctx context.Context, object string) (wasm []byte, signature string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	bucket, name, _ := strings.Cut(object, "/")
	s, err := o.stream(ctx, bucket)
	if err != nil {
		return nil, "", err
	}
	i, err := info(ctx, s, bucket, name)
	for range 3 {
		if err != nil {
			return nil, "", err
		}
		if wasm, err = chunks(ctx, s, bucket, i); err == nil {
			return wasm, strings.TrimSpace(i.Metadata[metaSignature]), nil
		}
		was, failed := i.NUID, err
		if i, err = info(ctx, s, bucket, name); err == nil && i.NUID == was {
			err = failed
		}
	}
	return nil, "", err
}

// chunks reads the bytes of an object.
func chunks(ctx context.Context, s jetstream.Stream, bucket string, i jetstream.ObjectInfo) ([]byte, error) {
	wasm := make([]byte, 0, i.Size)
	for seq := uint64(1); uint64(len(wasm)) < i.Size; {
		m, err := chunk(ctx, s, seq, "$O."+bucket+".C."+i.NUID)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, hint.Error(fmt.Errorf("it is truncated: the object store has %d of its %d bytes", len(wasm), i.Size), "push the module again")
		}
		if err != nil {
			return nil, away(err)
		}
		if len(m.Data) == 0 || uint64(len(wasm)+len(m.Data)) > i.Size {
			return nil, hint.Error(fmt.Errorf("the object store has not the %d bytes that it says", i.Size), "push the module again")
		}
		wasm, seq = append(wasm, m.Data...), m.Sequence+1
	}
	sum := sha256.Sum256(wasm)
	if is := hex.EncodeToString(sum[:]); is != digestOf(i) {
		return nil, hint.Error(fmt.Errorf("it has not the digest that the object store has of it: %s", is), "push the module again")
	}
	return wasm, nil
}

func chunk(ctx context.Context, s jetstream.Stream, seq uint64, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
}

// Push puts a module into an object store, with its name, its version and its signature as metadata. The store is made if
// it is not there and create is set.
func (o Objects) Push(ctx context.Context, object string, m Module, create bool) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	bucket, name, _ := strings.Cut(object, "/")
	js, err := o.jetStream()
	if err != nil {
		return err
	}
	s, err := js.ObjectStore(ctx, bucket)
	switch {
	case errors.Is(err, jetstream.ErrBucketNotFound) && create:
		s, err = js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: bucket})
	case errors.Is(err, jetstream.ErrBucketNotFound):
		err = hint.Error(fmt.Errorf("there is no object store %q", bucket), "--create makes it, with one replica; nats object add %s --replicas 3 with more", bucket)
	}
	if err != nil {
		return err
	}
	meta := jetstream.ObjectMeta{Name: name, Metadata: map[string]string{metaName: m.Name, metaVersion: m.Version}}
	if m.Signature != "" {
		meta.Metadata[metaSignature] = m.Signature
	}
	_, err = s.Put(ctx, meta, bytes.NewReader(m.Wasm))
	return hint.Error(err, "may the user publish to $O.%s.>?", bucket)
}

// Nudge sends to ch, as long as there is room, when an object is replaced, until stop is called. It may miss that, so
// that Look is to be asked now and then.
func (o Objects) Nudge(object string, ch chan<- struct{}) (stop func() error, err error) {
	bucket, name, _ := strings.Cut(object, "/")
	sub, err := o.Conn.Subscribe(subjectOf(bucket, name), func(*nats.Msg) {
		select {
		case ch <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	return sub.Unsubscribe, nil
}
