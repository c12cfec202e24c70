#!/bin/sh
# Build the plugins of this folder, in WAT: build.sh [--check]. plugins/build.sh says what that does.
set -eu
cd "$(dirname "$0")"
if ! command -v wat2wasm >/dev/null; then
	echo "build.sh: skipped: no wat2wasm (apt-get install wabt)" >&2
	exit 0
fi
module=$(mktemp)
trap 'rm -f "$module"' EXIT
for source in */plugin.wat; do
	name=${source%/*}
	wat2wasm "$source" -o "$module"
	../../build.sh ${1:+"$1"} "$name" "$name/$name.wasm" --wasm "$module"
done
