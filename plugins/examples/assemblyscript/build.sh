#!/bin/sh
# Build the plugins of this folder: build.sh [--check] [NAME ...], without names all. plugins/build.sh says what that does
# and needs.
set -eu
cd "$(dirname "$0")"
check=
if [ "${1:-}" = --check ]; then
	check=--check
	shift
fi
[ $# -gt 0 ] || set -- */plugin.ts
for name; do
	name=${name%%/*}
	../../build.sh $check "$name" "$name/$name.wasm"
done
