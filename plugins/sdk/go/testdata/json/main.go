// Json does what by-country does with encoding/json.
package main

import (
	"encoding/json"

	"tried/foldrun"
)

func init() { foldrun.Register(transform) }

func main() {}

type city struct {
	ID         int64  `json:"id"`
	Name       string `json:"name"`
	Country    string `json:"country"`
	Admin1     string `json:"admin1"`
	Population int64  `json:"population"`
}

func transform(r *foldrun.Record, out *foldrun.Out) {
	var c city
	if err := json.Unmarshal(r.Value(), &c); err != nil {
		out.Error(1, err.Error())
		return
	}
	value, err := json.Marshal(struct {
		ID         int64 `json:"id"`
		Population int64 `json:"population"`
	}{c.ID, c.Population})
	if err != nil {
		out.Error(2, err.Error())
		return
	}
	out.Emit(0, []byte(c.Country+"/"+c.Admin1+"/"+c.Name), value)
}
