//go:build unix

package serve

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/foldrun/foldrun/hint"
)

// socketName is the door of an operator, in the data directory.
const socketName = "admin.sock"

// ListenAdmin listens on the socket of a data directory, which the caller has locked: what stands there is of a foldrun
// that was killed. Only the user that runs foldrun, and root, can open it.
func ListenAdmin(dir string) (net.Listener, error) {
	path := filepath.Join(dir, socketName)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("serve: admin socket: %w", err)
	}
	short, d, err := shorten(path)
	if err != nil {
		return nil, err
	}
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", short)
	syscall.Umask(old)
	if err != nil {
		return nil, hint.Error(fmt.Errorf("serve: admin socket %s: %w", path, err), "data_dir must be on a file system that has sockets, and its path short")
	}
	return &socket{l, d}, nil
}

// DialAdmin connects to the socket of a data directory.
func DialAdmin(ctx context.Context, dir string) (net.Conn, error) {
	short, d, err := shorten(filepath.Join(dir, socketName))
	if err != nil {
		return nil, err
	}
	if d != nil {
		defer d.Close()
	}
	return new(net.Dialer).DialContext(ctx, "unix", short)
}

// A socket keeps the directory open by whose descriptor it is named.
type socket struct {
	net.Listener
	dir *os.File // nil: it is named by its path
}

func (s *socket) Close() error {
	err := s.Listener.Close()
	if s.dir != nil {
		s.dir.Close()
	}
	return err
}

// maxSocketPath is what the kernel takes for the path of a socket, less its final zero.
const maxSocketPath = 103

// shorten returns a name of a socket whose path is too long for one: by the descriptor of its directory.
func shorten(path string) (short string, dir *os.File, err error) {
	if len(path) <= maxSocketPath {
		return path, nil, nil
	}
	if dir, err = os.Open(filepath.Dir(path)); err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), dir, nil
}
