// Garbage does what by-country does with strings and maps that it throws away.
package main

import "tried/foldrun"

func init() { foldrun.Register(transform) }

func main() {}

var (
	names  = []string{"country", "admin1", "name", "id", "population"}
	fields = foldrun.NewFields(names...)
)

func transform(r *foldrun.Record, out *foldrun.Out) {
	raw := make([]foldrun.JSON, len(names))
	fields.Scan(r.Value(), raw)
	city := map[string]string{}
	for i, name := range names {
		text, ok := raw[i].Text()
		if !ok {
			text = raw[i]
		}
		city[name] = string(text)
	}
	key := city["country"] + "/" + city["admin1"] + "/" + city["name"]
	value := `{"id":` + city["id"] + `,"population":` + city["population"] + `}`
	out.Emit(0, []byte(key), []byte(value))
}
