#!/bin/sh
# rx against other ways to receive: a table, and build/bench/rx.json.
# Arguments (or $BENCH_ARGS, for make) go to bench_rx: --quick, --part NAME, --help.
set -eu
out=${BUILD:-build}/bench
mkdir -p "$out"
# shellcheck disable=SC2086
exec "$out/bench_rx" --out "$out" --kcmtool "${BUILD:-build}/kcmtool" ${BENCH_ARGS:-} "$@"
