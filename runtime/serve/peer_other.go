//go:build !linux

package serve

import "net"

// peer says who is at the other end of a connection, for the audit line.
func peer(c net.Conn) string {
	if c.RemoteAddr().Network() == "unix" {
		return "socket"
	}
	return c.RemoteAddr().String()
}
