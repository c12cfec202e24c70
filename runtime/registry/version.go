package registry

import (
	"cmp"
	"strconv"
	"strings"
)

// compareVersions compares two versions by the rules of semver.org, with any number of parts. ok is false where one of them is
// something else, and they are not the same text.
func compareVersions(a, b string) (order int, ok bool) {
	if a == b {
		return 0, true
	}
	x, xPre, xOK := splitVersion(a)
	y, yPre, yOK := splitVersion(b)
	if !xOK || !yOK {
		return 0, false
	}
	for i := range max(len(x), len(y)) {
		if c := cmp.Compare(part(x, i), part(y, i)); c != 0 {
			return c, true
		}
	}
	return comparePre(xPre, yPre), true
}

func part(parts []uint64, i int) uint64 {
	if i < len(parts) {
		return parts[i]
	}
	return 0
}

// splitVersion takes "v1.2.3-rc.1+build" apart.
func splitVersion(v string) (parts []uint64, pre string, ok bool) {
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "+")
	v, pre, _ = strings.Cut(v, "-")
	for s := range strings.SplitSeq(v, ".") {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return nil, "", false
		}
		parts = append(parts, n)
	}
	return parts, pre, true
}

// comparePre compares what stands behind the dash: nothing there is higher than anything.
func comparePre(a, b string) int {
	if a == "" || b == "" {
		return cmp.Compare(len(b), len(a))
	}
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		n, xErr := strconv.ParseUint(x[i], 10, 64)
		m, yErr := strconv.ParseUint(y[i], 10, 64)
		c := cmp.Compare(x[i], y[i])
		switch {
		case xErr == nil && yErr == nil:
			c = cmp.Compare(n, m)
		case xErr == nil: // numbers are lower than words
			c = -1
		case yErr == nil:
			c = 1
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}
