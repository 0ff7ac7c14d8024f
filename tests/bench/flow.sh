#!/bin/sh
# How fast flow judges: a table, build/bench/flow.json and flow.svg. BENCH_SHORT=1: in two minutes.
# Arguments (or $BENCH_ARGS, for make) go to bench_flow: --quick, --part NAME, --help.
set -eu
out=${BUILD:-build}/bench
mkdir -p "$out"
tests/deps tests/bench/packages.txt || echo "flow.sh: peers that are missing are not measured" >&2
[ -z "${BENCH_SHORT:-}" ] || set -- --quick "$@"
status=0
# shellcheck disable=SC2086
"$out/bench_flow" --out "$out" --kcmtool "${BUILD:-build}/kcmtool" ${BENCH_ARGS:-} "$@" || status=$?
[ $status -gt 1 ] || tests/bench/flow_plot "$out/flow.json" "$out/flow.svg"
exit $status
