package serve

import (
	"fmt"
	"net"
	"syscall"
)

// peer says who is at the other end of a connection, for the audit line.
func peer(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return c.RemoteAddr().String()
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return "socket"
	}
	who := "socket"
	raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			who = fmt.Sprintf("socket, uid %d, pid %d", cred.Uid, cred.Pid)
		}
	})
	return who
}
