//go:build linux || darwin

package main

import "syscall"

// freeDisk returns the bytes that are free for the process on a directory's file system.
func freeDisk(dir string) (n int64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
