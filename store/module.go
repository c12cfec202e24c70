package store

import (
	"errors"
	"fmt"
	"os"
)

// moduleFile is the name of the module in the directory of a generation, beside Pebble's files.
const moduleFile = "module.wasm"

// KeepModule keeps the module that a generation is made by beside its rows, so that it can be followed when another one is
// configured. Where one is kept already, it stays.
func (db *DB) KeepModule(wasm []byte) error {
	name := db.dir.fs.PathJoin(db.path, moduleFile)
	if _, err := db.dir.fs.Stat(name); err == nil {
		return nil
	}
	return db.dir.replaceFile(name, wasm)
}

// Module returns what KeepModule kept.
func (db *DB) Module() ([]byte, error) {
	wasm, err := readFile(db.dir.fs, db.dir.fs.PathJoin(db.path, moduleFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("store: %s keeps no module", db.path)
	}
	if err != nil {
		return nil, fmt.Errorf("store: module of %s: %w", db.path, err)
	}
	return wasm, nil
}
