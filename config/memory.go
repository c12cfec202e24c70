package config

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// memory = "auto" is a share of what the machine or its container gives: a quarter, at least 64 MiB, at most 8 GiB.
//
// Why a quarter? The budget counts what foldrun allocates on purpose. The Go heap may grow to twice what is live before
// it is collected, and the page cache that Pebble's reads live on is counted against the same container limit.
const (
	autoShare  = 4
	autoMin    = 64 << 20
	autoMax    = 8 << 30
	autoAssume = 1 << 30 // the machine, where it does not say
)

// Budget returns the bytes that store.memory allows, and where the number is from, for a log line or `check`.
func (s Store) Budget() (bytes int64, from string) {
	if s.Memory > 0 {
		return s.Memory, "store.memory"
	}
	return autoBudget(os.DirFS("/"))
}

// MachineMemory returns the bytes that the machine or its container gives, and what says so.
func MachineMemory() (bytes int64, from string) { return memoryLimit(os.DirFS("/")) }

func autoBudget(root fs.FS) (int64, string) {
	limit, from := memoryLimit(root)
	from = fmt.Sprintf("a quarter of the %s of %s", formatSize(limit>>20<<20), from)
	switch share := limit / autoShare; {
	case share < autoMin:
		return autoMin, from + ", at least 64MiB"
	case share > autoMax:
		return autoMax, from + ", at most 8GiB"
	default:
		return share, from
	}
}

// memoryLimit returns the smallest of the machine's memory and the limits of the cgroups that the process is in.
func memoryLimit(root fs.FS) (int64, string) {
	limit, from := int64(autoAssume), "a machine that tells no memory"
	if total := memTotal(root); total > 0 {
		limit, from = total, "the machine"
	}
	for _, file := range cgroupFiles(root) {
		if n := readLimit(root, file); n > 0 && n < limit {
			limit, from = n, "/"+file
		}
	}
	return limit, from
}

func memTotal(root fs.FS) int64 {
	b, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range bytes.Lines(b) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "MemTotal: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

// cgroupFiles returns the files that may hold a limit: of the process's own group and of each above it, for a limit
// holds for all below. A container often sees its own group as the root, under a path that only the host knows; then
// the files of that path are absent, and the root's is the one that counts.
func cgroupFiles(root fs.FS) []string {
	b, _ := fs.ReadFile(root, "proc/self/cgroup")
	var files []string
	for _, line := range strings.Split(string(b), "\n") {
		parts := strings.SplitN(line, ":", 3) // "0::/a/b" is v2, "4:memory:/a/b" is v1
		if len(parts) < 3 {
			continue
		}
		switch {
		case parts[0] == "0" && parts[1] == "":
			files = append(files, upwards("sys/fs/cgroup", parts[2], "memory.max")...)
			files = append(files, upwards("sys/fs/cgroup/unified", parts[2], "memory.max")...)
		case strings.Contains(","+parts[1]+",", ",memory,"):
			files = append(files, upwards("sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes")...)
		}
	}
	return files
}

func upwards(mount, group, file string) []string {
	var files []string
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		files = append(files, path.Join(mount, group, file))
		if group == "/" {
			return files
		}
	}
}

// readLimit returns 0 for no limit: the file is absent, or says "max".
func readLimit(root fs.FS, file string) int64 {
	b, err := fs.ReadFile(root, file)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}
