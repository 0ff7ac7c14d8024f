// SPDX-License-Identifier: GPL-2.0
/*
 * sock_read.c - how long it takes to read the state of 100,000 live TCP sockets.
 *
 * All ways one after the other, round by round, in a network namespace where nothing else is.
 */
#include "sock_bench.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/sock_iter.h"
#include "lib/sock_load.h"
#include "lib/sock_view.h"
#include "sock_diag.h"
#include "sock_pairs.h"
#include "sockread.skel.h"

#define PAIRS	  50000
#define SLOTS	  (4 * PAIRS) /* cookies have gaps: with fewer, some find no slot */
#define SNAPSHOT  "/sys/fs/bpf/kcm/sock/snapshot"
#define ITER_BUF  (1 << 20)
#define WHY_BYTES 160

struct reader;

/* What of ours a way is compared with: as much as it gives, or less. */
enum against {
	NOTHING,
	COUNTERS,
	SHOW,
};

struct way {
	const char *what;
	enum against against;
	/* Return: how many sockets, a command's bytes, or -errno; -ENOTSUP: not here. */
	long (*run)(struct reader *r, const struct way *w);
	size_t least; /* less than this is not all of them */
	const char *argv[8];
	double goal; /* at least so many times as long as what it is compared with; 0 = none */
};

struct reader {
	const struct sb_opts *o;
	struct sock_view view;
	struct sockread *skel;
	struct bpf_link *map_link, *tcp_link;
	uint64_t sum;
	char *buf;
};

/* Few rounds of what takes long: its spread is small beside its length. */
static unsigned int rounds_of(double ms)
{
	return ms > 5000 ? 1 : ms > 300 ? 3 : SB_ROUNDS_MAX;
}

static long read_records(struct reader *r, const struct way *w)
{
	struct kcm_sock s;
	long n = 0;

	(void)w;
	for (__u32 i = 0; i < r->view.ctl->cfg.slots; i++) {
		if (!sock_view_read(&r->view, i, &s))
			continue;
		r->sum += s.tx_bytes;
		n++;
	}
	return n;
}

/* The counters alone: two halves of a cache line a socket, as `top` wants them. */
static long read_counters(struct reader *r, const struct way *w)
{
	const struct kcm_sk_hot *hot = r->view.hot;
	const struct kcm_sk_in *in = r->view.in;
	long n = 0;

	(void)w;
	for (__u32 i = 0; i < r->view.ctl->cfg.slots; i++) {
		__u64 tag = __atomic_load_n(&hot[i].tag, __ATOMIC_ACQUIRE);
		__u64 sum = hot[i].tx_bytes + in[i].rx_bytes + in[i].last_ns;

		if (!tag || tag & KCM_TAG_BUSY ||
		    __atomic_load_n(&hot[i].tag, __ATOMIC_RELAXED) != tag)
			continue;
		r->sum += sum;
		n++;
	}
	return n;
}

static long read_mapped(struct reader *r, const struct way *w)
{
	struct reader fresh = { .o = r->o };
	int err = sock_view_open(&fresh.view, false);
	long n = err ? err : read_records(&fresh, w);

	r->sum += fresh.sum;
	if (!err)
		sock_view_close(&fresh.view);
	return n;
}

static long read_iter(struct reader *r, struct bpf_link *link)
{
	int fd = bpf_iter_create(bpf_link__fd(link));
	ssize_t got;

	if (fd < 0)
		return -errno;
	r->skel->bss->sr_lines = 0;
	while ((got = read(fd, r->buf, ITER_BUF)) > 0)
		r->sum += (uint64_t)got;
	close(fd);
	return got < 0 ? -errno : (long)r->skel->bss->sr_lines;
}

static long read_map_iter(struct reader *r, const struct way *w)
{
	(void)w;
	return r->map_link ? read_iter(r, r->map_link) : -EPERM; /* some kernels permit none */
}

static long read_tcp_iter(struct reader *r, const struct way *w)
{
	(void)w;
	return read_iter(r, r->tcp_link);
}

static long read_diag(struct reader *r, const struct way *w)
{
	(void)w;
	return sb_diag_dump(false, r->buf, ITER_BUF);
}

static long read_diag_storage(struct reader *r, const struct way *w)
{
	(void)w;
	return sb_diag_dump(true, r->buf, ITER_BUF);
}

static long read_command(struct reader *r, const struct way *w)
{
	char *argv[sizeof(w->argv) / sizeof(w->argv[0]) + 1];
	uint64_t bytes = 0;
	size_t n = 0;
	int code;

	for (; n < sizeof(w->argv) / sizeof(w->argv[0]) && w->argv[n]; n++)
		argv[n] = (char *)(w->argv[n][0] == '@' ? r->o->kcmtool : w->argv[n]);
	argv[n] = NULL;
	code = sb_command(argv, &bytes, NULL);
	return code < 0 ? code : code ? -ENOTSUP : (long)bytes;
}

#define ALL	  (2 * PAIRS)
#define ALL_BYTES (ALL * 20) /* of text: an address and a port are more */

static const struct way ways[] = {
	{ "mmap, counters", NOTHING, read_counters, ALL, {}, 0 },
	{ "mmap, whole records", NOTHING, read_records, ALL, {}, 0 },
	{ "mmap, whole, with open and close", NOTHING, read_mapped, ALL, {}, 0 },
	{ "iter/bpf_sk_storage_map, text", COUNTERS, read_map_iter, ALL, {}, 100 },
	{ "iter/tcp + sk_storage_get, text", COUNTERS, read_tcp_iter, ALL, {}, 0 },
	{ "inet_diag with tcp_info", COUNTERS, read_diag, ALL, {}, 0 },
	{ "inet_diag with sk_storages", COUNTERS, read_diag_storage, ALL, {}, 0 },
	{ "ss -tinH --bpf-maps",
	  COUNTERS,
	  read_command,
	  ALL_BYTES,
	  { "ss", "-tinH", "--bpf-maps" },
	  200 },
	{ "kcmtool sock show -j",
	  NOTHING,
	  read_command,
	  ALL_BYTES,
	  { "@", "sock", "show", "-j" },
	  0 },
	{ "kcmtool sock snapshot", NOTHING, read_command, 0, { "@", "sock", "snapshot" }, 0 },
	{ "ss -tin", SHOW, read_command, ALL_BYTES, { "ss", "-tin" }, 1 },
	{ "bpftool map dump pinned snapshot",
	  SHOW,
	  read_command,
	  ALL_BYTES,
	  { "bpftool", "map", "dump", "pinned", SNAPSHOT },
	  1 },
};

#define WAYS	     (sizeof(ways) / sizeof(ways[0]))
#define WAY_COUNTERS 0
#define WAY_SHOW     8
#define WAY_SNAPSHOT 9

/* The thread that has the socket open does not have the map open. */
static int put_storage(int fd, void *arg)
{
	static _Thread_local int map = -1;
	struct {
		struct kcm_sk_hot hot;
		struct kcm_sk_in in;
	} c = {};
	socklen_t len = sizeof(c.hot.tag);

	if (map < 0)
		map = bpf_map_get_fd_by_id(*(__u32 *)arg);
	if (map < 0 || getsockopt(fd, SOL_SOCKET, SO_COOKIE, &c.hot.tag, &len) ||
	    bpf_map_update_elem(map, &fd, &c, BPF_NOEXIST))
		return -errno;
	return 0;
}

static int prepare(struct reader *r, struct sb_pairs *pairs)
{
	union bpf_iter_link_info info = {};
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_map_info map = {};
	__u32 len = sizeof(map);
	int fd, err;

	r->buf = malloc(ITER_BUF);
	r->skel = sockread__open();
	if (!r->buf || !r->skel)
		return -errno;
	bpf_program__set_autoload(r->skel->progs.sr_map, sock_iter_maps_permitted());
	err = sockread__load(r->skel);
	if (err)
		return err;
	fd = bpf_map__fd(r->skel->maps.sr_storage);
	if (bpf_obj_get_info_by_fd(fd, &map, &len))
		return -errno;
	err = sb_pairs_each(pairs, put_storage, &map.id);
	if (err)
		return err;
	info.map.map_fd = (__u32)fd;
	if (sock_iter_maps_permitted()) {
		r->map_link = bpf_program__attach_iter(r->skel->progs.sr_map, &opts);
		if (!r->map_link)
			return -errno;
	}
	r->tcp_link = bpf_program__attach_iter(r->skel->progs.sr_tcp, NULL);
	if (!r->tcp_link)
		return -errno;
	return sock_view_open(&r->view, false);
}

static int measure(struct reader *r, struct sb_series *ms, char (*why)[WHY_BYTES])
{
	for (unsigned int round = 0; round < r->o->rounds; round++) {
		for (size_t i = 0; i < WAYS; i++) {
			uint64_t from;
			long n;

			if (why[i][0] || (round && round >= rounds_of(sb_quantile(&ms[i], 0.5))))
				continue;
			sb_alone(!ways[i].argv[0]);
			from = bench_now_ns();
			n = ways[i].run(r, &ways[i]);
			sb_add(&ms[i], (double)(bench_now_ns() - from) / (double)BENCH_NS_PER_MS);
			sb_alone(false);
			if (n < 0) {
				ms[i].n = 0;
				snprintf(why[i], WHY_BYTES, "not measured: %s",
					 n == -ENOTSUP ? "the command fails" : strerror((int)-n));
				continue;
			}
			if (n < (long)ways[i].least) {
				ms[i].n = 0;
				snprintf(why[i], WHY_BYTES, "not measured: only %ld", n);
			}
		}
	}
	return 0;
}

static void report(struct reader *r, struct sb_series *ms, char (*why)[WHY_BYTES])
{
	static const double absolute[WAYS] = {
		[WAY_COUNTERS] = 5, [WAY_SHOW] = 1000, [WAY_SNAPSHOT] = 300
	};
	struct sb_row *row;

	for (size_t i = 0; i < WAYS; i++) {
		size_t base = ways[i].against == SHOW ? WAY_SHOW : WAY_COUNTERS;

		row = sb_row(r->o->report, "read", ways[i].what, "", "ms");
		row->figure = ms[i];
		snprintf(row->note, sizeof(row->note), "%.100s", why[i]);
		if (absolute[i] > 0 && ms[i].n)
			sb_goal(row, SB_AT_MOST, absolute[i]);
		if (ways[i].against == NOTHING || !ms[i].n || !ms[base].n)
			continue;
		row = sb_row(r->o->report, "read", ways[base].what, ways[i].what, "x");
		snprintf(row->side_unit, sizeof(row->side_unit), "ms");
		row->ours = ms[base];
		row->theirs = ms[i];
		for (unsigned int k = 0; k < ms[i].n && k < ms[base].n; k++)
			sb_add(&row->figure, ms[i].v[k] / ms[base].v[k]);
		if (ways[i].goal > 0)
			sb_goal(row, SB_AT_LEAST, ways[i].goal);
	}
}

int sb_read(const struct sb_opts *o)
{
	static struct sb_series ms[WAYS];
	static char why[WAYS][WHY_BYTES];
	struct reader r = { .o = o };
	struct sb_cgroup cg;
	const char *dir = cg.dir;
	struct sock_load_opts opts = { .slots = SLOTS, .cgroups = &dir, .n_cgroups = 1 };
	struct sb_pairs *pairs = NULL;
	unsigned int from = o->report->n;
	char text[WHY_BYTES] = "";
	int err = sb_cgroup_make(&cg, "bench-read");
	bool loaded = false;

	if (!err)
		err = sb_cgroup_enter(&cg);
	if (!err) {
		err = kcm_sock_load(&opts, text, sizeof(text));
		loaded = !err;
	}
	if (!err) {
		pairs = sb_pairs_make(PAIRS);
		err = pairs ? prepare(&r, pairs) : -errno;
	}
	if (err) {
		fprintf(stderr, "bench_sock: reading: %s\n", text[0] ? text : strerror(-err));
	} else {
		err = measure(&r, ms, why);
		report(&r, ms, why);
		sb_print(o->report, from);
	}
	if (r.view.ctl)
		sock_view_close(&r.view);
	bpf_link__destroy(r.map_link);
	bpf_link__destroy(r.tcp_link);
	sockread__destroy(r.skel);
	sb_pairs_free(pairs);
	free(r.buf);
	if (loaded)
		kcm_sock_unload(text, sizeof(text));
	sb_cgroup_leave(&cg);
	sb_cgroup_remove(&cg);
	return err;
}
