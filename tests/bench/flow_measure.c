// SPDX-License-Identifier: GPL-2.0
/*
 * flow_measure.c - how fast a side is.
 *
 * The generator and the receiver run on one CPU: what it sends is received in the same thread,
 * before the next batch, or by this CPU's ksoftirqd. CPU time of both is what is divided by, so
 * whoever else runs on the machine takes none of it away (but for caches).
 */
#include "flow_bench.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flowsend.skel.h"

#define DRAIN_MS 200

static __u32 sum_of(const void *data, size_t bytes)
{
	const unsigned char *p = data;
	__u32 sum = 0;

	for (size_t i = 0; i + 1 < bytes; i += 2)
		sum += (__u32)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

void fb_use(struct fb *b, const struct fb_load *load)
{
	struct fg_frame f = { .dmac = { 2, 0, 0, 0, 0, 1 },
			      .smac = { 2, 0, 0, 0, 0, 2 },
			      .type = htons(0x0800),
			      .version = 0x45,
			      .tot_len = htons(sizeof(f) - 14),
			      .ttl = 64,
			      .proto = IPPROTO_UDP,
			      .saddr = htonl(FB_SADDR),
			      .daddr = htonl(load->far ? FB_FAR : FB_DADDR),
			      .dport = htons(FB_DPORT),
			      .udp_len = htons(sizeof(f) - 34) };
	struct fg_conf *c = &b->gen->bss->fg_conf;

	c->kind = load->kind;
	c->mask = (load->flows ?: 1) - 1;
	c->sum = sum_of(&f.version, 20);
	c->frame = f;
}

/* Packets that a device has received. */
static __u64 received(const char *dev)
{
	FILE *f = fopen("/proc/net/dev", "re");
	unsigned long long packets = 0, bytes;
	char line[512], name[32];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %31[^:]: %llu %llu", name, &bytes, &packets) == 3 &&
		    !strcmp(name, dev))
			break;
		else
			packets = 0;
	if (f)
		fclose(f);
	return packets;
}

/* Datagrams that came through to a port that nobody has. */
static __u64 came_through(void)
{
	FILE *f = fopen("/proc/net/snmp", "re");
	unsigned long long in, none = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Udp: %llu %llu", &in, &none) == 2)
			break;
	if (f)
		fclose(f);
	return none;
}

/* CPU time of the thread that handles what was put off. */
static __u64 softirq_ns(int cpu)
{
	static char path[64];
	unsigned long long ns = 0;
	FILE *f;

	if (!path[0]) {
		char want[32], name[32];
		DIR *d = opendir("/proc");
		struct dirent *e;

		snprintf(want, sizeof(want), "ksoftirqd/%d", cpu);
		while (d && (e = readdir(d))) {
			char comm[300];

			snprintf(comm, sizeof(comm), "/proc/%s/comm", e->d_name);
			f = fopen(comm, "re");
			if (f && fscanf(f, "%31s", name) == 1 && !strcmp(name, want))
				snprintf(path, sizeof(path), "/proc/%.20s/schedstat", e->d_name);
			if (f)
				fclose(f);
		}
		if (d)
			closedir(d);
	}
	f = fopen(path, "re");
	if (f && fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f)
		fclose(f);
	return ns;
}

struct ran {
	__u64 packets, ns;
};

static int run(struct fb *b, const char *count, __u32 packets, struct ran *r)
{
	struct fg_frame f = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = &f, .data_size_in = sizeof(f),
		    .repeat = (int)packets, .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = 64);
	__u64 before = received(count), soft = softirq_ns(b->cpu), got, was;
	__u64 from = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);

	if (bpf_prog_test_run_opts(bpf_program__fd(b->gen->progs.fg_live), &o))
		return -errno;
	r->ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
	/* What ksoftirqd still has. */
	got = received(count);
	for (int i = 0; i < DRAIN_MS && got - before < packets; i++) {
		was = got;
		bench_sleep_ns(BENCH_NS_PER_MS);
		got = received(count);
		if (got == was)
			break;
	}
	r->packets = got - before;
	r->ns += softirq_ns(b->cpu) - soft;
	return 0;
}

/* How many packets take about so long? */
static int pace(struct fb *b, struct fb_side *s, const char *count, __u64 slice_ns)
{
	struct ran r = { 0 };
	__u32 n = 512;
	double more;
	int err;

	for (;;) {
		err = run(b, count, n, &r);
		if (err || !r.packets)
			return err;
		if (r.ns >= slice_ns / 8)
			break;
		n *= r.ns < slice_ns / 64 ? 8 : 4;
	}
	more = (double)slice_ns / (double)r.ns * n;
	s->packets = more < 64 ? 64 : more > 2e8 ? 200000000u : (__u32)more;
	return 0;
}

double fb_live(struct fb *b, struct fb_side *s, __u64 slice_ns)
{
	const char *count = s->count[0] ? s->count : s->rx;
	__u64 through = came_through();
	struct ran r = { 0 };
	int err = 0;

	if (s->off)
		return NAN;
	b->gen->bss->fg_conf.to = s->place;
	if (slice_ns)
		err = pace(b, s, count, slice_ns);
	err = err ?: run(b, count, s->packets, &r);
	if (err || !r.packets || came_through() != through) {
		fprintf(stderr, "bench_flow: %s: %s\n", s->name,
			err	     ? strerror(-err)
			: !r.packets ? "no packet arrived"
				     : "packets came through that should have been stopped");
		b->wrong++;
		return NAN;
	}
	return (double)r.packets * 1e3 / (double)r.ns;
}

double fb_ns(struct fb *b, int prog_fd, __u32 packets)
{
	struct fg_frame f = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = &f, .data_size_in = sizeof(f),
		    .repeat = (int)packets);
	__u32 zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(b->gen->maps.fg_next), &zero, &prog_fd, BPF_ANY) ||
	    bpf_prog_test_run_opts(bpf_program__fd(b->gen->progs.fg_tail), &o)) {
		fprintf(stderr, "bench_flow: test run: %s\n", strerror(errno));
		b->wrong++;
		return NAN;
	}
	return o.duration;
}

static double best(const struct sb_series *s)
{
	return sb_quantile(s, 1);
}

struct fb_row *fb_compare(struct fb *b, const char *name, __u32 rules, const struct fb_load *load,
			  struct fb_side *const *side, unsigned int n)
{
	static struct sb_series mpps[FB_PEERS], ratio[FB_PEERS];
	struct fb_row *first = NULL;

	memset(mpps, 0, sizeof(mpps));
	memset(ratio, 0, sizeof(ratio));
	fb_use(b, load);
	for (unsigned int i = 0; i < n; i++) {
		/* Caches are filled, and whether they pay has been found out. */
		if (!side[i]->off)
			fb_live(b, side[i], (load->flows > 65536 ? 600 : 150) * BENCH_NS_PER_MS);
		if (!side[i]->off)
			fb_live(b, side[i], b->slice_ns);
	}
	for (unsigned int round = 0; round < b->rounds; round++) {
		double v[FB_PEERS];

		for (unsigned int k = 0; k < n; k++) {
			unsigned int i = round % 2 ? n - 1 - k : k;

			v[i] = fb_live(b, side[i], 0);
			sb_add(&mpps[i], v[i]);
		}
		for (unsigned int i = 1; i < n; i++)
			sb_add(&ratio[i], v[0] / v[i]);
	}
	for (unsigned int i = 1; i < n; i++) {
		struct fb_row *row;

		if (side[i]->off || side[0]->off)
			continue;
		row = fb_row(&b->report, name, side[i]->name, rules, load->flows);
		row->ours = best(&mpps[0]);
		row->theirs = best(&mpps[i]);
		row->ratio = sb_quantile(&ratio[i], 0.5);
		row->ratio_q1 = sb_quantile(&ratio[i], 0.25);
		row->ratio_q3 = sb_quantile(&ratio[i], 0.75);
		row->rounds = ratio[i].n;
		first = first ?: row;
	}
	fb_print(&b->report);
	return first;
}
