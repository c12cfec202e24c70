// Package cities is a real data set for tests, benchmarks and the demo: 34,006 cities with their
// populations, by GeoNames (CC BY 4.0; README.md has the source and the attribution).
package cities

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
)

// Count is the number of records that Each visits.
const Count = 34006

//go:embed cities.ndjson.gz
var compressed []byte

// Each calls f for every city in the data set's order and stops at f's first error, which it
// returns as it is. The key is the city's id in decimal, unique; the value is its line of JSON
// without the newline. The value is valid only until f returns.
func Each(f func(key string, value []byte) error) error {
	z, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return fmt.Errorf("cities: %w", err)
	}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		key, err := id(lines.Bytes())
		if err != nil {
			return err
		}
		if err := f(key, lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("cities: %w", err)
	}
	return nil
}

// id reads the leading field, which build.py always writes first.
func id(line []byte) (string, error) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"id":`))
	if !ok {
		return "", fmt.Errorf("cities: a line without a leading id: %q", line)
	}
	digits, _, _ := bytes.Cut(rest, []byte(","))
	return string(digits), nil
}
