#!/bin/sh
# Build the test modules: build.sh [--check]. plugins/examples/build.sh says what that does and needs.
set -eu
cd "$(dirname "$0")"
exec ../../plugins/examples/build.sh "$@" "$PWD"/*.c
