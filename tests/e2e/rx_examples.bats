#!/usr/bin/env bats
# The examples of rx: objects sent and received, a download from a server that knows nothing of it.
# shellcheck disable=SC2030,SC2031 # each test has its own PIDS
bats_require_minimum_version 1.5.0
load common

EX=$BUILD/examples

setup() {
	PIDS=()
	cd "$BATS_TEST_TMPDIR" || return 1
}

teardown() {
	local pid
	for pid in "${PIDS[@]}"; do
		kill -TERM "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	kcm unload --force >&2 || true
	nothing_pinned
}

eventually() { # command...
	for _ in {1..600}; do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.05
	done
	echo "never true: $*" >&2
	"$@"
}

# receiver CONNECTIONS [MODE]: its pid in $RX, its address in $AT
receiver() {
	rm -f recv
	"$EX/object_recv" -n "$1" 127.0.0.1:0 "${@:2}" >recv 2>&1 3>&- &
	RX=$!
	PIDS+=("$RX")
	eventually grep -q 'listening on' recv
	AT=127.0.0.1:$(sed -n 's/listening on //p' recv)
}

@test "objects of all sizes, made up and from files, mapped or not" {
	head -c 5000001 /dev/urandom >some
	: >empty
	for mode in auto map copy; do
		receiver 2 "$mode"
		"$EX/object_send" "$AT" 1 4095 4096 4097 1M 1048577 64M >&2
		"$EX/object_send" "$AT" some empty 3M some >&2
		wait "$RX" || { cat recv >&2 && false; }
		cat recv >&2
		[[ $(grep -c 'sum is right' recv) == 11 ]]
		grep -q '^object 6: 67108864 bytes, sum is right$' recv
		grep -q '^object 1: 0 bytes, sum is right$' recv
	done
}

@test "tuned, most of a large object is mapped" {
	receiver 1 map
	kcm rx tune --port "${AT##*:}" >&2
	"$EX/object_send" "$AT" 256M >&2
	wait "$RX" || { cat recv >&2 && false; }
	cat recv >&2
	[[ $(cat recv) =~ ([0-9]+)\.[0-9]%" of" ]]
	((BASH_REMATCH[1] >= 90))
}

@test "an object that ends early, or is not one, is an error" {
	receiver 1
	run -0 bash -c "printf '\0\0\0\5hello' >/dev/tcp/127.0.0.1/${AT##*:}"
	run ! wait "$RX"
	grep -q 'connection ended at byte 0 of object 0: Broken pipe' recv
	receiver 1
	# A header that promises five bytes and a sum, and a body; then a part from elsewhere.
	python3 - "${AT##*:}" <<'PY'
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(struct.pack(">IIQQQ32x", 5, 0, 5, 0, 0) + b"hello")
s.sendall(struct.pack(">IIQQQ32x", 0, 0, 5, 5, 12345))
s.recv(1)
PY
	run ! wait "$RX"
	grep -q 'object 0: 5 of 5 bytes, or a wrong sum' recv
}

@test "a download from nginx, and from a server without ranges" {
	mkdir www run
	head -c 50000001 /dev/urandom >www/file
	cat >nginx.conf <<-CONF
		user root; daemon off; error_log stderr; pid run/pid; worker_processes 1;
		events { }
		http {
			access_log off; client_body_temp_path run; proxy_temp_path run;
			fastcgi_temp_path run; uwsgi_temp_path run; scgi_temp_path run;
			server { listen 127.0.0.1:7961; root www; sendfile on; }
			server { listen 127.0.0.1:7962; root www; sendfile off; }
			server { listen 127.0.0.1:7963; root www; max_ranges 0; }
		}
	CONF

	nginx -p "$PWD" -c nginx.conf >log 2>&1 3>&- &
	PIDS+=("$!")
	eventually curl -so /dev/null http://127.0.0.1:7963/file
	for port in 7961 7962 7963; do
		for mode in auto map copy; do
			run -0 "$EX/http_get" "127.0.0.1:$port/file" got "$mode"
			echo "$port $mode: $output" >&2
			[[ $output == "50000001 bytes in "* ]]
			cmp got www/file
		done
	done
	# Clients can be tuned, too: a program that knows nothing of it asks for whole pages.
	kcm rx tune --connect --port 7961 >&2
	curl -so got http://127.0.0.1:7961/file
	cmp got www/file
	"$EX/http_get" 127.0.0.1:7961/file got >&2
	cmp got www/file
	[[ $(kcm -j rx show | jq -c '.tuned[0] | [.connects, .listeners, .refused]') == '[2,1,0]' ]]
	kcm rx untune port7961 >&2
	run -1 "$EX/http_get" 127.0.0.1:7961/nowhere got
	[[ $output == *"the server says: HTTP/1.1 404 Not Found"* ]]
}
