#!/bin/sh
# Build the test modules: build.sh [--check]. plugins/build.sh says what that does and needs. odd.wasm is by wat2wasm of
# wabt 1.0.32; without one it is left as it is.
set -eu
cd "$(dirname "$0")"
for source in */plugin.c; do
	name=${source%/plugin.c}
	../../plugins/build.sh "$@" "$name" "$name.wasm"
done
if command -v wat2wasm >/dev/null; then
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	wat2wasm -o "$scratch/odd.wasm" odd/odd.wat
	../../plugins/build.sh "$@" odd odd.wasm --wasm "$scratch/odd.wasm"
fi
