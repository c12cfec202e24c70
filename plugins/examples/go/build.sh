#!/bin/sh
# Build the plugins of this folder, each with its manifest in it: build.sh [NAME ...], without names all.
#
# NAME/*.go and NAME/manifest.json make NAME/NAME.wasm. It needs Go alone. The same sources and the same Go give the
# same bytes, wherever the folder lies and whatever commit is checked out.
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- */manifest.json

for name; do
	name=${name%%/*}
	wasm=$PWD/$name/$name.wasm
	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -buildvcs=false -trimpath -ldflags='-s -w' -o "$wasm" "./$name"
	(cd .. && go run manifest.go "go/$name/manifest.json" "$wasm")
	echo "go/$name/$name.wasm: $(wc -c <"$wasm") bytes"
done
