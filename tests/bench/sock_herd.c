// SPDX-License-Identifier: GPL-2.0
/*
 * sock_herd.c - more sockets than one process may have descriptors.
 *
 * Threads with descriptor tables of their own hold them, a range each. One thread runs at a time:
 * what is done to the sockets is done in the order asked for, on one CPU.
 */
#include "sock_herd.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sock_bench.h"

#define FILES_SPARE 200
#define THREADS_MAX 64
#define STRETCH	    1024 /* of an order that all threads go through before the next one */

struct keeper {
	struct sb_herd *herd;
	pthread_t thread;
	sem_t go;
	size_t from, to;
	bool started;
};

struct sb_herd {
	struct keeper keeper[THREADS_MAX];
	unsigned int threads;
	size_t n;
	int *fd;
	sem_t done;
	/* the work */
	sb_herd_fn *fn;
	void *arg;
	const uint32_t *order;
	size_t at, end;
	int err;
	bool quit, fifo;
};

static void work(struct keeper *k)
{
	struct sb_herd *h = k->herd;

	for (size_t i = h->at; i < h->end && !h->err; i++) {
		size_t s = h->order ? h->order[i] : i;

		if (s >= k->from && s < k->to)
			h->err = h->fn(&h->fd[s], s, h->arg);
	}
}

static void *keeper_main(void *arg)
{
	struct keeper *k = arg;
	int err = unshare(CLONE_FILES) ? -errno : 0;

	if (!err && k->herd->fifo)
		sb_alone(true);
	k->herd->err = err;
	sem_post(&k->herd->done);
	for (;;) {
		sem_wait(&k->go);
		if (k->herd->quit)
			return NULL; /* and its descriptors are closed */
		work(k);
		sem_post(&k->herd->done);
	}
}

static void call(struct sb_herd *h, unsigned int t)
{
	sem_post(&h->keeper[t].go);
	sem_wait(&h->done);
}

struct sb_herd *sb_herd_make(size_t n, unsigned int files_each, bool fifo)
{
	struct sb_herd *h = calloc(1, sizeof(*h));
	struct rlimit l;
	size_t each;

	if (!h || getrlimit(RLIMIT_NOFILE, &l))
		goto fail;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	h->n = n;
	h->fifo = fifo;
	h->fd = malloc(n * files_each * sizeof(*h->fd));
	each = (l.rlim_cur - FILES_SPARE) / files_each;
	if (!h->fd || l.rlim_cur <= FILES_SPARE || (n + each - 1) / each > THREADS_MAX)
		goto fail;
	for (size_t i = 0; i < n; i++)
		h->fd[i] = -1;
	sem_init(&h->done, 0, 0);
	for (size_t from = 0; from < n; from += each) {
		struct keeper *k = &h->keeper[h->threads];

		k->herd = h;
		k->from = from;
		k->to = from + each < n ? from + each : n;
		sem_init(&k->go, 0, 0);
		if (pthread_create(&k->thread, NULL, keeper_main, k))
			goto fail;
		h->threads++;
		sem_wait(&h->done);
		if (h->err)
			goto fail;
	}
	return h;
fail:
	sb_herd_free(h);
	return NULL;
}

int sb_herd_order(struct sb_herd *h, const uint32_t *order, size_t n, sb_herd_fn *fn, void *arg)
{
	h->fn = fn;
	h->arg = arg;
	h->order = order;
	h->err = 0;
	for (size_t at = 0; at < n && !h->err; at = h->end) {
		h->at = at;
		h->end = h->threads == 1 || at + STRETCH > n ? n : at + STRETCH;
		for (unsigned int t = 0; t < h->threads; t++)
			call(h, t);
	}
	return h->err;
}

int sb_herd_each(struct sb_herd *h, sb_herd_fn *fn, void *arg)
{
	h->fn = fn;
	h->arg = arg;
	h->order = NULL;
	h->err = 0;
	h->at = 0;
	h->end = h->n;
	for (unsigned int t = 0; t < h->threads && !h->err; t++)
		call(h, t);
	return h->err;
}

void sb_herd_free(struct sb_herd *h)
{
	if (!h)
		return;
	h->quit = true;
	for (unsigned int t = 0; t < h->threads; t++) {
		sem_post(&h->keeper[t].go);
		pthread_join(h->keeper[t].thread, NULL);
	}
	free(h->fd);
	free(h);
}
