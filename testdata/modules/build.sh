#!/bin/sh
# Build the test modules: build.sh [--check]. plugins/examples/build.sh says what that does and needs. odd.wasm is by
# wat2wasm of wabt 1.0.32; without one it is left as it is.
set -eu
cd "$(dirname "$0")"
if command -v wat2wasm >/dev/null; then
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	wat2wasm -o "$scratch/odd.wasm" odd.wat
	(cd ../../plugins/examples && go run manifest.go "$OLDPWD/odd.json" "$scratch/odd.wasm")
	if [ "${1:-}" != --check ]; then
		install -m 644 "$scratch/odd.wasm" odd.wasm
	elif ! cmp -s "$scratch/odd.wasm" odd.wasm; then
		echo "build.sh: odd.wasm is not what odd.wat gives with wat2wasm $(wat2wasm --version): run build.sh" >&2
		exit 1
	fi
fi
../../plugins/examples/build.sh "$@" "$PWD"/*.c
