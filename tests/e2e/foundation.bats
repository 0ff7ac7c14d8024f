#!/usr/bin/env bats
# The command line: table, help, completion, manual pages, output, exit codes.
bats_require_minimum_version 1.5.0
load common

@test "bare call shows usage on stderr and exits 2; help and --help exit 0 on stdout" {
	run -2 kcm
	[[ $output == usage:* ]]
	[[ -z $(kcm 2>/dev/null || true) ]]
	for call in help --help -h; do
		text=$(kcm $call 2>/dev/null)
		[[ $text == usage:* ]]
	done
}

# All commands of the table, one "object verb" or "verb" a line.
commands() {
	{
		kcm help --rst
		for object in $(objects); do
			kcm help --rst "$object"
		done
	} | sed -n 's/^kcmtool \([a-z].*\)/\1/p' | while read -r a b _; do
		if objects | grep -qx -- "$a"; then echo "$a $b"; else echo "$a"; fi
	done
}

objects() { kcm help | sed -n '/^Objects/,/^$/s/^  \([a-z]*\) .*/\1/p'; }

@test "the table has commands and objects" {
	[[ $(commands) == *load* ]]
	objects | grep -qx mux
}

@test "every command has --help, which exits 0 and names the command" {
	while read -r command; do
		# shellcheck disable=SC2086
		run -0 kcm $command --help
		[[ $output == "usage: kcmtool $command"* ]]
	done < <(commands)
}

@test "unknown commands, objects' verbs and options exit 2 with the nearest one" {
	run -2 kcm laod
	[[ $output == "kcmtool: unknown command 'laod'; try: kcmtool load" ]]
	run -2 kcm load --forse
	[[ $output == "kcmtool: unknown option '--forse'; try: --force" ]]
	run -2 kcm mux nosuchverb
	[[ $output == "kcmtool: unknown command 'mux nosuchverb'; try: kcmtool mux help" ]]
	run -2 kcm load nosuch
	[[ $output == *"unknown system 'nosuch'"* ]]
	run -2 kcm version extra
	[[ $output == *"unexpected argument 'extra'"* ]]
	run -2 kcm completion
	[[ $output == *"missing argument: expected 'SHELL'"* ]]
	run -2 kcm load --force=1
	[[ $output == *"no value is allowed for option 'force'"* ]]
	run -2 kcm version -- x
}

@test "errors are one line on stderr, and stdout stays clean" {
	for call in laod "load nosuch" "unload mux" "completion tcsh"; do
		# shellcheck disable=SC2086
		[[ -z $(kcm $call 2>/dev/null) ]]
		# shellcheck disable=SC2086
		[[ $(kcm $call 2>&1 >/dev/null | wc -l) == 1 ]]
	done
}

@test "JSON is valid, has schema 1, and -p only adds white space" {
	for call in version doctor; do
		kcm -j $call | jq -e '.schema == 1'
		[[ $(kcm -j $call | jq -S .) == "$(kcm -p $call | jq -S .)" ]]
		[[ $(kcm -j $call | wc -l) == 1 ]]
		[[ $(kcm $call -j) == "$(kcm -j $call)" ]]
	done
	run -7 --separate-stderr kcm -j status
	jq -e '.schema == 1 and .instances == []' <<<"$output"
}

@test "a full disk is a failure, a reader that had enough is none" {
	run -1 bash -c '"$0" version > /dev/full' "$KCMTOOL"
	run -0 bash -c 'set -o pipefail; "$0" doctor | :' "$KCMTOOL"
}

@test "bash completion offers exactly the table's commands, options and systems" {
	kcm completion bash >"$BATS_TEST_TMPDIR/c"
	shellcheck -s bash "$BATS_TEST_TMPDIR/c"
	# shellcheck disable=SC1091
	source "$BATS_TEST_TMPDIR/c"
	complete_words() {
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_kcmtool
		printf '%s\n' "${COMPREPLY[@]}" | sort
	}
	expected=$({ commands | grep -v ' '; objects; } | sort)
	[[ $(complete_words kcmtool "") == "$expected" ]]
	[[ $(complete_words kcmtool -j "") == "$expected" ]]
	[[ $(complete_words kcmtool unl) == unload ]]
	[[ $(complete_words kcmtool load --f) == --force ]]
	[[ $(complete_words kcmtool load mu) == mux ]]
	[[ $(complete_words kcmtool completion "") == $'bash\nzsh' ]]
	for object in $(objects); do
		expected=$({ commands | sed -n "s/^$object //p"; echo help; } | sort)
		[[ $(complete_words kcmtool "$object" "") == "$expected" ]]
	done
}

@test "zsh completion is valid and names every command" {
	kcm completion zsh >"$BATS_TEST_TMPDIR/c"
	zsh -fn "$BATS_TEST_TMPDIR/c"
	while read -r object verb; do
		grep -qF "\"${verb:+$object }${verb:-" $object"}\"" "$BATS_TEST_TMPDIR/c"
	done < <(commands)
}

@test "manual pages are built, and name every command of the table" {
	MANPAGER=cat MANWIDTH=1000 man --nj --nh -l "$BUILD/man/kcmtool.8" | tr -s " " >"$BATS_TEST_TMPDIR/core"
	commands | grep -v ' ' | while read -r verb; do
		grep -q "kcmtool $verb" "$BATS_TEST_TMPDIR/core"
	done
	for object in $(objects); do
		MANPAGER=cat MANWIDTH=1000 man --nj --nh -l "$BUILD/man/kcmtool-$object.8" | tr -s " " >"$BATS_TEST_TMPDIR/o"
		commands | sed -n "s/^$object //p" | while read -r verb; do
			grep -q "kcmtool $object $verb" "$BATS_TEST_TMPDIR/o"
		done
	done
}

@test "exit codes are the same in README, manual page and help" {
	for code in 0 1 2 3 4 6 7; do
		grep -qE "^\| $code +\|" "$ROOT/README.md"
		grep -qE "^$code\$" "$ROOT/src/man/kcmtool.8.rst.in"
		kcm help | grep -qE "(status:|,|^) ?$code "
	done
}

@test "make install puts everything in its place, and a program builds against it" {
	make -s -C "$ROOT" install BUILD="$BUILD" DESTDIR="$BATS_TEST_TMPDIR/d" PREFIX=/usr >&2
	cd "$BATS_TEST_TMPDIR/d/usr"
	for f in sbin/kcmtool lib/libkcm.so.0 lib/libkcm.so lib/libkcm.a include/kcm.h \
		lib/pkgconfig/kcm.pc share/man/man8/kcmtool.8 lib/systemd/system/kcmtool.service \
		share/bash-completion/completions/kcmtool share/zsh/site-functions/_kcmtool; do
		[[ -s $f ]]
	done
	sbin/kcmtool version
	readelf -d lib/libkcm.so.0 | grep -q 'SONAME.*libkcm.so.0'
	cat >"$BATS_TEST_TMPDIR/use.c" <<-'EOF'
		#include <kcm.h>
		int main(void) { return kcm_mux_delete("no-such-mux", 0) ? 0 : 1; }
	EOF
	export PKG_CONFIG_PATH=$PWD/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$BATS_TEST_TMPDIR/d
	# shellcheck disable=SC2046
	cc -Wall -Werror "$BATS_TEST_TMPDIR/use.c" -o "$BATS_TEST_TMPDIR/use" \
		$(PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 pkg-config --cflags --libs kcm)
	LD_LIBRARY_PATH=$PWD/lib "$BATS_TEST_TMPDIR/use"
}

@test "libkcm exports what its headers declare, under a version, and nothing else" {
	nm -D --defined-only "$BUILD/libkcm.so.0" | awk '$2 != "A" { print $3 }' | sort >"$BATS_TEST_TMPDIR/have"
	cat "$ROOT"/src/lib/kcm*.h | tr '\n' ' ' |
		sed 's|/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/| |g' |
		grep -oE '[a-z0-9_]+ +\**kcm_[a-z0-9_]+\(' | grep -oE 'kcm_[a-z0-9_]+\(' | tr -d '(' |
		sed 's/$/@@KCM_0/' | sort -u >"$BATS_TEST_TMPDIR/want"
	diff "$BATS_TEST_TMPDIR/want" "$BATS_TEST_TMPDIR/have"
}
