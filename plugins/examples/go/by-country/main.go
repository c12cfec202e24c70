// By-country files each city under country/admin1/name, so that a prefix names a country or a part of one.
package main

import "cities/foldrun"

func init() { foldrun.Register(transform) }

func main() {}

const (
	country = iota
	admin1
	name
	id
	population
	fields
)

var names = foldrun.NewFields("country", "admin1", "name", "id", "population")

var key, value []byte // used again for each record: Emit copies

func transform(r *foldrun.Record, out *foldrun.Out) {
	var city [fields]foldrun.JSON
	if names.Scan(r.Value(), city[:]) < fields {
		out.Error(1, "country, admin1, name, id or population is missing")
		return
	}
	key = key[:0]
	for i, raw := range city[:name+1] {
		text, ok := raw.Text()
		if !ok {
			out.Error(2, "not a string: "+string(raw))
			return
		}
		if i > 0 {
			key = append(key, '/')
		}
		key = append(key, text...)
	}
	value = append(value[:0], `{"id":`...)
	value = append(value, city[id]...)
	value = append(value, `,"population":`...)
	value = append(value, city[population]...)
	value = append(value, '}')
	out.Emit(0, key, value)
}
