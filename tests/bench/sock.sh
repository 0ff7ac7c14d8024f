#!/bin/sh
# sock against other ways to keep and read state of sockets: a table, and build/bench/sock.json.
# Arguments (or $BENCH_ARGS, for make) go to bench_sock: --quick, --part NAME, --help.
set -eu
out=${BUILD:-build}/bench
mkdir -p "$out"
# shellcheck disable=SC2086
exec "$out/bench_sock" --out "$out" --kcmtool "${BUILD:-build}/kcmtool" ${BENCH_ARGS:-} "$@"
