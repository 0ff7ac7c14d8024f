// SPDX-License-Identifier: GPL-2.0
/*
 * migrate_cost.c - what choosing a listener costs, and what the sockops program costs.
 *
 * By the kernel's statistics, less what an empty program takes in the same round; and by CPU time
 * of the whole way of a segment, with statistics off, beside the kernel's own hash.
 */
#include "migrate_bench.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "migratebench.skel.h"

#define SEGMENTS      16384
#define SEGMENTS_TURN 4096
#define CPU_TURNS     8
#define WARM	      1024
#define CONNECTIONS   512
#define GOAL_HOT_NS   60
#define GOAL_SAME     1.3
#define SIZES	      3
#define EMPTY	      KCM_MG_POLICIES
#define LEAST_WORK    (KCM_MG_POLICIES + 1)
#define SIDES	      (KCM_MG_POLICIES + 2)

static const unsigned int sizes[SIZES] = { 4, 64, 1024 };

/* What the selector runs for. */
enum way {
	HOT,	 /* the same few clients again and again */
	SPREAD,	 /* thousands of clients: other listeners each time */
	CONNECT, /* connections, with all that the kernel does for them in between */
	WAYS,
};

static const char *const way_name[WAYS] = {
	[HOT] = "hot",
	[SPREAD] = "4096 clients",
	[CONNECT] = "in connections",
};

enum cpu_side {
	CPU_NONE,
	CPU_EMPTY,
	CPU_LEAST,
	CPU_OURS,
	CPU_SIDES,
};

static const char *const cpu_name[CPU_SIDES] = {
	[CPU_NONE] = "kernel's hash, no program",
	[CPU_EMPTY] = "an empty program",
	[CPU_LEAST] = "the least selector",
};

/* What was measured with one number of listeners. */
struct sized {
	struct sb_series ns[WAYS][SIDES], cpu[CPU_SIDES];
};

struct cost {
	struct mb_env e;
	struct migratebench *none;
	struct mb_flood *flood[CONNECT];
	struct sized size[SIZES];
};

static int chosen(struct cost *c, unsigned int side)
{
	if (side == EMPTY)
		return bpf_program__fd(c->none->progs.mb_select);
	if (side == LEAST_WORK)
		return bpf_program__fd(c->none->progs.mb_least);
	c->e.view.mg->ctl.policy = side;
	return c->e.view.select_fd;
}

static int traffic(struct cost *c, enum way way, unsigned int n)
{
	return way == CONNECT ? mb_connections(&c->e, n) : mb_flood_send(c->flood[way], n);
}

/* ns a run of one side's program. */
static int pass(struct cost *c, unsigned int side, enum way way, struct sb_series *to)
{
	unsigned int n = way == CONNECT ? CONNECTIONS : SEGMENTS;
	int prog = chosen(c, side), err = mb_program(&c->e, prog);
	uint64_t t0, t1, c0, c1;

	err = err ?: traffic(c, way, n / 8);
	err = err ?: sb_prog_read(prog, &t0, &c0);
	err = err ?: traffic(c, way, n);
	err = err ?: sb_prog_read(prog, &t1, &c1);
	if (err)
		return mb_failed(&c->e, "run a selector", err);
	if (c1 - c0 < n)
		return mb_failed(&c->e, "not every segment ran the selector", -EIO);
	sb_add(to, (double)(t1 - t0) / (double)(c1 - c0));
	return 0;
}

/* CPU time of a segment, sides in turn: others' work on the machine comes and goes. */
static int pass_cpu(struct cost *c, unsigned int round, struct sized *s)
{
	static const int policy[CPU_SIDES] = {
		[CPU_EMPTY] = EMPTY, [CPU_LEAST] = LEAST_WORK, [CPU_OURS] = KCM_MG_HASH
	};
	uint64_t sum[CPU_SIDES] = {}, from;
	int err = 0;

	for (unsigned int k = 0; k < CPU_SIDES * CPU_TURNS && !err; k++) {
		unsigned int side = (round + k) % CPU_SIDES;

		err = mb_program(&c->e, side == CPU_NONE ? -1 : chosen(c, policy[side]));
		err = err ?: mb_flood_send(c->flood[SPREAD], WARM);
		from = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
		err = err ?: mb_flood_send(c->flood[SPREAD], SEGMENTS_TURN);
		sum[side] += bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
	}
	for (int side = 0; side < CPU_SIDES && !err; side++)
		sb_add(&s->cpu[side], (double)sum[side] / (CPU_TURNS * SEGMENTS_TURN));
	return err;
}

static int round_stats(struct cost *c, struct sized *s, unsigned int round)
{
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME), err = stats < 0 ? -errno : 0;

	if (err)
		return mb_failed(&c->e, "statistics", err);
	for (unsigned int k = 0; k < SIDES && !err; k++) {
		unsigned int side = (round + (round & 1 ? SIDES - k : k)) % SIDES;

		for (int way = 0; way < WAYS && !err; way++)
			err = pass(c, side, way, &s->ns[way][side]);
	}
	close(stats);
	return err;
}

/* The listeners for the least selector. */
static int fill_least(struct cost *c)
{
	int err = 0;

	for (__u32 i = 0; i < c->e.n && !err; i++) {
		__u64 fd = (__u64)c->e.fd[i];

		if (bpf_map_update_elem(bpf_map__fd(c->none->maps.mb_socks), &i, &fd, BPF_ANY))
			err = mb_failed(&c->e, "mb_socks", -errno);
	}
	c->none->bss->mb_n = c->e.n;
	return err;
}

/* All numbers of listeners in each round: the machine's speed is not the same for long. */
static int measure(struct cost *c, unsigned int round)
{
	int err = 0;

	for (unsigned int k = 0; k < SIZES && !err; k++) {
		unsigned int size = (round + k) % SIZES;

		err = mb_open(&c->e, MB_PORT, sizes[size]);
		err = err ?: fill_least(c);
		err = err ?: round_stats(c, &c->size[size], round);
		err = err ?: pass_cpu(c, round, &c->size[size]);
		mb_close(&c->e);
	}
	return err;
}

/* Less the empty program's of the same round. */
static struct sb_series net(const struct sized *s, unsigned int side, enum way way)
{
	const struct sb_series *a = &s->ns[way][side], *empty = &s->ns[way][EMPTY];
	struct sb_series to = {};

	for (unsigned int i = 0; i < a->n && i < empty->n; i++)
		sb_add(&to, a->v[i] - empty->v[i]);
	return to;
}

static void row_ns(struct sb_report *r, const struct sized *s, int size, unsigned int side,
		   enum way way)
{
	struct sb_row *row;
	char what[48];

	snprintf(what, sizeof(what), "%s, %u listeners",
		 side == LEAST_WORK ? "the least selector" : mg_policy_name(side), sizes[size]);
	row = sb_row(r, "select", what, way_name[way], "ns");
	snprintf(row->side_unit, sizeof(row->side_unit), "ns");
	row->figure = net(s, side, way);
	row->ours = s->ns[way][side];
	row->theirs = s->ns[way][EMPTY];
	if (side == KCM_MG_HASH && way == HOT)
		sb_goal(row, SB_AT_MOST, GOAL_HOT_NS);
}

/* Largest over smallest of the sizes, of medians net of the empty program. */
static double sameness(const struct cost *c, unsigned int side, enum way way)
{
	double least = INFINITY, most = 0;

	for (int i = 0; i < SIZES; i++) {
		const struct sized *s = &c->size[i];
		double v =
			sb_quantile(&s->ns[way][side], 0.5) - sb_quantile(&s->ns[way][EMPTY], 0.5);

		least = v < least ? v : least;
		most = v > most ? v : most;
	}
	return most / least;
}

static void row_same(struct sb_report *r, const struct cost *c, unsigned int policy, enum way way)
{
	struct sb_row *row;
	char what[48];

	snprintf(what, sizeof(what), "%s, 4 to 1024 listeners", mg_policy_name(policy));
	row = sb_row(r, "select", what, way_name[way], "x");
	row->value = sameness(c, policy, way);
	snprintf(row->note, sizeof(row->note), "the least selector: %.2f x",
		 sameness(c, LEAST_WORK, way));
	sb_goal(row, SB_AT_MOST, GOAL_SAME);
}

static void row_cpu(struct sb_report *r, const struct sized *s, unsigned int n, enum cpu_side peer)
{
	struct sb_row *row;
	char what[48];

	snprintf(what, sizeof(what), "a segment's CPU, %u listeners", n);
	row = sb_row(r, "select", what, cpu_name[peer], "ns");
	snprintf(row->side_unit, sizeof(row->side_unit), "ns");
	for (unsigned int i = 0; i < s->cpu[CPU_OURS].n && i < s->cpu[peer].n; i++)
		sb_add(&row->figure, s->cpu[CPU_OURS].v[i] - s->cpu[peer].v[i]);
	row->ours = s->cpu[CPU_OURS];
	row->theirs = s->cpu[peer];
}

static void report(struct cost *c, struct sb_report *r)
{
	for (int i = 0; i < SIZES; i++) {
		for (unsigned int side = 0; side < SIDES; side++)
			for (int way = 0; way < WAYS && side != EMPTY; way++)
				row_ns(r, &c->size[i], i, side, way);
		for (int peer = 0; peer < CPU_OURS; peer++)
			row_cpu(r, &c->size[i], sizes[i], peer);
	}
	for (unsigned int p = 0; p < KCM_MG_POLICIES; p++)
		for (int way = 0; way < WAYS; way++)
			row_same(r, c, p, way);
}

static int begin(struct cost *c)
{
	int err = mb_begin(&c->e);

	if (err)
		return err;
	c->none = migratebench__open_and_load();
	c->flood[HOT] = mb_flood_make(MB_PORT, MB_FLOWS_HOT);
	c->flood[SPREAD] = mb_flood_make(MB_PORT, MB_PACKETS);
	return c->none && c->flood[HOT] && c->flood[SPREAD] ? 0 : mb_failed(&c->e, "load", -errno);
}

static void end(struct cost *c)
{
	mb_flood_free(c->flood[HOT]);
	mb_flood_free(c->flood[SPREAD]);
	migratebench__destroy(c->none);
	mb_end(&c->e);
}

int mb_cost(const struct sb_opts *o)
{
	static struct cost c;
	unsigned int from = o->report->n;
	int err;

	memset(&c, 0, sizeof(c));
	err = begin(&c);
	for (unsigned int round = 0; round < o->rounds && !err; round++)
		err = measure(&c, round);
	if (!err) {
		report(&c, o->report);
		sb_print(o->report, from);
	}
	end(&c);
	return err;
}

/* ---- sockops ---- */

static int open_ops(struct cost *c)
{
	char path[SB_PATH];
	struct bpf_link *link;
	int fd = -1;

	snprintf(path, sizeof(path), "%s/link_ops", c->e.view.dir);
	link = bpf_link__open(path);
	if (link) {
		struct bpf_link_info info = {};
		__u32 len = sizeof(info);

		if (!bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &len))
			fd = bpf_prog_get_fd_by_id(info.prog_id);
		bpf_link__destroy(link);
	}
	return fd < 0 ? mb_failed(&c->e, "sockops program", -errno) : fd;
}

static int ops_rounds(struct cost *c, struct bpf_link *link, int ours, unsigned int rounds,
		      struct sb_row *run, struct sb_row *conn)
{
	int theirs = bpf_program__fd(c->none->progs.mb_ops), err = link ? 0 : -errno;

	for (unsigned int i = 0; i < rounds && !err; i++) {
		uint64_t t[4], n[4];
		double a, b;

		err = mb_connections(&c->e, CONNECTIONS / 8);
		err = err ?: sb_prog_read(ours, &t[0], &n[0]);
		err = err ?: sb_prog_read(theirs, &t[1], &n[1]);
		err = err ?: mb_connections(&c->e, CONNECTIONS);
		err = err ?: sb_prog_read(ours, &t[2], &n[2]);
		err = err ?: sb_prog_read(theirs, &t[3], &n[3]);
		if (err)
			break;
		a = (double)(t[2] - t[0]) / (double)(n[2] - n[0]);
		b = (double)(t[3] - t[1]) / (double)(n[3] - n[1]);
		sb_add(&run->ours, a);
		sb_add(&run->theirs, b);
		sb_add(&run->figure, a - b);
		sb_add(&conn->ours, a * (double)(n[2] - n[0]) / CONNECTIONS);
		sb_add(&conn->theirs, b * (double)(n[3] - n[1]) / CONNECTIONS);
		sb_add(&conn->figure, (a - b) * (double)(n[2] - n[0]) / CONNECTIONS);
		snprintf(conn->note, sizeof(conn->note), "%.2f runs a connection",
			 (double)(n[2] - n[0]) / CONNECTIONS);
	}
	return err;
}

int mb_ops(const struct sb_opts *o)
{
	static struct cost c;
	struct bpf_link *link = NULL;
	struct sb_row *run, *conn;
	unsigned int from = o->report->n;
	int err, fd = -1, stats = -1;

	memset(&c, 0, sizeof(c));
	err = begin(&c);
	if (!err) {
		fd = open_ops(&c);
		err = fd < 0 ? fd : mb_open(&c.e, MB_PORT, 4);
	}
	if (!err) {
		run = sb_row(o->report, "ops", "sockops, a run", "an empty program", "ns");
		conn = sb_row(o->report, "ops", "sockops, a connection", "an empty program", "ns");
		snprintf(run->side_unit, sizeof(run->side_unit), "ns");
		snprintf(conn->side_unit, sizeof(conn->side_unit), "ns");
		link = bpf_program__attach_cgroup(c.none->progs.mb_ops, c.e.cg.fd);
		stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
		err = ops_rounds(&c, link, fd, o->rounds, run, conn);
		sb_print(o->report, from);
	}
	if (stats >= 0)
		close(stats);
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
	end(&c);
	return err;
}
