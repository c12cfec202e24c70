//go:build !unix

package serve

import "io/fs"

// writable is not told by a file's mode here.
func writable(string, fs.FileInfo) error { return nil }

// readable is not told by a file's mode here.
func readable(string, fs.FileInfo) error { return nil }
