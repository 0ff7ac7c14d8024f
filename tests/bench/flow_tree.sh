#!/bin/sh
# What it costs to compile flow's policies, and to find the policy of a packet: a table.
set -eu
exec "${BUILD:-build}/bench/bench_flow_tree"
