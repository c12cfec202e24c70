#!/bin/sh
# Build the hostile modules: build.sh [--check]. generate.go writes them as text, wat2wasm of wabt 1.0.32 (Debian's wabt)
# assembles them. With --check nothing is written, and the exit code is 1 where what is committed is another. Without a
# wat2wasm this says so and succeeds.
set -eu
cd "$(dirname "$0")"
if ! command -v wat2wasm >/dev/null; then
	echo "build.sh: skipped: no wat2wasm (apt-get install wabt)" >&2
	exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
go run generate.go "$scratch"
for f in "$scratch"/*.wat; do
	wat2wasm --no-check --enable-threads --enable-memory64 --enable-multi-memory --enable-tail-call --enable-exceptions -o "${f%.wat}.wasm" "$f"
done
go run generate.go -manifest "$scratch"
if [ "${1:-}" != --check ]; then
	rm -f -- *.wat *.wasm
	install -m 644 "$scratch"/* .
	exit
fi
for f in "$scratch"/* *.wat *.wasm; do
	if ! cmp -s "$scratch/${f##*/}" "${f##*/}"; then
		echo "build.sh: ${f##*/} is not what generate.go gives here: run build.sh without --check" >&2
		exit 1
	fi
done
