// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_flow_refresh.c - which cached verdicts are found anew after a change, and which flows are
 * still known after a flood, and after collisions that somebody crafts who knows the seed.
 *
 * Packets are given to the program in force by test runs on one CPU; after each one the counters of
 * that CPU say what became of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "flow_edit.h"
#include "flow_load.h"
#include "flow_parse.h"
#include "flow_text.h"
#include "util.h"

#define FLOWS	 65536
#define POLICIES 1000
#define VICTIM	 417 /* is taken out */
#define FRAME	 64

enum found { HIT, RESTAMPED, STALE, MISS, NOWHERE };

static struct flow_inst inst = FLOW_INST_NONE;
static int cpu;

static void load(uint32_t cache, struct flow_set *set)
{
	static const char *const ifs[] = { "b0" };
	const struct flow_load_opts o = { .ifname = ifs,
					  .n_if = 1,
					  .cache_entries = cache,
					  .policies = 2 * POLICIES,
					  .idle_s = FLOW_IDLE_S,
					  .closed_s = FLOW_CLOSED_S,
					  .no_bypass = true,
					  .set = set };
	struct flow_loaded done;
	char why[256] = "";
	int err = kcm_flow_load(&o, &done, why, sizeof(why));

	if (err)
		fail_msg("load: %s (%d)", why, err);
	assert_int_equal(flow_inst_open(&inst, "b0", FLOW_WRITE), 0);
}

static void unload(void)
{
	char name[KCM_PIN_NAME];

	snprintf(name, sizeof(name), "%s", inst.name);
	flow_inst_close(&inst);
	assert_int_equal(kcm_flow_unload(name), 0);
}

/* ---- a packet ---- */

struct udp_flow {
	uint32_t saddr, daddr; /* host order */
	uint16_t sport, dport;
};

static enum found send_flow(const struct udp_flow *u, uint32_t *verdict)
{
	const struct kcm_fl_stat was = inst.stat[cpu];
	unsigned char p[FRAME] = { 2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 8, 0, 0x45, 0, 0, 50 };
	const uint32_t addr[2] = { htonl(u->saddr), htonl(u->daddr) };
	const uint16_t udp[3] = { htons(u->sport), htons(u->dport), htons(30) };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p, .data_size_in = sizeof(p), .repeat = 1);

	p[22] = 64;
	p[23] = 17;
	memcpy(p + 26, addr, sizeof(addr));
	memcpy(p + 34, udp, sizeof(udp));
	assert_int_equal(bpf_prog_test_run_opts(inst.prog_fd, &o), 0);
	if (verdict)
		*verdict = o.retval;
	return inst.stat[cpu].stale != was.stale	   ? STALE
	       : inst.stat[cpu].misses != was.misses	   ? MISS
	       : inst.stat[cpu].restamped != was.restamped ? RESTAMPED
	       : inst.stat[cpu].hits != was.hits	   ? HIT
							   : NOWHERE;
}

/* ---- selective refresh ---- */

/* Flow n is policy n % POLICIES's, which drops it if that is odd. */
static struct udp_flow numbered(uint32_t n)
{
	uint32_t p = n % POLICIES;

	return (struct udp_flow){ 0x0a000000 | p << 8 | n / POLICIES, 0x0b000001, 4000, 53 };
}

static void thousand(struct flow_set *set)
{
	char *text = NULL, why[256] = "";
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);

	assert_non_null(f);
	fprintf(f, "default pass\n");
	for (unsigned int p = 0; p < POLICIES; p++)
		fprintf(f, "%u name p%u ip src 10.%u.%u.0/24 %s\n", 100 + p, p, p >> 8, p & 255,
			p & 1 ? "drop" : "pass");
	fclose(f);
	if (flow_text_read(text, bytes, set, why, sizeof(why)))
		fail_msg("%s", why);
	free(text);
}

static bool of_victim(uint32_t n)
{
	return n % POLICIES == VICTIM;
}

static bool of_added(uint32_t n)
{
	return n % POLICIES == 6 || n % POLICIES == 7;
}

struct round {
	uint32_t of_policy[NOWHERE + 1], others[NOWHERE + 1], wrong;
};

/* Every flow once. @flows: those of interest. */
static struct round every_flow(bool (*flows)(uint32_t n), bool victim_is_there, bool added)
{
	struct round r = { 0 };

	for (uint32_t n = 0; n < FLOWS; n++) {
		const struct udp_flow u = numbered(n);
		uint32_t verdict, p = n % POLICIES;
		enum found found = send_flow(&u, &verdict);
		bool drop = p & 1 && (p != VICTIM || victim_is_there);

		if (added && of_added(n))
			drop = true;
		r.wrong += verdict != (drop ? XDP_DROP : XDP_PASS);
		(flows(n) ? r.of_policy : r.others)[found]++;
	}
	return r;
}

static void put_in(const char *text)
{
	struct flow_set set = { 0 };
	struct flow_policy p;
	char why[256] = "";
	int err = flow_set_of(&inst, &set, why, sizeof(why));

	err = err ?: flow_parse_policy(text, &set, &p, why, sizeof(why));
	err = err ?: flow_put_in(&inst, &set, &p, why, sizeof(why));
	if (err)
		fail_msg("%s: %s", text, why);
	flow_set_free(&set);
}

static void only_its_own_flows(void **state)
{
	uint32_t victims = FLOWS / POLICIES + (VICTIM < FLOWS % POLICIES);
	struct flow_set set = { 0 };
	struct round r;
	char why[256] = "";

	(void)state;
	thousand(&set);
	load(2 * FLOWS, &set);
	flow_set_free(&set);
	r = every_flow(of_victim, true, false);
	assert_int_equal(r.wrong, 0);
	assert_int_equal(r.of_policy[MISS] + r.others[MISS], FLOWS);
	r = every_flow(of_victim, true, false);
	assert_int_equal(r.wrong, 0);
	/* A few sets have more flows than ways. */
	assert_true(r.of_policy[HIT] + r.others[HIT] > FLOWS / 100 * 95);

	for (uint32_t i = 0; i < inst.conf.policies; i++)
		if (inst.line[i].prio == 100 + VICTIM) {
			assert_int_equal(flow_take_out(&inst, i, why, sizeof(why)), 0);
			break;
		}
	r = every_flow(of_victim, false, false);
	print_message("# without one of %d policies, %d flows: %u judged anew, of others %u\n",
		      POLICIES, FLOWS, r.of_policy[STALE], r.others[STALE]);
	assert_int_equal(r.wrong, 0);
	assert_int_equal(r.others[STALE], 0);
	assert_int_equal(r.of_policy[STALE] + r.of_policy[MISS], victims);
	assert_true(r.of_policy[STALE] > victims / 2);
	assert_true(r.others[HIT] > FLOWS / 100 * 95);
	r = every_flow(of_victim, false, false);
	assert_int_equal(r.of_policy[STALE] + r.others[STALE] + r.wrong, 0);

	/* One that no flow meets, and one that the hosts 7 of two policies meet. */
	put_in("1 name seven ip src 10.0.0.0/8 dst 11.0.0.1 proto udp sport 5000 drop");
	r = every_flow(of_added, false, false);
	print_message("# with one more: %u restamped, %u judged anew\n",
		      r.of_policy[RESTAMPED] + r.others[RESTAMPED],
		      r.of_policy[STALE] + r.others[STALE]);
	assert_int_equal(r.of_policy[STALE] + r.others[STALE] + r.wrong, 0);
	assert_int_equal(r.of_policy[HIT] + r.others[HIT], 0);
	assert_true(r.others[RESTAMPED] > FLOWS / 100 * 95);
	r = every_flow(of_added, false, false);
	assert_int_equal(r.of_policy[RESTAMPED] + r.others[RESTAMPED], 0);
	put_in("2 name two ip src 10.0.6.0/23 proto udp dport 53 drop");
	r = every_flow(of_added, false, true);
	print_message("# with one of two policies' flows: %u restamped, %u judged anew, of others "
		      "%u\n",
		      r.others[RESTAMPED], r.of_policy[STALE], r.others[STALE]);
	assert_int_equal(r.wrong, 0);
	assert_int_equal(r.others[STALE], 0);
	assert_int_equal(r.of_policy[STALE] + r.of_policy[MISS], 2 * (FLOWS / POLICIES + 1));
	assert_true(r.of_policy[STALE] > FLOWS / POLICIES);
	assert_true(r.others[RESTAMPED] > FLOWS / 100 * 95);
	unload();
}

/* ---- flood ---- */

static uint64_t random_state = 88172645463325252ull;

static uint32_t any(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32);
}

static void flood(void **state)
{
	enum { ESTABLISHED = 6000, ROUNDS = 12, CACHE = 32768 };
	uint32_t kept = 0;

	(void)state;
	load(CACHE, NULL);
	for (int round = 0; round < ROUNDS; round++)
		for (uint32_t n = 0; n < ESTABLISHED; n++) {
			const struct udp_flow u = numbered(n);

			send_flow(&u, NULL);
			/* Before they were found again they are nobody. */
			for (int i = 0; round > 1 && i < 9; i++) {
				const struct udp_flow r = { any(), any(), (uint16_t)any(), 53 };

				send_flow(&r, NULL);
			}
		}
	for (uint32_t n = 0; n < ESTABLISHED; n++) {
		const struct udp_flow u = numbered(n);

		kept += send_flow(&u, NULL) == HIT;
	}
	print_message("# flood of 90 %%: %u of %u flows are still known\n", kept, ESTABLISHED);
	assert_true(kept * 100 >= ESTABLISHED * 99);
	assert_true(inst.stat[cpu].refused + inst.stat[cpu].evicted > CACHE);
	unload();
}

/* ---- collisions ---- */

static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * (inst.conf.seed | 1);
	return h ^ h >> 32;
}

static uint32_t set_of(const struct udp_flow *u)
{
	struct kcm_fl_key4 k = { .saddr = htonl(u->saddr),
				 .daddr = htonl(u->daddr),
				 .sport = htons(u->sport),
				 .dport = htons(u->dport),
				 .proto = 17,
				 .class = KCM_FL_IP4 | KCM_FL_C_PORTS };
	uint64_t w[2];

	memcpy(w, &k, sizeof(w));
	return (uint32_t)(mix(mix(inst.conf.seed, w[0]), w[1]) * 0x9e3779b97f4a7c15ull >> 16) &
	       (inst.conf.sets4 - 1);
}

static void collisions(void **state)
{
	enum { CRAFTED = 200, OTHERS = 2000, CACHE = 8192, LOADS = 4 };
	static struct udp_flow crafted[CRAFTED];
	uint32_t n = 0, in_set = 0, most = 0, kept = 0, target = 5, *per_set;
	uint64_t seed[LOADS];

	(void)state;
	load(CACHE, NULL);
	while (n < CRAFTED) {
		const struct udp_flow u = { any(), any(), (uint16_t)any(), 53 };

		if (set_of(&u) == target)
			crafted[n++] = u;
	}
	for (int round = 0; round < 3; round++)
		for (uint32_t i = 0; i < OTHERS; i++) {
			const struct udp_flow u = numbered(i);

			send_flow(&u, NULL);
		}
	for (int round = 0; round < 20; round++)
		for (uint32_t i = 0; i < CRAFTED; i++)
			send_flow(&crafted[i], NULL);
	assert_int_equal(flow_inst_cache(&inst), 0);
	/* They are where they should be, and nowhere else. */
	for (uint32_t i = 0; i < inst.conf.sets4 * KCM_FL_WAYS; i++) {
		size_t at = (size_t)cpu * inst.conf.sets4 * KCM_FL_WAYS + i;
		const struct kcm_fl_ent4 *e = &inst.e4[at];

		for (uint32_t c = 0; e->f.genid && c < CRAFTED; c++)
			if (e->key.saddr == htonl(crafted[c].saddr) &&
			    e->key.daddr == htonl(crafted[c].daddr)) {
				assert_int_equal(i / KCM_FL_WAYS, target);
				in_set++;
			}
	}
	assert_in_range(in_set, 1, KCM_FL_WAYS);
	for (uint32_t i = 0; i < OTHERS; i++) {
		const struct udp_flow u = numbered(i);

		kept += send_flow(&u, NULL) == HIT || set_of(&u) == target;
	}
	assert_true(kept >= OTHERS - OTHERS / 100);
	seed[0] = inst.conf.seed;
	unload();

	/* With the next seed it was in vain. */
	for (int l = 1; l < LOADS; l++) {
		load(CACHE, NULL);
		seed[l] = inst.conf.seed;
		for (int k = 0; k < l; k++)
			assert_true(seed[k] != seed[l]);
		per_set = calloc(inst.conf.sets4, sizeof(*per_set));
		assert_non_null(per_set);
		for (uint32_t i = 0; i < CRAFTED; i++)
			if (++per_set[set_of(&crafted[i])] > most)
				most = per_set[set_of(&crafted[i])];
		free(per_set);
		unload();
	}
	print_message("# %d crafted flows: %u in their set, with other seeds at most %u in one\n",
		      CRAFTED, in_set, most);
	assert_true(most <= KCM_FL_WAYS);
}

static int world(void **state)
{
	cpu_set_t set;

	(void)state;
	cpu = sched_getcpu();
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) || unshare(CLONE_NEWNET | CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"))
		return -1;
	return system("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; ip link set lo up && "
		      "ip link add a0 type veth peer name b0 && ip link set b0 up");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_its_own_flows),
		cmocka_unit_test(flood),
		cmocka_unit_test(collisions),
	};

	return cmocka_run_group_tests(tests, world, NULL);
}
