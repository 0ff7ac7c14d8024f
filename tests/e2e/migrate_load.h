/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_load.h - what migrate_load counts, and how it says so.
 */
#ifndef MIGRATE_LOAD_H
#define MIGRATE_LOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "migrate_msg.h"

#define LATE_NS 900000000ULL /* somebody had to send a SYN again */

/* How a connection ended. */
enum end {
	END_OK,
	END_REFUSED,	/* connect(): ECONNREFUSED */
	END_RST_BEFORE, /* reset before any byte of the response */
	END_RST_AFTER,	/* reset after some, or all */
	END_TIMEOUT,
	END_EMPTY, /* closed without a byte */
	END_SHORT, /* closed before the whole response, which was right so far */
	END_WRONG, /* a byte that may not be there, of whatever end */
	END_OTHER, /* another error of the network */
	END_LOCAL, /* this program's own fault: no port, no descriptor */
	ENDS
};

static const char *const end_names[ENDS] = { "ok",	"refused",   "rst_before", "rst_after",
					     "timeout", "eof_empty", "short",	   "wrong",
					     "other",	"local" };

/* A connection that failed: it may turn out whose fault that was, see enum whose. */
struct failure {
	enum end end;
	int error;
	uint16_t port;
	char addr[INET6_ADDRSTRLEN];
	double at; /* seconds since the start */
};

/* Who answered how often. Open addressing; never full, as the process ends before. */
#define WHO_MAX 16384
struct who {
	char gen[MSG_GEN + 1];
	int pid;
	uint64_t n;
};

#define GENS_MAX 4000

static struct {
	pthread_mutex_t lock;
	struct failure *failed;
	size_t failures;
	uint64_t ok, late, max_ns;
	struct who who[WHO_MAX];
	_Atomic uint64_t started, done, good;
	uint64_t start_ns;
	char gens[GENS_MAX]; /* that have answered, in order, a space around each */
} sum = { .lock = PTHREAD_MUTEX_INITIALIZER };

#define die(...)                                   \
	do {                                       \
		fprintf(stderr, "migrate_load: "); \
		fprintf(stderr, __VA_ARGS__);      \
		fprintf(stderr, "\n");             \
		exit(2);                           \
	} while (0)

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static inline bool address(const char *text, int port, struct sockaddr_storage *to)
{
	struct sockaddr_in *a4 = (void *)to;
	struct sockaddr_in6 *a6 = (void *)to;

	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, text, &a4->sin_addr) == 1) {
		to->ss_family = AF_INET;
		a4->sin_port = htons(port);
		return true;
	}
	to->ss_family = AF_INET6;
	a6->sin6_port = htons(port);
	return inet_pton(AF_INET6, text, &a6->sin6_addr) == 1;
}

static inline void sum_who(struct who *table, const char *gen, int pid, uint64_t n)
{
	uint32_t h = pid * 2654435761U;

	for (const char *c = gen; *c; c++)
		h = (h ^ (uint8_t)*c) * 16777619U;
	for (uint32_t i = 0; i < WHO_MAX; i++) {
		struct who *w = &table[(h + i) % WHO_MAX];

		if (!w->n) {
			snprintf(w->gen, sizeof(w->gen), "%s", gen);
			w->pid = pid;
		} else if (w->pid != pid || strcmp(w->gen, gen)) {
			continue;
		}
		w->n += n;
		return;
	}
	die("more than %d processes answered", WHO_MAX);
}

static inline void sum_failure(enum end end, int error, const struct sockaddr *from)
{
	struct failure f = { .end = end, .error = error };

	if (from->sa_family == AF_INET) {
		const struct sockaddr_in *a = (const void *)from;

		inet_ntop(AF_INET, &a->sin_addr, f.addr, sizeof(f.addr));
		f.port = ntohs(a->sin_port);
	} else {
		const struct sockaddr_in6 *a = (const void *)from;

		inet_ntop(AF_INET6, &a->sin6_addr, f.addr, sizeof(f.addr));
		f.port = ntohs(a->sin6_port);
	}
	f.at = (now_ns() - sum.start_ns) / 1e9;
	pthread_mutex_lock(&sum.lock);
	if (!(sum.failures & (sum.failures + 1)) || !sum.failed)
		sum.failed = realloc(sum.failed, 2 * (sum.failures + 1) * sizeof(f));
	if (!sum.failed)
		die("out of memory");
	sum.failed[sum.failures++] = f;
	pthread_mutex_unlock(&sum.lock);
}

/* A generation has answered, for who waits for it. */
static inline void gen_note(const char *gen)
{
	char word[MSG_GEN + 3];
	size_t len;

	snprintf(word, sizeof(word), " %s ", gen);
	pthread_mutex_lock(&sum.lock);
	len = strlen(sum.gens);
	if (!strstr(sum.gens, word) && len + strlen(word) < sizeof(sum.gens))
		snprintf(sum.gens + (len ? len - 1 : 0), sizeof(word), "%s", word);
	pthread_mutex_unlock(&sum.lock);
}

/* For who waits: the file is exchanged whole, so that nobody reads half of it. */
static inline void progress(const char *path)
{
	char next[4096];
	FILE *f;

	if (!path)
		return;
	snprintf(next, sizeof(next), "%s.next", path);
	f = fopen(next, "w");
	if (!f)
		die("%s: %s", next, strerror(errno));
	pthread_mutex_lock(&sum.lock);
	fprintf(f, "%llu %llu%s\n", (unsigned long long)sum.done, (unsigned long long)sum.good,
		sum.gens);
	pthread_mutex_unlock(&sum.lock);
	fclose(f);
	if (rename(next, path))
		die("%s: %s", path, strerror(errno));
}

/* ---- failures that are known to be another's ---- */

enum whose {
	LOST,	/* nobody's but ours */
	KILLED, /* a killed process had accepted it */
	RACED,	/* the kernel lost it within close(), see migrate_race.bpf.c */
	WHOSE
};

static const char *const whose_names[WHOSE] = { "lost", "killed", "raced" };
static const char *const whose_ends[WHOSE] = { "ends", "killed_ends", "raced_ends" };
static const char *const whose_says[WHOSE] = { "", " accepted by a killed process",
					       " lost by the kernel within close()" };

struct taken {
	char (*name)[INET6_ADDRSTRLEN + 7];
	size_t n;
};

static inline int taken_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* @path: a line for each, its client's address and port. */
static inline struct taken taken_read(const char *path)
{
	struct taken t = { 0 };
	FILE *f = path ? fopen(path, "r") : NULL;
	unsigned int port;
	char addr[INET6_ADDRSTRLEN];

	while (f && fscanf(f, "%45s %u", addr, &port) == 2) {
		t.name = realloc(t.name, (t.n + 1) * sizeof(*t.name));
		if (!t.name)
			die("out of memory");
		snprintf(t.name[t.n++], sizeof(*t.name), "%s %u", addr, (uint16_t)port);
	}
	if (f)
		fclose(f);
	if (t.n)
		qsort(t.name, t.n, sizeof(*t.name), taken_order);
	return t;
}

static inline bool taken_has(const struct taken *t, const struct failure *f)
{
	char name[INET6_ADDRSTRLEN + 7];

	snprintf(name, sizeof(name), "%s %u", f->addr, f->port);
	return t->n && bsearch(name, t->name, t->n, sizeof(*t->name), taken_order);
}

/* ---- the report ---- */

static inline json_t *report_ends(const uint64_t *ends)
{
	json_t *o = json_object();

	for (int i = END_OK + 1; i < ENDS; i++)
		json_object_set_new(o, end_names[i], json_integer(ends[i]));
	return o;
}

static inline json_t *report_who(void)
{
	json_t *gens = json_object();

	for (int i = 0; i < WHO_MAX; i++) {
		struct who *w = &sum.who[i];
		json_t *gen;
		char pid[12];

		if (!w->n)
			continue;
		snprintf(pid, sizeof(pid), "%d", w->pid);
		gen = json_object_get(gens, w->gen);
		if (!gen) {
			gen = json_object();
			json_object_set_new(gens, w->gen, gen);
		}
		json_object_set_new(gen, pid, json_integer(w->n));
	}
	return gens;
}

/* One line on stdout; each failure in @log. @lists: of each but LOST, who is on it; or NULL. */
static inline void report(const char *const lists[WHOSE], const char *log_path)
{
	uint64_t ends[WHOSE][ENDS] = { 0 }, n[WHOSE] = { 0 };
	double seconds = (now_ns() - sum.start_ns) / 1e9;
	FILE *log = log_path ? fopen(log_path, "w") : NULL;
	struct taken taken[WHOSE] = { 0 };
	json_t *o = json_object();

	for (int w = LOST + 1; w < WHOSE; w++)
		taken[w] = taken_read(lists[w]);
	for (size_t i = 0; i < sum.failures; i++) {
		struct failure *f = &sum.failed[i];
		enum whose whose = taken_has(&taken[KILLED], f)	 ? KILLED
				   : taken_has(&taken[RACED], f) ? RACED
								 : LOST;

		ends[whose][f->end]++;
		n[whose]++;
		if (log)
			fprintf(log, "%.3f %s %s %u %s%s\n", f->at, end_names[f->end], f->addr,
				f->port, f->error ? strerror(f->error) : "-", whose_says[whose]);
	}
	if (log)
		fclose(log);
	json_object_set_new(o, "total", json_integer(sum.ok + sum.failures));
	json_object_set_new(o, "ok", json_integer(sum.ok));
	for (int w = LOST; w < WHOSE; w++) {
		json_object_set_new(o, whose_names[w], json_integer(n[w]));
		json_object_set_new(o, whose_ends[w], report_ends(ends[w]));
		free(taken[w].name);
	}
	json_object_set_new(o, "late", json_integer(sum.late));
	json_object_set_new(o, "max_ms", json_integer(sum.max_ns / 1000000));
	json_object_set_new(o, "seconds", json_real(seconds));
	json_object_set_new(o, "per_s", json_integer((sum.ok + sum.failures) / seconds));
	json_object_set_new(o, "generations", report_who());
	json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(4));
	putchar('\n');
	json_decref(o);
}

#endif
