#!/bin/sh
# What migrate costs: a table, and build/bench/migrate.json.
# Arguments (or $BENCH_ARGS, for make) go to bench_migrate: --quick, --part NAME, --help.
set -eu
out=${BUILD:-build}/bench
mkdir -p "$out"
# shellcheck disable=SC2086
exec "$out/bench_migrate" --out "$out" ${BENCH_ARGS:-} "$@"
