// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bench_flow_tree.c - what it costs to compile sets of policies, and to find a packet's in them.
 *
 * Sets are like access lists, like firewalls' (half of the addresses are anything) and all wide
 * (ranges of ports only, the worst there is). A packet is a random one that a random policy is for,
 * so that large sets are searched with cold caches.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../bpf/flow.h"
#include "../bpf/flowbench.h"
#include "flow_tree.h"
#include "flowbench.skel.h"

enum kind { ACL, FIREWALL, WIDE, KINDS };

static const char *const kind_name[] = { "acl", "firewall", "wide" };
static uint64_t seed = 88172645463325252ull;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 16 & 0xffffffff) * n >> 32);
}

/* Of this process, as machines have other things to do. */
static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* ---- sets ---- */

/* A prefix of one of @nets networks: most are hosts and small networks. */
static void address(struct flow_addr *a, uint8_t family, uint32_t nets, uint32_t any_percent)
{
	uint32_t kind = below(100), net = below(nets), words[4];

	if (below(100) < any_percent)
		return;
	words[0] = family == 4 ? (10u + net % 7) << 24 | net * 2654435761u >> 8 : 0x20010db8;
	words[1] = net * 2654435761u;
	words[2] = below(4);
	words[3] = below(1 << 16);
	a->len = kind < 40 ? 32 : kind < 70 ? 24 : kind < 85 ? 16 + below(8) : 8 + below(24);
	if (family == 4)
		words[0] = (words[0] & ~0xffu) | below(256);
	else
		a->len = a->len == 32 ? 128 : a->len == 24 ? 64 : a->len * 2;
	for (int i = 0; i < 4; i++) {
		uint32_t rest = a->len > i * 32 ? a->len - i * 32 : 0;
		uint32_t word = htonl(rest >= 32 ? words[i] : rest ? words[i] & ~(~0u >> rest) : 0);

		memcpy(a->addr + i * 4, &word, family == 4 && i ? 0 : 4);
	}
}

static struct flow_ports ports(uint32_t any_percent, bool wide)
{
	static const uint16_t known[] = { 22,  25,  53,	 80,   110,  123,  143,	 161, 179,
					  443, 514, 993, 1433, 3306, 5060, 8080, 8443 };
	uint16_t a = below(65536), b = below(65536);

	if (below(100) < any_percent)
		return (struct flow_ports){ 0, UINT16_MAX };
	if (wide)
		return (struct flow_ports){ a < b ? a : b, a < b ? b : a };
	if (below(100) < 15)
		return (struct flow_ports){ 1024, UINT16_MAX };
	a = below(3) ? known[below(17)] : a;
	return (struct flow_ports){ a, a };
}

static void policy(struct flow_policy *p, enum kind kind, uint8_t family, uint32_t nets)
{
	uint32_t any = kind == ACL ? 10 : 45;

	p->family = family;
	p->sport = p->dport = (struct flow_ports){ 0, UINT16_MAX };
	if (kind != WIDE) {
		address(&p->src, family, nets, kind == ACL ? 25 : any);
		address(&p->dst, family, nets, any);
	}
	p->has_proto = below(100) < 90;
	p->proto = below(4) ? IPPROTO_TCP : IPPROTO_UDP;
	p->dport = ports(kind == WIDE ? 0 : 25, kind == WIDE);
	p->sport = ports(kind == WIDE ? 0 : kind == ACL ? 97 : 80, kind == WIDE);
	p->action = FLOW_DROP;
}

/* One that @p is for; one of anybody if its prefixes are none. */
static void packet(struct flowbench_pk *b, const struct flow_policy *p)
{
	struct kcm_fl_key4 k4;
	uint8_t addr[2][16];
	uint32_t sport = p->sport.lo + below(p->sport.hi - p->sport.lo + 1);
	uint32_t dport = p->dport.lo + below(p->dport.hi - p->dport.lo + 1);

	for (int side = 0; side < 2; side++) {
		const struct flow_addr *a = side ? &p->dst : &p->src;

		for (int i = 0; i < 128; i++) {
			uint8_t bit = 0x80 >> i % 8,
				from = i < a->len ? a->addr[i / 8] : below(256);

			addr[side][i / 8] = (addr[side][i / 8] & ~bit) | (from & bit);
		}
	}
	memset(b, 0, sizeof(*b));
	b->family = p->family == 4 ? KCM_FL_IP4 : KCM_FL_IP6;
	b->key.sport = k4.sport = htons(sport);
	b->key.dport = k4.dport = htons(dport);
	b->key.proto = k4.proto = p->has_proto ? p->proto : IPPROTO_TCP;
	b->key.class = k4.class = b->family | KCM_FL_C_PORTS;
	k4.vlan = 0;
	memcpy(&k4.saddr, addr[0], 4);
	memcpy(&k4.daddr, addr[1], 4);
	memcpy(b->key.saddr, addr[0], 16);
	memcpy(b->key.daddr, addr[1], 16);
	if (p->family == 4)
		memcpy(&b->key, &k4, sizeof(k4));
}

/* ---- in the kernel ---- */

static void *map_values(struct bpf_map *map, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (p == MAP_FAILED) {
		perror(bpf_map__name(map));
		exit(1);
	}
	return p;
}

static void put(struct bpf_map *map, const void *from, size_t bytes)
{
	if (bytes)
		memcpy(map_values(map, bytes), from, bytes);
}

static double run_ns(struct bpf_program *prog, unsigned int times)
{
	unsigned char data[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = sizeof(data),
		    .repeat = times);
	double best = 1e12;

	for (int i = 0; i < 5; i++)
		if (!bpf_prog_test_run_opts(bpf_program__fd(prog), &o) && o.duration < best)
			best = o.duration;
	return best;
}

struct costs {
	double all, hot, strange; /* packets: of all policies, the same few, of nobody */
};

static struct costs find(const struct flow_set *set, const struct flow_image *img)
{
	const struct flow_policy nobody = {
		.family = set->policy[0].family,
		.sport = { 0, UINT16_MAX },
		.dport = { 0, UINT16_MAX },
	};
	struct costs c;
	struct flowbench *f = flowbench__open();
	struct kcm_fl_conf *conf = (struct kcm_fl_conf *)&f->rodata->kcm_fl_conf;
	struct flowbench_pk *pk;
	uint32_t slots = set->n + KCM_FL_SLOT_FIRST;
	struct kcm_fl_pol *pol;
	unsigned int times = set->n > 20000 ? 100000 : 400000;
	double base;

	bpf_map__set_max_entries(f->maps.kcm_fl_node, img->nodes);
	bpf_map__set_max_entries(f->maps.kcm_fl_r4, img->n_r4 + 1);
	bpf_map__set_max_entries(f->maps.kcm_fl_r6, img->n_r6 + 1);
	bpf_map__set_max_entries(f->maps.kcm_fl_pol, slots);
	memcpy(conf->root, img->root, sizeof(conf->root));
	memcpy(conf->rank, img->rank, sizeof(conf->rank));
	if (flowbench__load(f)) {
		perror("flowbench");
		exit(1);
	}
	put(f->maps.kcm_fl_node, img->node, img->nodes * sizeof(*img->node));
	put(f->maps.kcm_fl_r4, img->r4, img->n_r4 * sizeof(*img->r4));
	put(f->maps.kcm_fl_r6, img->r6, img->n_r6 * sizeof(*img->r6));
	pol = map_values(f->maps.kcm_fl_pol, slots * sizeof(*pol));
	for (uint32_t i = 0; i < slots; i++)
		pol[i].gen = 1;
	pk = map_values(f->maps.kcm_t_pk, FLOWBENCH_PACKETS * sizeof(*pk));
	for (int i = 0; i < FLOWBENCH_PACKETS; i++)
		packet(&pk[i], &set->policy[below(set->n)]);
	base = run_ns(f->progs.kcm_t_none, times);
	c.all = run_ns(f->progs.kcm_t_find, times) - base;
	for (int i = 16; i < FLOWBENCH_PACKETS; i++)
		pk[i] = pk[i % 16];
	c.hot = run_ns(f->progs.kcm_t_find, times) - run_ns(f->progs.kcm_t_none, times);
	for (int i = 0; i < FLOWBENCH_PACKETS; i++)
		packet(&pk[i], &nobody);
	c.strange = run_ns(f->progs.kcm_t_find, times) - base;
	flowbench__destroy(f);
	return c;
}

static void one(enum kind kind, uint8_t family, size_t n)
{
	struct flow_set set = { .n = n, .policy = calloc(n, sizeof(*set.policy)) };
	uint32_t *slot = calloc(n, sizeof(*slot));
	struct flow_image img;
	double build_ms = 1e12;
	struct costs c;
	char why[200];

	for (size_t i = 0; i < n; i++) {
		policy(&set.policy[i], kind, family, n / 15 + 4);
		slot[i] = KCM_FL_SLOT_FIRST + i;
	}
	for (int i = 0; i < 3; i++) {
		double start = now_ms();

		if (i)
			flow_image_free(&img);
		if (flow_compile(&set, slot, NULL, 0, false, 1 << 30, &img, why, sizeof(why))) {
			fprintf(stderr, "bench_flow_tree: %s\n", why);
			exit(1);
		}
		if (now_ms() - start < build_ms)
			build_ms = now_ms() - start;
	}
	c = find(&set, &img);
	printf("%-9s IPv%u %7zu %8.1f %8.2f %6u %6u %8.0f %6.0f %8.0f\n", kind_name[kind], family,
	       n, build_ms, img.bytes / 1e6, img.depth, img.leaf_max, c.all, c.hot, c.strange);
	fflush(stdout);
	flow_image_free(&img);
	free(set.policy);
	free(slot);
}

int main(void)
{
	puts("compiling: ms of CPU time, MB, longest way in nodes, longest leaf; ns to find the "
	     "policy of\na packet: of any policy, of the same 16 packets, of packets that are of "
	     "no network\n"
	     "set           policies     ms       MB  nodes  rules      any     16  strange");
	for (int kind = 0; kind < KINDS; kind++)
		for (uint8_t family = 4; family <= 6; family += 2)
			for (size_t n = 10; n <= 100000; n *= 10)
				one(kind, family, n);
	return 0;
}
