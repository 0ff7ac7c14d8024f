#!/bin/sh
# mux against three ways to do without it: table on stdout, mux.json and mux.png in build/bench.
# Arguments (or $BENCH_ARGS, for make) go to bench_mux: --quick, --case GLOB, --help.
set -eu
out=${BUILD:-build}/bench
mkdir -p "$out"
# shellcheck disable=SC2086
exec "$out/bench_mux" --out "$out" ${BENCH_ARGS:-} "$@"
