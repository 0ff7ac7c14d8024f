// SPDX-License-Identifier: GPL-2.0
/*
 * sock_tcp.c - what sock costs a TCP connection.
 *
 * The product as it is: its loader, its programs, its framing, attached to one cgroup. Each round
 * is run in a cgroup without it, in the one with it, and there again on a port that is framed, so
 * that all three meet the same disturbances. CPU time is measured with the kernel's statistics
 * off, for these cost too; then a shorter time with them on tells what the programs themselves
 * take.
 */
#include "sock_bench.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "lib/pin.h"
#include "lib/sock_frame.h"
#include "lib/sock_load.h"
#include "sock_traffic.h"
#include "sockbench.skel.h"

#define WARM_NS	  (40 * BENCH_NS_PER_MS)
#define WINDOW_NS (250 * BENCH_NS_PER_MS)
#define STATS_NS  (80 * BENCH_NS_PER_MS)
#define PORT	  7000 /* not framed */
#define PORT_FULL 7001
#define FRAMING	  "u32be"
#define WHY_BYTES 160

enum mode {
	OFF,   /* a cgroup without sock */
	COUNT, /* with it, the port is not framed */
	FULL,  /* and framed: messages, latency */
	MODES,
};

static const struct {
	struct traffic_case traffic;
	double cpu_goal;     /* percent, with messages; 0 = none */
	double per_msg_goal; /* ns; 0 = none */
} cases[] = {
	{ { "request/reply 64 B", 64, true, false }, 8, 0 },
	{ { "stream of 64 KB messages", 65536, false, false }, 3, 0 },
	{ { "pipelined 64 B messages", 64, false, true }, 0, 15 },
	{ { "pipelined 1 KB messages", 1024, false, true }, 0, 0 },
};

struct tcp {
	const struct sb_cgroup *without, *with;
	struct sockbench *empty;
	struct sb_series cpu_ns[MODES]; /* of a message, both ends */
	struct sb_series run_ns[MODES]; /* of our programs, a message, both ends */
	struct sb_series runs[MODES];	/* of our programs, a message */
	struct sb_series seg_ns[MODES]; /* of a run */
	struct sb_series empty_ns;	/* of a run of an empty program */
	char error[WHY_BYTES];
};

static int failed(struct tcp *t, const char *what, int err)
{
	if (!t->error[0])
		snprintf(t->error, sizeof(t->error), "%.80s: %.60s", what, strerror(-err));
	return err;
}

static const char *const our_progs[] = { "kcm_sk_egress", "kcm_sk_ingress", "kcm_sk_ops" };

/* Sums over what is pinned. */
static int our_stats(uint64_t *ns, uint64_t *runs)
{
	*ns = *runs = 0;
	for (size_t i = 0; i < sizeof(our_progs) / sizeof(our_progs[0]); i++) {
		char path[KCM_PIN_PATH];
		uint64_t a, b;
		int fd, err;

		kcm_pin_path(path, sizeof(path), "sock", SOCK_INSTANCE, our_progs[i]);
		fd = bpf_obj_get(path);
		if (fd < 0)
			return -errno;
		err = sb_prog_read(fd, &a, &b);
		close(fd);
		if (err)
			return err;
		*ns += a;
		*runs += b;
	}
	return 0;
}

/* A framed connection must have been counted: a figure for less work is none. */
static int check_counted(struct tcp *t, enum mode m, uint64_t msgs)
{
	struct sock_view v;
	struct kcm_sock s;
	uint64_t best = 0;
	int err = sock_view_open(&v, false);

	if (err)
		return failed(t, "maps of sock", err);
	for (__u32 i = 0; i < v.ctl->cfg.slots; i++) {
		if (!sock_view_read(&v, i, &s) || s.info.unframed)
			continue;
		if (s.rx_msgs > best)
			best = s.rx_msgs;
	}
	sock_view_close(&v);
	if (m == FULL && best < msgs)
		return failed(t, "sock did not count the messages", -EIO);
	return 0;
}

static int window(struct tcp *t, const struct traffic *tr, enum mode m)
{
	struct traffic_count a, b;
	uint64_t ns0 = 0, runs0 = 0, ns1 = 0, runs1 = 0;
	struct bpf_link *link = NULL;
	int fd = bpf_program__fd(t->empty->progs.sb_empty), stats, err = 0;

	bench_sleep_ns(WARM_NS);
	traffic_read(tr, &a);
	bench_sleep_ns(WINDOW_NS);
	traffic_read(tr, &b);
	if (b.msgs == a.msgs)
		return failed(t, "no messages", -ETIMEDOUT);
	sb_add(&t->cpu_ns[m], (double)(b.cpu_ns - a.cpu_ns) / (double)(b.msgs - a.msgs));

	if (m == OFF)
		link = bpf_program__attach_cgroup(t->empty->progs.sb_empty, t->without->fd);
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (stats < 0)
		return failed(t, "statistics", -errno);
	err = m == OFF ? sb_prog_read(fd, &ns0, &runs0) : our_stats(&ns0, &runs0);
	traffic_read(tr, &a);
	bench_sleep_ns(STATS_NS);
	traffic_read(tr, &b);
	err = err ?: m == OFF ? sb_prog_read(fd, &ns1, &runs1) : our_stats(&ns1, &runs1);
	close(stats);
	bpf_link__destroy(link);
	if (err)
		return failed(t, "statistics of programs", err);
	if (b.msgs == a.msgs || runs1 == runs0) /* others had the CPU all the time */
		return 0;
	if (m == OFF) {
		sb_add(&t->empty_ns, (double)(ns1 - ns0) / (double)(runs1 - runs0));
		return 0;
	}
	sb_add(&t->run_ns[m], (double)(ns1 - ns0) / (double)(b.msgs - a.msgs));
	sb_add(&t->runs[m], (double)(runs1 - runs0) / (double)(b.msgs - a.msgs));
	sb_add(&t->seg_ns[m], (double)(ns1 - ns0) / (double)(runs1 - runs0));
	return m == FULL ? check_counted(t, m, b.msgs - a.msgs) : 0;
}

static int one(struct tcp *t, const struct traffic_case *c, enum mode m)
{
	struct traffic tr = {};
	int err = sb_cgroup_enter(m == OFF ? t->without : t->with);

	if (err)
		return failed(t, "cgroup", err);
	err = traffic_start(&tr, c, m == FULL ? PORT_FULL : PORT);
	if (err)
		failed(t, "traffic", err);
	if (!err)
		err = window(t, &tr, m);
	if (traffic_stop(&tr) && !err)
		err = failed(t, "a message was wrong", -EIO);
	return err;
}

static double percent(double with, double without)
{
	return (with / without - 1) * 100;
}

static void cpu_row(struct tcp *t, struct sb_report *r, const struct traffic_case *c, enum mode m,
		    double goal)
{
	struct sb_row *row =
		sb_row(r, "tcp", c->what, m == FULL ? "CPU, all of sock" : "CPU, not framed", "%");

	snprintf(row->side_unit, sizeof(row->side_unit), "ns");
	row->ours = t->cpu_ns[m];
	row->theirs = t->cpu_ns[OFF];
	for (unsigned int i = 0; i < row->ours.n && i < row->theirs.n; i++)
		sb_add(&row->figure, percent(row->ours.v[i], row->theirs.v[i]));
	if (goal > 0)
		sb_goal(row, SB_AT_MOST, goal);
	snprintf(row->note, sizeof(row->note), "a message with, without sock; both ends");
}

static void run_rows(struct tcp *t, struct sb_report *r, const struct traffic_case *c, enum mode m,
		     double goal)
{
	double empty = sb_quantile(&t->empty_ns, 0.5);
	double dirs = c->reply ? 4 : 2; /* a message leaves and arrives, its reply too */
	struct sb_row *row =
		sb_row(r, "tcp", c->what, m == FULL ? "a run, framed" : "a run, not framed", "ns");

	for (unsigned int i = 0; i < t->seg_ns[m].n; i++)
		sb_add(&row->figure, t->seg_ns[m].v[i] - empty);
	snprintf(row->note, sizeof(row->note),
		 "net of an empty program's %.1f; %.3g runs a message", empty,
		 sb_quantile(&t->runs[m], 0.5));
	if (m != FULL)
		return;
	row = sb_row(r, "tcp", c->what, "a message, one direction", "ns");
	for (unsigned int i = 0; i < t->run_ns[m].n; i++)
		sb_add(&row->figure, (t->run_ns[m].v[i] - empty * t->runs[m].v[i]) / dirs);
	if (goal > 0)
		sb_goal(row, SB_AT_MOST, goal);
	snprintf(row->note, sizeof(row->note), "all our programs, net, by bpf_stats");
}

static int tcp_case(const struct sb_opts *o, const struct sb_cgroup *cg, struct sockbench *empty,
		    unsigned int n)
{
	struct tcp t = { .without = &cg[0], .with = &cg[1], .empty = empty };
	const struct traffic_case *c = &cases[n].traffic;
	unsigned int from = o->report->n;
	int err = 0;

	for (unsigned int round = 0; round < o->rounds && !err; round++)
		for (unsigned int k = 0; k < MODES && !err; k++)
			err = one(&t, c, (round + (round & 1 ? MODES - k : k)) % MODES);
	if (err) {
		fprintf(stderr, "bench_sock: %s: %s\n", c->what, t.error);
		return err;
	}
	cpu_row(&t, o->report, c, FULL, cases[n].cpu_goal);
	cpu_row(&t, o->report, c, COUNT, 0);
	run_rows(&t, o->report, c, FULL, cases[n].per_msg_goal);
	run_rows(&t, o->report, c, COUNT, 0);
	sb_print(o->report, from);
	return 0;
}

static int load_framed(const struct sb_cgroup *cg, char *why, size_t size)
{
	const char *dir = cg->dir;
	struct sock_load_opts opts = { .slots = KCM_SK_SLOTS_MIN, .cgroups = &dir, .n_cgroups = 1 };
	struct kcm_frame frame;
	int err = kcm_sock_load(&opts, why, size);

	err = err ?: sock_frame_parse(FRAMING, &frame, why, size);
	err = err ?: kcm_sock_frame_set(PORT_FULL, &frame, FRAMING, why, size);
	return err < 0 ? err : 0;
}

int sb_tcp(const struct sb_opts *o)
{
	struct sockbench *empty = sb_bench_load(KCM_SK_SLOTS_MIN, 1);
	struct sb_cgroup cg[2] = {};
	char why[WHY_BYTES] = "";
	int err = sb_cgroup_make(&cg[0], "bench-without"), bad = 0;

	err = err ?: sb_cgroup_make(&cg[1], "bench-with");
	err = err ?: empty ? 0 : -ENOEXEC;
	err = err ?: load_framed(&cg[1], why, sizeof(why));
	if (err)
		fprintf(stderr, "bench_sock: tcp: %s\n", why[0] ? why : strerror(-err));
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]) && !err; i++)
		bad = tcp_case(o, cg, empty, i) ?: bad;
	kcm_sock_unload(why, sizeof(why));
	sb_cgroup_leave(&cg[0]);
	sb_cgroup_remove(&cg[1]);
	sb_cgroup_remove(&cg[0]);
	sockbench__destroy(empty);
	return err ?: bad;
}
