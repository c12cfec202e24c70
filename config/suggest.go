package config

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// sameWord returns the word of known that differs from key in case, dashes and underscores alone.
func sameWord(key string, known []string) string {
	for _, k := range known {
		if plain(k) == plain(key) {
			return k
		}
	}
	return ""
}

func plain(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
}

// Nearest returns the word of known that key was probably meant to be, or "". Among equals the first of known wins.
func Nearest(key string, known []string) string {
	if word := sameWord(key, known); word != "" {
		return word
	}
	// A third of the letters may be wrong; beyond that a suggestion misleads.
	best, most := "", min(max(utf8.RuneCountInString(key)/3, 1), 3)
	for _, k := range known {
		if d := distance(key, k, most); d <= most {
			best, most = k, d-1
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with their neighbour; beyond most, most+1.
func distance(a, b string, most int) int {
	from, to := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	if d := len(from) - len(to); d > most || -d > most {
		return most + 1
	}
	var before, last []int
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i := range from {
		before, last, row = last, row, make([]int, len(to)+1)
		row[0] = i + 1
		for j := range to {
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+b2i(from[i] != to[j]))
			if i > 0 && j > 0 && from[i] == to[j-1] && from[i-1] == to[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		if slices.Min(row) > most {
			return most + 1
		}
	}
	return row[len(to)]
}

// quoteAll is "a", "b" or "c".
func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = `"` + w + `"`
	}
	if n := len(quoted); n > 1 {
		return strings.Join(quoted[:n-1], ", ") + " or " + quoted[n-1]
	}
	return strings.Join(quoted, "")
}
