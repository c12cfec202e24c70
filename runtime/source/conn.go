package source

import "github.com/nats-io/nats.go"

// Conn is a connection to NATS, as Connect makes it.
type Conn = nats.Conn
