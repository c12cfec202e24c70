package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMap: the map in doc.go has a place for each file, and names none that there is not. A verb has a file of its name.
func TestMap(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, line := range regexp.MustCompile(`(?m)^//\t(.{26}) \S`).FindAllStringSubmatch(string(doc), -1) {
		places = append(places, strings.Fields(line[1])...)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(name string) bool { return name == "doc.go" || strings.HasSuffix(name, "_test.go") })
	for _, name := range files {
		if !slices.ContainsFunc(places, func(place string) bool { return strings.HasPrefix(name, place) }) {
			t.Errorf("doc.go does not say what %s is", name)
		}
	}
	for _, place := range places {
		if !slices.ContainsFunc(files, func(name string) bool { return strings.HasPrefix(name, place) }) {
			t.Errorf("doc.go has %s, and there is no such file", place)
		}
	}
	for _, command := range commands {
		if name := command().Name(); !slices.Contains(files, name+".go") || !slices.Contains(places, name) {
			t.Errorf("the verb %s has no file, or no place in doc.go", name)
		}
	}
}
