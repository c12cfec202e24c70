// City-names projects each city to its name and population, and finds cities by name.
package main

import "cities/foldrun"

func init() { foldrun.Register(transform) }

func main() {}

const (
	byID = iota // the manifest's indexes, in its order
	byName
)

var names = foldrun.NewFields("name", "population")

var value, lower []byte // used again for each record: Emit copies

func transform(r *foldrun.Record, out *foldrun.Out) {
	var city [2]foldrun.JSON
	found := names.Scan(r.Value(), city[:])
	name, ok := city[0].Text()
	if found < 2 || !ok {
		out.Error(1, "no name or no population")
		return
	}
	value = append(value[:0], `{"name":`...)
	value = append(value, city[0]...)
	value = append(value, `,"population":`...)
	value = append(value, city[1]...)
	value = append(value, '}')
	out.Emit(byID, r.Key(), value)

	lower = append(lower[:0], name...)
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' { // other letters stay as they are
			lower[i] = c | 0x20
		}
	}
	out.Emit(byName, lower, r.Key())
}
