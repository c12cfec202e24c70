// Large-cities keeps the cities of at least min_population people, as they are.
package main

import (
	"errors"

	"cities/foldrun"
)

func init() {
	foldrun.Configure(configure)
	foldrun.Register(transform)
}

func main() {}

var minPopulation = 1e6

func configure(config []byte) error {
	raw := foldrun.Field(config, "min_population")
	if raw == nil {
		return nil
	}
	n, ok := raw.Float()
	if !ok {
		return errors.New("min_population is not a number")
	}
	minPopulation = n
	return nil
}

func transform(r *foldrun.Record, out *foldrun.Out) {
	population, ok := foldrun.Field(r.Value(), "population").Float()
	if !ok {
		out.Error(1, "no population")
		return
	}
	if population < minPopulation {
		out.Skip()
		return
	}
	out.Emit(0, r.Key(), r.Value())
}
