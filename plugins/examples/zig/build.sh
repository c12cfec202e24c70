#!/bin/sh
# Build the plugins of this folder: build.sh [NAME ...], without names all. plugins/build.sh says what that needs.
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- */foldrun.plugin.toml
for name; do
	name=${name%%/*}
	../../build.sh "$name" "$name/$name.wasm"
done
