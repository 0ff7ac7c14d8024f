# Shared by the .bats files: `load common`.
# shellcheck shell=bash disable=SC2034
ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BUILD=${BUILD:-$ROOT/build}
KCMTOOL=${KCMTOOL:-$BUILD/kcmtool}
PINS=/sys/fs/bpf/kcm

kcm() { "$KCMTOOL" "$@"; }

# Nothing of ours is pinned, staged or half removed.
nothing_pinned() { [[ ! -e $PINS ]]; }

# Run with only these capabilities, as an ordinary user: as_user CAP,CAP|none COMMAND...
as_user() {
	local caps=$1
	shift
	if [[ $caps == none ]]; then
		capsh --user=nobody -- -c '"$@"' bash "$@"
	else
		capsh --keep=1 --user=nobody --inh="$caps" --addamb="$caps" -- -c '"$@"' bash "$@"
	fi
}
