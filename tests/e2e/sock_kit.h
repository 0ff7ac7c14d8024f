/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_kit.h - what the sock_*.c test programs share: the maps of a loaded sock system as they
 * are pinned, read here without the code of kcmtool, so that both can be compared.
 */
#ifndef SOCK_KIT_H
#define SOCK_KIT_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../bpf/sock.h"

static const char *kit_what = "";

#define die(...)                                           \
	do {                                               \
		fprintf(stderr, "%s: ", kit_what);         \
		fprintf(stderr, __VA_ARGS__);              \
		fprintf(stderr, " (line %d)\n", __LINE__); \
		exit(1);                                   \
	} while (0)

#define must(expr)                                             \
	({                                                     \
		long r_ = (expr);                              \
		if (r_ < 0)                                    \
			die("%s: %s", #expr, strerror(errno)); \
		r_;                                            \
	})

static inline uint64_t kit_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static inline void kit_sleep_us(long us)
{
	nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL);
}

/* ---- random numbers: the same seed gives the same run ---- */

struct rng {
	uint64_t s;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (rng_next(r) >> 32) * n >> 32;
}

/* 1 to 1 << bits, each power of two as likely as any other. */
static inline uint32_t rng_log(struct rng *r, int bits)
{
	uint32_t top = 1U << rng_below(r, bits + 1);

	return top - rng_below(r, top / 2 + 1);
}

/* ---- maps ---- */

struct kit {
	struct kcm_sk_ctl *ctl;
	struct kcm_sk_hot *hot;
	struct kcm_sk_in *in;
	struct kcm_sk_more *more;
	uint32_t slots;
	int store_fd, rings_fd, ctl_fd;
};

static inline int kit_pin(const char *name)
{
	const char *dir = getenv("KCM_SOCK_PINS");
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir ? dir : "/sys/fs/bpf/kcm/sock/default", name);
	return must(bpf_obj_get(path));
}

static inline void *kit_map(int fd, size_t *entries)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	size_t page = sysconf(_SC_PAGESIZE), bytes;
	void *p;

	must(bpf_obj_get_info_by_fd(fd, &info, &size));
	bytes = ((size_t)((info.value_size + 7) & ~7U) * info.max_entries + page - 1) & ~(page - 1);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("map: %s", strerror(errno));
	if (entries)
		*entries = info.max_entries;
	return p;
}

static inline void kit_open(struct kit *k)
{
	size_t n;
	int fd;

	k->ctl_fd = kit_pin("kcm_sk_ctl");
	k->ctl = kit_map(k->ctl_fd, NULL);
	fd = kit_pin("kcm_sk_hot");
	k->hot = kit_map(fd, &n);
	close(fd);
	fd = kit_pin("kcm_sk_in");
	k->in = kit_map(fd, NULL);
	close(fd);
	fd = kit_pin("kcm_sk_more");
	k->more = kit_map(fd, NULL);
	close(fd);
	k->store_fd = kit_pin("kcm_sk_store");
	k->rings_fd = kit_pin("kcm_sk_rings");
	k->slots = k->ctl->cfg.slots;
	if (!k->slots || n != k->slots + k->ctl->cfg.cpus)
		die("%u slots and %u CPUs, but %zu elements", k->slots, k->ctl->cfg.cpus, n);
}

static inline uint32_t kit_slots_used(const struct kit *k)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < k->slots; i++)
		used += __atomic_load_n(&k->hot[i].tag, __ATOMIC_ACQUIRE) != 0;
	return used;
}

/* The state of a socket: of its slot, or from sk_storage. Return: where, or -1. */
static inline int64_t kit_find(const struct kit *k, uint64_t cookie, int fd,
			       struct kcm_sk_store *out)
{
	for (int way = 0; way < KCM_SK_WAYS; way++) {
		uint32_t i = ((uint32_t)cookie + way) & k->ctl->cfg.slot_mask;

		if (__atomic_load_n(&k->hot[i].tag, __ATOMIC_ACQUIRE) != cookie)
			continue;
		out->hot = *(volatile struct kcm_sk_hot *)&k->hot[i];
		out->in = *(volatile struct kcm_sk_in *)&k->in[i];
		memcpy(&out->more, &k->more[i], sizeof(out->more));
		return i;
	}
	if (bpf_map_lookup_elem(k->store_fd, &fd, out))
		return -1;
	return KCM_SK_SLOT_NONE;
}

static inline uint64_t kit_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t n = sizeof(cookie);

	must(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &n));
	return cookie;
}

/* ---- events: what `kcmtool sock watch` reads ---- */

struct kit_watch {
	struct kit *k;
	uint32_t watcher;
	int map_fd;
	struct ring_buffer *ring;
};

/* Watchers take the first place that is free; this one the last, to stay out of their way. */
static inline void kit_watch(struct kit_watch *w, struct kit *k, uint32_t ring_bytes,
			     ring_buffer_sample_fn fn, void *arg)
{
	w->k = k;
	w->watcher = KCM_SK_WATCHERS - 1;
	w->map_fd =
		must(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "kcm_test_ring", 0, 0, ring_bytes, NULL));
	w->ring = ring_buffer__new(w->map_fd, fn, arg, NULL);
	if (!w->ring)
		die("ring: %s", strerror(errno));
	must(bpf_map_update_elem(k->rings_fd, &w->watcher, &w->map_fd, BPF_ANY));
	k->ctl->watch_slow_ns[w->watcher] = 0;
	k->ctl->watch_drops[w->watcher] = 0;
	k->ctl->watch_until_ns[w->watcher] = UINT64_MAX;
	__atomic_store_n(&k->ctl->watch_any_until_ns, UINT64_MAX, __ATOMIC_RELEASE);
}

static inline void kit_unwatch(struct kit_watch *w)
{
	uint64_t any = 0;

	w->k->ctl->watch_until_ns[w->watcher] = 0;
	for (int i = 0; i < KCM_SK_WATCHERS; i++)
		if (w->k->ctl->watch_until_ns[i] > any)
			any = w->k->ctl->watch_until_ns[i];
	w->k->ctl->watch_any_until_ns = any;
	bpf_map_delete_elem(w->k->rings_fd, &w->watcher);
	ring_buffer__free(w->ring);
	close(w->map_fd);
}

#endif
