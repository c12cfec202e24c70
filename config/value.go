package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// units are the units of a size, the largest first of those that share a factor's base.
var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

var sizeForm = regexp.MustCompile(`^([0-9]+)([A-Za-z]+)$`)

// parseSize reads "64MiB". ok is false for any other form, and beyond 8 EiB.
func parseSize(s string) (n int64, ok bool) {
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, false
	}
	for _, u := range units {
		if u.name == m[2] {
			return n * u.bytes, n <= math.MaxInt64/u.bytes
		}
	}
	return 0, false
}

// formatSize is the shortest exact form that parseSize reads back.
func formatSize(n int64) string {
	for _, u := range units[:4] {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

var looseSize = regexp.MustCompile(`^\s*([0-9]{1,15})(\.[0-9]{1,3})?\s*([A-Za-z]*)\s*$`)

// mendSize guesses what a malformed size was meant to be: "64 mib", "64m" and "64" are 64MiB, and "1.5GiB" is 1536MiB.
func mendSize(s string) string {
	m := looseSize.FindStringSubmatch(s)
	if m == nil {
		return "64MiB"
	}
	unit := map[string]string{"": "MiB", "k": "KiB", "m": "MiB", "g": "GiB", "t": "TiB"}[strings.ToLower(m[3])]
	for _, u := range units {
		if unit == "" && strings.EqualFold(u.name, m[3]) {
			unit = u.name
		}
	}
	one, known := parseSize("1" + unit)
	if _, ok := parseSize(m[1] + unit); !ok || !known {
		return "64MiB"
	}
	if m[2] == "" {
		return m[1] + unit
	}
	f, _ := strconv.ParseFloat(m[1]+m[2], 64)
	return formatSize(int64(f * float64(one)))
}

// mendNumber is mendSize for a bare number: of bytes when it is a round one, else of some unit.
func mendNumber(n int64) string {
	if n >= 1024 && n%1024 == 0 {
		return formatSize(n)
	}
	return mendSize(strconv.FormatInt(n, 10))
}

var daysForm = regexp.MustCompile(`^([0-9]{1,6})d(.*)$`)

// parseDuration reads Go's form, "1h30m" or "250ms", and days before it: "7d", "1d12h".
func parseDuration(s string) (time.Duration, bool) {
	m := daysForm.FindStringSubmatch(s)
	if m == nil {
		d, err := time.ParseDuration(s)
		return d, err == nil && s != "0"
	}
	days, err := strconv.Atoi(m[1])
	if err != nil || days > int(math.MaxInt64/(48*time.Hour)) {
		return 0, false
	}
	rest := time.Duration(0)
	if m[2] != "" {
		if rest, err = time.ParseDuration(m[2]); err != nil || rest < 0 || rest >= 24*time.Hour {
			return 0, false
		}
	}
	return time.Duration(days)*24*time.Hour + rest, true
}

// parsePercent reads "1%" and "0.5%" as shares of 1.
func parsePercent(s string) (float64, bool) {
	digits, ok := strings.CutSuffix(s, "%")
	if !ok || strings.Trim(digits, "0123456789.") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(digits, 64)
	return f / 100, err == nil && f <= 100
}

// leastBudget is what a budget that is a share allows in any case.
const leastBudget = 100

// parseBudget reads "1%" and "500".
func parseBudget(s string) (Budget, bool) {
	if share, ok := parsePercent(s); ok {
		return Budget{share, leastBudget}, true
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return Budget{Keys: n}, err == nil && strings.Trim(s, "0123456789") == ""
}

// kind names the type of a TOML value.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
	case time.Time:
		return "a date"
	case []any:
		return "a list"
	case []map[string]any:
		return "a list of tables"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprintf("a %T", v)
}
