// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * client - a load for the RPC servers of these examples; every answer is checked.
 *
 * usage: client [-c CONNECTIONS] [-d DEPTH] [-t SECONDS] [-b BYTES] [-s MS] [-r] ADDR:PORT
 *	-d requests without an answer per connection	-b longest text
 *	-s one request of 20 sleeps so long	-r a request may be answered twice (at least once)
 */
#include <arpa/inet.h>
#include <pthread.h>

#include "common.h"

#define TEXT_MAX  4096
#define CONNS_MAX 256
#define AHEAD_MAX 65536 /* bytes that surely fit into the socket buffers: we send and then read */
#define LATENCIES 100000

static unsigned long conns = 8, depth = 16, seconds = 5, bytes = 500, sleep_ms, repeats;
static unsigned long answered, again, took_us[LATENCIES]; /* a histogram, 1 us a place */
static const char *server;
static uint64_t end_ns;

/* A request, or its answer: both follow from the number alone. Return: length. */
static size_t make_text(uint64_t id, int answer, char *out)
{
	uint64_t hash = id * 0x9e3779b97f4a7c15ULL >> 32, len = hash % (bytes + 1);
	size_t n = (size_t)sprintf(out, "%lu %s", id, answer ? "ok " : "");

	if (sleep_ms && hash % 20 == 0)
		return n + (size_t)sprintf(out + n, answer ? "slept %lu" : "sleep %lu", sleep_ms);
	if (hash % 3 == 0)
		return n + (size_t)(answer ? sprintf(out + n, "%lu", id + len)
					   : sprintf(out + n, "sum %lu %lu", id, len));
	if (!answer)
		n += (size_t)sprintf(out + n, hash % 3 == 1 ? "echo " : "upper ");
	for (uint64_t i = 0; i < len; i++)
		out[n++] = (char)((hash % 3 == 1 || !answer ? 'a' : 'A') + (int)((id + i) % 26));
	return n;
}

static void ask(int fd, const char *text, size_t n)
{
	char out[TEXT_MAX + 4];
	uint32_t head = htonl((uint32_t)n);

	memcpy(out, &head, 4);
	memcpy(out + 4, text, n);
	if (send(fd, out, n + 4, MSG_NOSIGNAL) != (ssize_t)n + 4)
		die(-errno, "send");
}

static size_t answer(FILE *in, char *text)
{
	uint32_t n;

	if (fread(&n, 4, 1, in) != 1 || ntohl(n) >= TEXT_MAX || fread(text, ntohl(n), 1, in) != 1)
		die(0, "no answer after %lu: connection closed, or bad length", answered);
	text[ntohl(n)] = 0;
	return ntohl(n);
}

static void *run(void *arg)
{
	/* Request number n of a place: n * depth + place. Free places have no request. */
	uint64_t id[depth], since[depth], next = 1, out = 0, got, place, us;
	char text[TEXT_MAX], want[TEXT_MAX];
	int fd = tcp_open(server, 0);
	FILE *in = fdopen(fd, "r");
	size_t n;

	memset(id, 0, sizeof(id));
	for (;;) {
		for (uint64_t i = 0; i < depth && now_ns() < end_ns; i++)
			if (!id[i]) {
				id[i] = next++ * depth + i;
				since[i] = now_ns();
				ask(fd, text, make_text(id[i], 0, text));
				out++;
			}
		if (!out)
			break;
		n = answer(in, text);
		got = strtoull(text, NULL, 10);
		place = got % depth; /* NOLINT(clang-analyzer-core.DivideZero): see main() */
		if (!got || got / depth >= next || make_text(got, 1, want) != n ||
		    memcmp(text, want, n))
			die(0, "wrong answer: %.200s", text);
		if (id[place] != got) {
			if (!repeats)
				die(0, "answered twice: %.200s", text);
			__atomic_fetch_add(&again, 1, __ATOMIC_RELAXED);
			continue;
		}
		us = (now_ns() - since[place]) / 1000;
		__atomic_fetch_add(&took_us[us < LATENCIES ? us : LATENCIES - 1], 1,
				   __ATOMIC_RELAXED);
		__atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
		id[place] = 0;
		out--;
	}
	fclose(in);
	return arg;
}

static unsigned long percentile(unsigned long percent)
{
	unsigned long us = 0, sum = took_us[0];

	while (us < LATENCIES - 1 && sum * 100 < answered * percent)
		sum += took_us[++us];
	return us;
}

int main(int argc, char **argv)
{
	unsigned long *const option[] = { &conns, &depth, &seconds, &bytes, &sleep_ms };
	pthread_t threads[CONNS_MAX];
	int ch, err;

	while ((ch = getopt(argc, argv, "c:d:t:b:s:r")) != -1) {
		if (ch == '?')
			return 2;
		if (ch == 'r')
			repeats = 1;
		else
			*option[strchr("cdtbs", ch) - "cdtbs"] = strtoul(optarg, NULL, 10);
	}
	server = argv[optind];
	if (argc != optind + 1 || !conns || conns > CONNS_MAX || !depth || bytes > TEXT_MAX - 64 ||
	    depth > AHEAD_MAX / (bytes + 64))
		die(0, "usage: client [-c N] [-d N] [-t S] [-b N] [-s MS] [-r] ADDR:PORT");
	end_ns = now_ns() + seconds * 1000000000ULL;
	for (unsigned long i = 0; i < conns; i++) {
		err = pthread_create(&threads[i], NULL, run, NULL);
		if (err)
			die(-err, "start a thread");
	}
	for (unsigned long i = 0; i < conns; i++)
		pthread_join(threads[i], NULL);
	printf("%lu answers, all right; %lu repeated; %lu/s; p50 %lu us, p99 %lu us\n", answered,
	       again, answered / (seconds ?: 1), percentile(50), percentile(99));
	return answered ? 0 : 1;
}
