package registry

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// describe publishes what an object store has of an object, as somebody may who can write there.
func (s *shop) describe(t testing.TB, i *jetstream.ObjectInfo) {
	t.Helper()
	m := nats.NewMsg(subjectOf(i.Bucket, i.Name))
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	m.Data = must(json.Marshal(i))(t)
	must(s.js.PublishMsg(t.Context(), m))(t)
}
