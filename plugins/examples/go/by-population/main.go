// By-population files each city under (country, population), the largest first: a range of keys is a range of populations.
package main

import "cities/foldrun"

func init() { foldrun.Register(transform) }

func main() {}

var names = foldrun.NewFields("country", "population", "name")

var key foldrun.Tuple // used again for each record: Emit copies

func transform(r *foldrun.Record, out *foldrun.Out) {
	var city [3]foldrun.JSON
	found := names.Scan(r.Value(), city[:])
	country, ok := city[0].Text()
	if found < 3 || !ok {
		out.Error(1, "no country, population or name")
		return
	}
	population, ok := city[1].Int()
	if !ok || population < 0 {
		out.Error(2, "no population: "+string(city[1]))
		return
	}
	key = key[:0].Text(country).IntDesc(population)
	out.Emit(0, key, city[2])
}
