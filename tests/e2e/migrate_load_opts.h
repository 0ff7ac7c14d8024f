/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_load_opts.h - the command line of migrate_load.
 */
#ifndef MIGRATE_LOAD_OPTS_H
#define MIGRATE_LOAD_OPTS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "migrate_check.h"

#define THREADS_MAX 64

static const char usage[] =
	"usage: migrate_load ADDR PORT [OPTION]...\n"
	"  --seconds S       start new connections so long\n"
	"  --count N         start so many; without either: until SIGTERM\n"
	"  --threads T       default 1\n"
	"  --conc C          connections at a time, of each thread, default 64\n"
	"  --timeout S       of a connection, from its start to its end, default 5\n"
	"  --http FILE       GET it; the response must be it, with X-Id, X-Gen and X-Pid\n"
	"  --source PREFIX   source addresses: 127.9.0.0 (default), or the first 64 bits of IPv6\n"
	"  --fastopen        send the request in the SYN where that is possible\n"
	"  --progress FILE   \"DONE OK GENERATION...\": those that answered; always up to date\n"
	"  --killed FILE     \"ADDRESS PORT\" of what killed processes had accepted\n"
	"  --raced FILE      the same of what the kernel lost within close()\n"
	"  --log FILE        a line for each failure\n";

static struct {
	struct sockaddr_storage to;
	socklen_t to_len;
	struct sockaddr_storage source;
	bool many_sources, fastopen;
	double seconds;
	uint64_t count, timeout_ns;
	int threads, conc;
	const char *progress, *lists[WHOSE], *log;
} opt = { .threads = 1, .conc = 64, .timeout_ns = 5000000000ULL };

enum {
	SECONDS = 1,
	COUNT,
	THREADS_N,
	CONC,
	TIMEOUT,
	HTTP,
	SOURCE,
	FASTOPEN,
	PROGRESS,
	KILLED_LIST,
	RACED_LIST,
	LOG
};

static const struct option options[] = {
	{ "seconds", 1, NULL, SECONDS },
	{ "count", 1, NULL, COUNT },
	{ "threads", 1, NULL, THREADS_N },
	{ "conc", 1, NULL, CONC },
	{ "timeout", 1, NULL, TIMEOUT },
	{ "http", 1, NULL, HTTP },
	{ "source", 1, NULL, SOURCE },
	{ "fastopen", 0, NULL, FASTOPEN },
	{ "progress", 1, NULL, PROGRESS },
	{ "killed", 1, NULL, KILLED_LIST },
	{ "raced", 1, NULL, RACED_LIST },
	{ "log", 1, NULL, LOG },
	{ 0 },
};

/* Return: whether @c is an option with a value that can be. */
static bool option(int c)
{
	switch (c) {
	case SECONDS:
		opt.seconds = atof(optarg);
		return opt.seconds > 0;
	case COUNT:
		opt.count = strtoull(optarg, NULL, 10);
		return opt.count;
	case THREADS_N:
		opt.threads = atoi(optarg);
		return opt.threads > 0 && opt.threads <= THREADS_MAX;
	case CONC:
		opt.conc = atoi(optarg);
		return opt.conc > 0;
	case TIMEOUT:
		opt.timeout_ns = strtoull(optarg, NULL, 10) * 1000000000ULL;
		return opt.timeout_ns;
	case HTTP:
		file_read(optarg);
		return true;
	case SOURCE:
		opt.many_sources = true;
		return address(optarg, 0, &opt.source);
	case FASTOPEN:
		opt.fastopen = true;
		return true;
	case PROGRESS:
		opt.progress = optarg;
		return true;
	case KILLED_LIST:
		opt.lists[KILLED] = optarg;
		return true;
	case RACED_LIST:
		opt.lists[RACED] = optarg;
		return true;
	case LOG:
		opt.log = optarg;
		return true;
	default:
		return false;
	}
}

/* Ends the process if that makes no sense. */
static void options_read(int argc, char **argv)
{
	bool good = true;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
		good &= option(c);
	if (!good || optind + 2 != argc ||
	    !address(argv[optind], atoi(argv[optind + 1]), &opt.to)) {
		fputs(usage, stderr);
		exit(2);
	}
	if (!opt.many_sources)
		address(opt.to.ss_family == AF_INET ? "127.9.0.0" : "::", 0, &opt.source);
	if (opt.source.ss_family != opt.to.ss_family)
		die("addresses of different families");
	opt.to_len = sizeof(struct sockaddr_in6);
	if (opt.to.ss_family == AF_INET)
		opt.to_len = sizeof(struct sockaddr_in);
}

#endif
