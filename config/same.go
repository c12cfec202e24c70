package config

import (
	"reflect"
	"slices"
)

// Same reports whether two folds are configured alike, wherever that is written.
func (f Fold) Same(g Fold) bool {
	f.File, g.File, f.lines, g.lines = "", "", nil, nil
	return reflect.DeepEqual(f, g)
}

// Beside names what differs in another configuration beside how its folds are configured: tables, and folds that one of
// the two lacks.
func (c *Config) Beside(d *Config) (all []string) {
	for _, x := range []struct {
		name string
		a, b any
	}{
		{"data_dir", c.DataDir, d.DataDir}, {"instance", c.Instance, d.Instance}, {"trusted_keys", c.TrustedKeys, d.TrustedKeys},
		{"[nats]", c.NATS, d.NATS}, {"[store]", c.Store, d.Store}, {"[http]", c.HTTP, d.HTTP}, {"[query]", c.Query, d.Query},
	} {
		if !reflect.DeepEqual(x.a, x.b) {
			all = append(all, x.name)
		}
	}
	return append(append(all, c.lacks(d, "(new)")...), d.lacks(c, "(gone)")...)
}

// lacks names the folds of another configuration that c has not, and says how that came.
func (c *Config) lacks(d *Config, how string) (all []string) {
	for _, f := range d.Folds {
		if !slices.ContainsFunc(c.Folds, func(g Fold) bool { return g.Name == f.Name }) {
			all = append(all, "[fold."+f.Name+"] "+how)
		}
	}
	return all
}
