#!/bin/sh
# build.sh builds the hostile modules with wabt.
set -e
cd "$(dirname "$0")"
for f in *.wat; do wat2wasm "$f" -o "${f%.wat}.wasm"; done
