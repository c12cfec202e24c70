// Package sdk holds the SDKs, one file each, and the first plugin in each language: what `foldrun plugin new` writes.
package sdk

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

// The names of the files below new end in .txt, so that they are no part of this module. In them {{name}} is the
// plugin's name, {{Name}} the same at the start of a sentence, {{sdk}} what the manifest says of the SDK.
//
//go:embed go/foldrun.go c/foldrun.h rust/foldrun.rs assemblyscript/foldrun.ts zig/foldrun.zig all:new
var files embed.FS

// A Language is one that plugins may be written in.
type Language struct {
	Name string // on the command line
	sdk  string // for the manifest
	file string // the SDK, here
	at   string // and in a plugin's directory
}

// Languages are those there is an SDK for.
var Languages = []Language{
	{"go", "go 1", "go/foldrun.go", "foldrun/foldrun.go"},
	{"c", "c 1", "c/foldrun.h", "foldrun.h"},
	{"rust", "rust 1", "rust/foldrun.rs", "src/foldrun.rs"},
	{"as", "assemblyscript 1", "assemblyscript/foldrun.ts", "foldrun.ts"},
	{"zig", "zig 1", "zig/foldrun.zig", "foldrun.zig"},
}

// A File is one file of a project.
type File struct {
	Path string // with slashes, from the project's directory
	Text []byte
}

// Project returns the files of a new plugin, the ones to edit first. The name must be good for a manifest.
func (l Language) Project(name string) []File {
	fill := strings.NewReplacer("{{name}}", name, "{{Name}}", strings.ToUpper(name[:1])+name[1:], "{{sdk}}", l.sdk)
	var project []File
	root := "new/" + l.Name
	err := fs.WalkDir(files, root, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			project = append(project, filled(name, strings.TrimPrefix(name, root+"/"), fill))
		}
		return err
	})
	if err != nil {
		panic(err) // a Language is one of Languages
	}
	project = append(project, filled("new/foldrun.plugin.toml.txt", "foldrun.plugin.toml.txt", fill))
	project = append(project, filled("new/first.txtar.txt", "testdata/first.txtar.txt", fill))
	return append(project, l.SDK())
}

// SDK returns the SDK's one file, at its place in a plugin.
func (l Language) SDK() File { return File{l.at, read(l.file)} }

func filled(from, to string, fill *strings.Replacer) File {
	return File{strings.TrimSuffix(to, ".txt"), []byte(fill.Replace(string(read(from))))}
}

func read(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("sdk: %v", err)) // the names are ours
	}
	return b
}
