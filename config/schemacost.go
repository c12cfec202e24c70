package config

import (
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A schema is a stranger's, and the library goes down every path of it: thirty lines, each of which asks twice for the
// line below, are a thousand million steps. So the steps are counted first, each pair of a schema and a value once.

// maxSteps bounds what holding a config against a schema may take. A step takes about a microsecond.
const maxSteps = 1_000_000

// costly reports whether holding v against s may take more than maxSteps. It takes no more than that itself.
func costly(s *jsonschema.Schema, v any) bool {
	c := &cost{memo: map[pair]int{}}
	return c.of(s, newNode(v)) > maxSteps || len(c.memo) > maxSteps
}

// A node is a value, by its place.
type node struct {
	value  any
	fields map[string]*node
	items  []*node
}

func newNode(v any) *node {
	n := &node{value: v}
	switch v := v.(type) {
	case map[string]any:
		n.fields = map[string]*node{}
		for key, value := range v {
			n.fields[key] = newNode(value)
		}
	case []any:
		for _, value := range v {
			n.items = append(n.items, newNode(value))
		}
	}
	return n
}

type pair struct {
	schema *jsonschema.Schema
	node   *node
}

type cost struct{ memo map[pair]int }

// of bounds the steps for one schema and one value. A cycle that stays at one value is the library's to refuse.
func (c *cost) of(s *jsonschema.Schema, n *node) int {
	if s == nil {
		return 0
	}
	if steps, ok := c.memo[pair{s, n}]; ok {
		return steps
	}
	if len(c.memo) > maxSteps {
		return maxSteps + 1
	}
	c.memo[pair{s, n}] = 0
	steps := 1 + len(s.Required) + len(n.fields) + len(n.items)
	for _, t := range here(s) {
		steps = min(steps+c.of(t, n), maxSteps+1)
	}
	for key, child := range n.fields {
		for _, t := range below(s, key) {
			steps = min(steps+c.of(t, child), maxSteps+1)
		}
	}
	for i, child := range n.items {
		for _, t := range inList(s, i) {
			steps = min(steps+c.of(t, child), maxSteps+1)
		}
	}
	c.memo[pair{s, n}] = steps
	return steps
}

// here returns the schemas that s holds the same value against.
func here(s *jsonschema.Schema) []*jsonschema.Schema {
	all := []*jsonschema.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else}
	if s.DynamicRef != nil {
		all = append(all, s.DynamicRef.Ref)
	}
	all = append(append(append(all, s.AllOf...), s.AnyOf...), s.OneOf...)
	all = slices.AppendSeq(all, maps.Values(s.DependentSchemas))
	for _, d := range s.Dependencies {
		all = append(all, asSchema(d))
	}
	return all
}

// below returns the schemas that s may hold the value of a key against.
func below(s *jsonschema.Schema, key string) []*jsonschema.Schema {
	all := []*jsonschema.Schema{s.Properties[key], s.PropertyNames, s.UnevaluatedProperties, asSchema(s.AdditionalProperties)}
	return slices.AppendSeq(all, maps.Values(s.PatternProperties))
}

// inList returns the schemas that s may hold the value at a place of a list against.
func inList(s *jsonschema.Schema, i int) []*jsonschema.Schema {
	all := []*jsonschema.Schema{s.Contains, s.Items2020, s.UnevaluatedItems, asSchema(s.Items), asSchema(s.AdditionalItems)}
	if i < len(s.PrefixItems) {
		all = append(all, s.PrefixItems[i])
	}
	if list, ok := s.Items.([]*jsonschema.Schema); ok && i < len(list) {
		all = append(all, list[i])
	}
	return all
}

func asSchema(v any) *jsonschema.Schema {
	s, _ := v.(*jsonschema.Schema)
	return s
}
