// SPDX-License-Identifier: GPL-2.0
/*
 * sock_lookup.c - how long it takes to find a socket's counters.
 *
 * The benchmark of the commit that brought sk_storage, on many sockets: connected UDP sockets are
 * sent to in random order, an egress program adds bytes and segments. What a run of it costs is
 * what the kernel's statistics say, less an empty program's.
 */
#include "sock_bench.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/filter.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sock.h"
#include "sock_herd.h"
#include "sockbench.skel.h"

#define PORTS_AN_ADDR 20000 /* sockets of one local address: the range of ports is larger */
#define SENDS_MIN     20000
#define LRU_SPARE     2 /* its free lists are per CPU: with less room it evicts */
#define PAYLOAD	      64

enum side {
	EMPTY,
	SLOT,
	SLOT_DEFAULT, /* as many slots as by default, the other sockets in sk_storage */
	STORAGE,
	COOKIE,
	LRU,
	TUPLE,
	TUPLE4,
	SIDES,
};

static const char *const side_name[SIDES] = {
	[STORAGE] = "sk_storage",
	[COOKIE] = "HASH by cookie",
	[LRU] = "LRU_HASH by cookie",
	[TUPLE] = "HASH by 4-tuple",
	[TUPLE4] = "HASH by 4-tuple, IPv4 only",
};

struct lookup {
	struct sb_cgroup cg;
	struct sockbench *sized, *dflt;
	struct bpf_program *prog[SIDES];
	struct sb_series raw[SIDES];
	struct sb_herd *herd;
	uint32_t *order;
	size_t n, sends, bad;
	struct sockaddr_in to;
	uint32_t slots;
	int sink;
	uint64_t seed;
	char error[120];
};

static int failed(struct lookup *l, const char *what, int err)
{
	if (!l->error[0])
		snprintf(l->error, sizeof(l->error), "%s: %s", what, strerror(-err));
	return err;
}

/* As `kcmtool sock load --sockets` does. */
static uint32_t slots_for(size_t n)
{
	uint32_t slots = KCM_SK_SLOTS_MIN;

	while (slots < n && slots < KCM_SK_SLOTS_MAX)
		slots *= 2;
	return slots;
}

struct sockbench *sb_bench_load(uint32_t slots, size_t n)
{
	struct sockbench *s = sockbench__open();
	struct bpf_map *map;

	if (!s)
		return NULL;
	s->rodata->kcm_sk_cfg.slots = slots;
	s->rodata->kcm_sk_cfg.slot_mask = slots - 1;
	/* Maps of sock that no program here uses. */
	bpf_object__for_each_map (map, s->obj) {
		const char *name = bpf_map__name(map);

		if (!strncmp(name, "kcm_sk_", 7) && map != s->maps.kcm_sk_hot &&
		    map != s->maps.kcm_sk_in && map != s->maps.kcm_sk_store)
			bpf_map__set_autocreate(map, false);
	}
	if (bpf_map__set_max_entries(s->maps.kcm_sk_hot, slots) ||
	    bpf_map__set_max_entries(s->maps.kcm_sk_in, slots) ||
	    bpf_map__set_max_entries(s->maps.sb_cookie_map, n) ||
	    bpf_map__set_max_entries(s->maps.sb_tuple_map, n) ||
	    bpf_map__set_max_entries(s->maps.sb_tuple4_map, n) ||
	    bpf_map__set_max_entries(s->maps.sb_lru_map, n * LRU_SPARE + 1024) ||
	    sockbench__load(s)) {
		sockbench__destroy(s);
		return NULL;
	}
	return s;
}

static int open_sink(struct lookup *l)
{
	struct sockaddr_in *to = &l->to;
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog f = { .len = 1, .filter = &drop };
	socklen_t len = sizeof(*to);

	*to = (struct sockaddr_in){ .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	l->sink = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (l->sink < 0 || bind(l->sink, (struct sockaddr *)to, sizeof(*to)) ||
	    setsockopt(l->sink, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof(f)) ||
	    getsockname(l->sink, (struct sockaddr *)to, &len))
		return failed(l, "sink", -errno);
	return 0;
}

/*
 * Cookies are given in the order of creation, as sock's own hook does it. Were they given at the
 * first send, in random order, the slots would be touched one after the other: a fine prefetch.
 */
static int open_one(int *fd, size_t i, void *arg)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct lookup *l = arg;
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	from.sin_addr.s_addr = htonl(0x7f010001 + (uint32_t)(i / PORTS_AN_ADDR));
	*fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (*fd < 0 || getsockopt(*fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ||
	    bind(*fd, (struct sockaddr *)&from, sizeof(from)) ||
	    connect(*fd, (struct sockaddr *)&l->to, sizeof(l->to)))
		return -errno;
	return 0;
}

static int open_sockets(struct lookup *l)
{
	struct bpf_link *links[2] = {};
	int err = open_sink(l);

	if (err)
		return err;
	links[0] = bpf_program__attach_cgroup(l->sized->progs.sb_connect, l->cg.fd);
	if (l->dflt)
		links[1] = bpf_program__attach_cgroup(l->dflt->progs.sb_connect, l->cg.fd);
	if (!links[0] || (l->dflt && !links[1]))
		err = failed(l, "attach connect4", -errno);
	if (!err)
		err = sb_herd_each(l->herd, open_one, l);
	if (err)
		failed(l, "UDP sockets", err);
	bpf_link__destroy(links[0]);
	bpf_link__destroy(links[1]);
	return err;
}

static int send_one(int *fd, size_t i, void *arg)
{
	static const char payload[PAYLOAD];
	struct lookup *l = arg;

	(void)i;
	l->bad += send(*fd, payload, sizeof(payload), 0) != sizeof(payload);
	return 0;
}

/* One pass in @order with one program. Return: ns a run in @ns. */
static int pass(struct lookup *l, enum side s, size_t sends, double *ns)
{
	struct bpf_link *link = bpf_program__attach_cgroup(l->prog[s], l->cg.fd);
	uint64_t t0, t1, c0, c1;
	int fd = bpf_program__fd(l->prog[s]), err;

	if (!link)
		return failed(l, "attach egress", -errno);
	err = sb_prog_read(fd, &t0, &c0);
	l->bad = 0;
	for (size_t left = sends; left >= l->n && !err; left -= l->n)
		err = sb_herd_order(l->herd, l->order, l->n, send_one, l);
	if (!err)
		err = sb_prog_read(fd, &t1, &c1);
	bpf_link__destroy(link);
	if (err)
		return failed(l, "bpf_prog_info", err);
	if (l->bad || c1 - c0 != sends)
		return failed(l, "not every send ran the program", -EIO);
	*ns = (double)(t1 - t0) / (double)(c1 - c0);
	return 0;
}

static int measure(struct lookup *l, unsigned int rounds)
{
	double ns;
	int err = 0;

	for (size_t i = 0; i < l->n; i++)
		l->order[i] = (uint32_t)i;
	for (int s = 0; s < SIDES && !err; s++)
		if (l->prog[s])
			err = pass(l, s, l->n, &ns);
	for (unsigned int round = 0; round < rounds && !err; round++) {
		sb_shuffle(l->order, l->n, &l->seed);
		for (unsigned int k = 0; k < SIDES && !err; k++) {
			/* There and back, from another side each time. */
			unsigned int s = (round + (round & 1 ? SIDES - k : k)) % SIDES;

			if (!l->prog[s])
				continue;
			err = pass(l, s, l->sends, &ns);
			if (!err)
				sb_add(&l->raw[s], ns);
			bench_sleep_ns(2 * BENCH_NS_PER_MS);
		}
	}
	if (!err && (l->sized->bss->sb_full || (l->dflt && l->dflt->bss->sb_full)))
		err = failed(l, "a map was full", -ENOSPC);
	return err;
}

/* Medians, net of the empty program; the quartiles are of each round's own ratio. */
static void compare(struct lookup *l, struct sb_report *r, enum side ours, enum side peer,
		    const char *what)
{
	struct sb_row *row = sb_row(r, "lookup", what, side_name[peer], "x");
	double empty = sb_quantile(&l->raw[EMPTY], 0.5);
	struct sockbench *obj = ours == SLOT ? l->sized : l->dflt;

	snprintf(row->side_unit, sizeof(row->side_unit), "ns");
	for (unsigned int i = 0; i < l->raw[peer].n && i < l->raw[ours].n; i++) {
		double a = l->raw[ours].v[i] - empty, b = l->raw[peer].v[i] - empty;

		sb_add(&row->ours, a);
		sb_add(&row->theirs, b);
		sb_add(&row->figure, b / a);
	}
	row->value = sb_quantile(&row->theirs, 0.5) / sb_quantile(&row->ours, 0.5);
	snprintf(row->note, sizeof(row->note), "raw %.1f %.1f, empty %.1f; %llu of %zu in %u slots",
		 sb_quantile(&l->raw[ours], 0.5), sb_quantile(&l->raw[peer], 0.5), empty,
		 (unsigned long long)obj->bss->sb_in_slot, l->n,
		 ours == SLOT ? l->slots : KCM_SK_SLOTS);
	if (ours != SLOT || l->n < 4096)
		return;
	if (peer == STORAGE)
		sb_goal(row, SB_AT_LEAST, l->n == 4096 ? 2.2 : 2.0);
	if (peer == TUPLE && l->n == 4096)
		sb_goal(row, SB_AT_LEAST, 2.4);
}

static void report(struct lookup *l, struct sb_report *r)
{
	static const enum side peers[] = { STORAGE, TUPLE, TUPLE4, COOKIE, LRU };
	char what[48];

	snprintf(what, sizeof(what), "%zu UDP socket%s", l->n, l->n == 1 ? "" : "s");
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
		compare(l, r, SLOT, peers[i], what);
	if (!l->prog[SLOT_DEFAULT])
		return;
	snprintf(what, sizeof(what), "%zu, default size", l->n);
	compare(l, r, SLOT_DEFAULT, STORAGE, what);
	compare(l, r, SLOT_DEFAULT, TUPLE, what);
}

static void close_all(struct lookup *l)
{
	sb_herd_free(l->herd);
	if (l->sink >= 0)
		close(l->sink);
	sockbench__destroy(l->sized);
	sockbench__destroy(l->dflt);
	free(l->order);
}

static int lookup_case(const struct sb_opts *o, struct sb_cgroup *cg, size_t n)
{
	struct lookup l = { .cg = *cg, .n = n, .sink = -1, .seed = n, .slots = slots_for(n) };
	unsigned int from = o->report->n;
	int err;

	l.sends = n > SENDS_MIN ? n : SENDS_MIN / n * n; /* whole passes */
	l.herd = sb_herd_make(n, 1, true);
	l.order = calloc(n, sizeof(*l.order));
	l.sized = sb_bench_load(l.slots, n);
	if (n > KCM_SK_SLOTS)
		l.dflt = sb_bench_load(KCM_SK_SLOTS, 1);
	if (!l.herd || !l.order || !l.sized || (n > KCM_SK_SLOTS && !l.dflt)) {
		err = failed(&l, "load", -errno);
	} else {
		l.prog[EMPTY] = l.sized->progs.sb_empty;
		l.prog[SLOT] = l.sized->progs.sb_slot;
		l.prog[SLOT_DEFAULT] = l.dflt ? l.dflt->progs.sb_slot : NULL;
		l.prog[STORAGE] = l.sized->progs.sb_storage;
		l.prog[COOKIE] = l.sized->progs.sb_cookie;
		l.prog[LRU] = l.sized->progs.sb_lru;
		l.prog[TUPLE] = l.sized->progs.sb_tuple;
		l.prog[TUPLE4] = l.sized->progs.sb_tuple4;
		err = open_sockets(&l);
		if (!err)
			err = measure(&l, o->rounds);
	}
	if (err) {
		fprintf(stderr, "bench_sock: %zu sockets: %s\n", n, l.error);
	} else {
		report(&l, o->report);
		sb_print(o->report, from);
	}
	close_all(&l);
	return err;
}

int sb_lookup(const struct sb_opts *o)
{
	static const size_t counts[] = { 1, 4096, 100000 };
	struct sb_cgroup cg;
	int err = sb_cgroup_make(&cg, "bench-lookup"), stats = -1;

	if (!err)
		err = sb_cgroup_enter(&cg);
	if (!err)
		stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (!err && stats < 0)
		err = -errno;
	if (err)
		fprintf(stderr, "bench_sock: cgroup or statistics: %s\n", strerror(-err));
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]) && !err; i++)
		err = lookup_case(o, &cg, counts[i]);
	if (stats >= 0)
		close(stats);
	sb_cgroup_leave(&cg);
	sb_cgroup_remove(&cg);
	return err;
}
