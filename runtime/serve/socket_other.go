//go:build !unix

package serve

import (
	"context"
	"errors"
	"net"
)

var errNoSocket = errors.New("serve: admin actions need a unix socket, which this system does not have")

// ListenAdmin is not to be had here.
func ListenAdmin(string) (net.Listener, error) { return nil, errNoSocket }

// DialAdmin is not to be had here.
func DialAdmin(context.Context, string) (net.Conn, error) { return nil, errNoSocket }
