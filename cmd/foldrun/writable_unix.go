//go:build unix

package main

import "syscall"

// writable returns why a directory cannot be written, without writing.
func writable(dir string) error { return syscall.Access(dir, 2|1) } // W_OK, X_OK
