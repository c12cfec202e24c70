#!/bin/sh
# Build C plugins, each with its manifest in it.
#
#   build.sh [--check] [SOURCE.c ...]      without sources: */plugin.c here
#
# NAME/plugin.c and NAME/manifest.json make NAME/NAME.wasm; any other X.c and X.json make X.wasm.
# With --check nothing is written: modules are built beside, and the exit code is 1 if a committed one
# differs. The same compiler gives the same bytes; the committed ones are by clang 19.1.7.
# CLANG names another clang. Without one, this says what to install and succeeds.
set -eu

check=
if [ "${1:-}" = --check ]; then
	check=yes
	shift
fi
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- "$here"/*/plugin.c

clang=${CLANG:-clang-19}
if ! command -v "$clang" >/dev/null; then
	echo "build.sh: skipped: no $clang (apt-get install clang-19 lld-19, or set CLANG)" >&2
	exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
built=$scratch/module.wasm
differ=0

for source; do
	stem=${source%.c}
	manifest=$stem.json
	if [ "${source##*/}" = plugin.c ]; then
		folder=${source%/plugin.c}
		stem=$folder/${folder##*/}
		manifest=$folder/manifest.json
	fi
	"$clang" --target=wasm32 -std=c11 -ffreestanding -O2 -mbulk-memory -nostdlib -Wall -Wextra -Werror \
		-I "$here/../sdk/c" -Wl,--no-entry -Wl,--strip-all -Wl,--stack-first -o "$built" "$source"
	(cd "$here" && go run manifest.go "$manifest" "$built")
	if [ -z "$check" ]; then
		install -m 644 "$built" "$stem.wasm"
		echo "$stem.wasm: $(wc -c <"$stem.wasm") bytes"
	elif ! cmp -s "$built" "$stem.wasm"; then
		echo "build.sh: $stem.wasm is not what $source gives with $("$clang" --version | head -n 1): run build.sh" >&2
		differ=1
	fi
done
exit $differ
