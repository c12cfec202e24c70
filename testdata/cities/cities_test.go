package cities

import (
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"unicode/utf8"
)

func TestEach(t *testing.T) {
	seen := make(map[string]bool, Count)
	million := 0
	err := Each(func(key string, value []byte) error {
		var city struct {
			ID         int64
			Name       string
			Country    string
			Population int64
		}
		if err := json.Unmarshal(value, &city); err != nil {
			return err
		}
		if key != strconv.FormatInt(city.ID, 10) {
			t.Errorf("key %s holds id %d", key, city.ID)
		}
		if city.Name == "" || len(city.Country) != 2 || !utf8.Valid(value) {
			t.Errorf("%s: %s", key, value)
		}
		if city.Population >= 1_000_000 {
			million++
		}
		seen[key] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != Count {
		t.Errorf("%d distinct keys, Count is %d", len(seen), Count)
	}
	if million != 564 {
		t.Errorf("%d cities of a million, the README says 564", million)
	}
}

func TestEachStops(t *testing.T) {
	enough := errors.New("enough")
	calls := 0
	err := Each(func(string, []byte) error {
		calls++
		return enough
	})
	if err != enough || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}
