#!/bin/sh
# Build one plugin of this repository: build.sh [--check] DIR OUT.wasm [FLAG ...], the flags for `foldrun plugin build`.
#
# With --check nothing is written: the module is built beside, and the exit code is 1 if OUT.wasm is another. The same
# compiler gives the same bytes; the committed modules are by clang 19.1.7 and AssemblyScript 0.28.20. CLANG names another
# clang, and a wasm-opt in $PATH, as node_modules/.bin has one, makes it write other bytes. Without a compiler, this says what
# to install and succeeds.
set -eu
check=
if [ "$1" = --check ]; then
	check=yes
	shift
fi
dir=$(cd "$1" && pwd) out=$2
shift 2

export CLANG="${CLANG:-clang-19}"
if [ -e "$dir/plugin.c" ] && ! command -v "$CLANG" >/dev/null; then
	echo "build.sh: skipped: no $CLANG (apt-get install clang-19 lld-19, or set CLANG)" >&2
	exit 0
fi
if [ -e "$dir/plugin.ts" ] && ! command -v asc >/dev/null; then
	echo "build.sh: skipped: no asc (npm i --ignore-scripts assemblyscript@0.28.20, and its node_modules/.bin in \$PATH)" >&2
	exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
go -C "$(dirname "$0")/.." run ./cmd/foldrun plugin build "$dir" -o "$scratch/module.wasm" "$@" >/dev/null 2>"$scratch/said" || failed=yes
if [ -s "$scratch/said" ]; then # a warning too is a mistake here
	cat "$scratch/said" >&2
	exit 1
fi
[ -z "${failed:-}" ]
if [ -z "$check" ]; then
	install -m 644 "$scratch/module.wasm" "$out"
	echo "$out: $(wc -c <"$out") bytes"
elif ! cmp -s "$scratch/module.wasm" "$out"; then
	echo "build.sh: $out is not what $dir gives here: run build.sh without --check" >&2
	exit 1
fi
