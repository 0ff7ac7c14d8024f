// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One policy as the program compares packets with it, and lists of addresses as it searches them.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "cmocka_all.h"
#include "../bpf/flow_sets.h"
#include "flow_form.h"
#include "flow_list.h"

#define IP4	 (1u << KCM_FL_IP4)
#define IP6	 (1u << KCM_FL_IP6)
#define OTHER	 (1u << KCM_FL_OTHER)
#define FRAG_ANY (KCM_FL_FRAG_NO | KCM_FL_FRAG_FIRST | KCM_FL_FRAG_LATER)

#define ANY .sport = { 0, UINT16_MAX }, .dport = { 0, UINT16_MAX }

static const uint32_t interfaces[] = { 11, 22, 33 };
static struct kcm_fl_rule4 r4;
static struct kcm_fl_rule6 r6;

static unsigned int forms(struct flow_policy p)
{
	memset(&r4, 0xee, sizeof(r4));
	memset(&r6, 0xee, sizeof(r6));
	return flow_forms(&p, interfaces, 3, 77, 5, &r4, &r6);
}

/* ---- forms ---- */

static void nothing_asked(void **state)
{
	(void)state;
	assert_int_equal(forms((struct flow_policy){ ANY }), OTHER | IP4 | IP6);
	assert_int_equal(r4.c.flags, FRAG_ANY);
	assert_int_equal(r4.c.where, KCM_FL_WHERE(0, 77, 5));
	assert_int_equal(r4.saddr | r4.daddr | r4.c.slen | r4.c.dlen, 0);
	assert_int_equal(r4.c.slist | r4.c.dlist | r4.c.tcp_mask, 0);
	assert_int_equal(r4.c.sphi & r4.c.dphi, UINT16_MAX);
	assert_memory_equal(&r4.c, &r6.c, sizeof(r4.c));
}

/* What only IP has makes a policy one of IP; tags and interfaces everything has. */
static void which_families(void **state)
{
	(void)state;
	assert_int_equal(forms((struct flow_policy){ ANY, .family = 4 }), IP4);
	assert_int_equal(forms((struct flow_policy){ ANY, .family = 6 }), IP6);
	assert_int_equal(forms((struct flow_policy){ ANY, .vlan = FLOW_VLAN_NONE }),
			 OTHER | IP4 | IP6);
	assert_int_equal(forms((struct flow_policy){ ANY, .ifindex = 22 }), OTHER | IP4 | IP6);
	assert_int_equal(forms((struct flow_policy){ ANY, .has_proto = true }), IP4 | IP6);
	assert_int_equal(forms((struct flow_policy){ ANY, .frag = FLOW_FRAG_NO }), IP4 | IP6);
	assert_int_equal(forms((struct flow_policy){ ANY, .tcp_mask = 2 }), IP4 | IP6);
	assert_int_equal(forms((struct flow_policy){ ANY, .src = { .is_list = true } }), IP4 | IP6);
	assert_int_equal(forms((struct flow_policy){ .sport = { 1, UINT16_MAX },
						     .dport = { 0, UINT16_MAX } }),
			 IP4 | IP6);
	assert_int_equal(forms((struct flow_policy){ ANY, .has_icmp_code = true }), IP4 | IP6);
}

static void icmp(void **state)
{
	struct flow_policy p = { ANY, .has_icmp_type = true, .icmp_type = 8 };

	(void)state;
	assert_int_equal(forms(p), IP4 | IP6);
	assert_int_equal(r4.c.proto, IPPROTO_ICMP);
	assert_int_equal(r6.c.proto, IPPROTO_ICMPV6);
	assert_true(r4.c.flags & r6.c.flags & KCM_FL_HAS_PROTO);
	assert_true(KCM_FL_W_VLAN(r4.c.where) & KCM_FL_ICMP);
	assert_int_equal(r4.c.splo, 8);
	assert_int_equal(r4.c.sphi, 8);
	assert_int_equal(r4.c.dplo, 0);
	assert_int_equal(r4.c.dphi, UINT16_MAX);
	p.has_proto = true;
	p.proto = IPPROTO_ICMP;
	assert_int_equal(forms(p), IP4);
	p.proto = IPPROTO_ICMPV6;
	assert_int_equal(forms(p), IP6);
	p.proto = IPPROTO_UDP;
	assert_int_equal(forms(p), 0);
	p.has_proto = false;
	p.dport.lo = 1; /* what has a type has no port */
	assert_int_equal(forms(p), 0);
}

static void other_conditions(void **state)
{
	struct flow_policy p = {
		.family = 4,
		.src = { .addr = { 10, 1, 255, 255 }, .len = 17, .negate = true },
		.dst = { .is_list = true, .list = 31, .negate = true },
		.sport = { 5, 6 },
		.dport = { 7, 7 },
		.has_proto = true,
		.proto = 6,
		.frag = FLOW_FRAG_YES,
		.vlan = FLOW_VLAN_ID,
		.vlan_id = 0xabc,
		.tcp_flags = 2,
		.tcp_mask = 0x12,
		.ifindex = 33,
		.action = FLOW_SAMPLE,
	};

	(void)state;
	assert_int_equal(forms(p), IP4);
	assert_int_equal(r4.saddr, 0x0a018000);
	assert_int_equal(r4.c.slen, 17);
	assert_int_equal(r4.c.slist, KCM_FL_ADDR_NOT);
	assert_int_equal(r4.c.dlen, 0);
	assert_int_equal(r4.c.dlist, 32 | KCM_FL_LIST_NOT);
	assert_int_equal(r4.c.splo << 16 | r4.c.sphi, 5 << 16 | 6);
	assert_int_equal(r4.c.dplo << 16 | r4.c.dphi, 7 << 16 | 7);
	assert_int_equal(r4.c.proto, 6);
	assert_int_equal(r4.c.flags, KCM_FL_HAS_PROTO | KCM_FL_FRAG_FIRST | KCM_FL_FRAG_LATER |
					     3 << KCM_FL_IF_SHIFT);
	assert_int_equal(r4.c.tcp, 2);
	assert_int_equal(r4.c.tcp_mask, 0x12);
	assert_true(r4.c.where == KCM_FL_WHERE(KCM_FL_VLAN_IS | 0xabc | KCM_FL_ON, 77, 5));
	p.ifindex = 44;
	assert_int_equal(forms(p), 0);
	p.ifindex = 0;
	p.tcp_mask = 0;
	assert_int_equal(forms(p), IP4);
	assert_int_equal(r4.c.tcp, 0);
}

static void long_prefix(void **state)
{
	struct flow_policy p = { ANY, .family = 6, .src = { .len = 65 }, .dst = { .len = 128 } };

	(void)state;
	memset(p.src.addr, 0xff, 16);
	memset(p.dst.addr, 0xff, 16);
	assert_int_equal(forms(p), IP6);
	assert_int_equal(r6.c.slen, 65);
	assert_int_equal(r6.saddr[1], ~0u);
	assert_int_equal(r6.saddr[2], 1u << 31);
	assert_int_equal(r6.saddr[3], 0);
	assert_int_equal(r6.daddr[3], ~0u);
}

/* ---- lists ---- */

static void nested_and_twice(void **state)
{
	struct flow_prefix a[] = { { .addr = { 10 }, .family = 4, .len = 8 },
				   { .addr = { 10, 1 }, .family = 4, .len = 16 },
				   { .addr = { 10, 1 }, .family = 4, .len = 16 },
				   { .addr = { 0xff }, .family = 6, .len = 8 } };
	struct flow_prefix b[] = { { .addr = { 10, 0xff }, .family = 4, .len = 16 },
				   { .addr = { 11 }, .family = 4, .len = 8 },
				   { .addr = { 255, 255, 255, 255 }, .family = 4, .len = 32 } };
	struct flow_list list[] = { { .prefix = a, .n = 4 }, { .n = 0 }, { .prefix = b, .n = 3 } };
	static const struct kcm_fl_iv4 want[] = {
		{ 0, 0 },	   { 0x0a000000, 1 }, { 0x0aff0000, 5 },
		{ 0x0b000000, 4 }, { 0x0c000000, 0 }, { 0xffffffff, 4 },
	};
	struct kcm_fl_iv4 *iv4;
	struct kcm_fl_iv6 *iv6;
	uint32_t n;

	(void)state;
	assert_int_equal(flow_list_iv4(list, 3, &iv4, &n), 0);
	assert_int_equal(n, 6);
	assert_memory_equal(iv4, want, sizeof(want));
	free(iv4);
	assert_int_equal(flow_list_iv6(list, 3, &iv6, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(iv6[0].hi | iv6[0].lo | iv6[0].lists, 0);
	assert_true(iv6[1].hi == 0xffull << 56 && !iv6[1].lo && iv6[1].lists == 1);
	free(iv6);
}

static void all_and_none(void **state)
{
	struct flow_prefix all[] = { { .family = 4 }, { .family = 6 } };
	struct flow_list list[FLOW_LISTS] = { [31] = { .prefix = all, .n = 2 } };
	struct kcm_fl_iv4 *iv4;
	struct kcm_fl_iv6 *iv6;
	uint32_t n;

	(void)state;
	assert_int_equal(flow_list_iv4(list, 31, &iv4, &n), 0);
	assert_true(!iv4 && !n);
	assert_int_equal(flow_list_iv4(list, 32, &iv4, &n), 0);
	assert_int_equal(n, 1);
	assert_true(iv4[0].start == 0 && iv4[0].lists == 1u << 31);
	assert_int_equal(flow_list_iv6(list, 32, &iv6, &n), 0);
	assert_int_equal(n, 1);
	assert_true(!iv6[0].hi && !iv6[0].lo && iv6[0].lists == 1u << 31);
	free(iv4);
	free(iv6);
}

static bool in_list(const struct flow_list *l, uint64_t hi, uint8_t family)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct flow_prefix *p = &l->prefix[i];
		uint64_t at = 0;

		for (int k = 0; k < 8; k++)
			at = at << 8 | p->addr[k];
		if (p->family == family && (!p->len || !((at ^ hi) >> (64 - p->len))))
			return true;
	}
	return false;
}

/* Prefixes up to 64 bits, by the first 64 bits of an address. */
static void random_lists(void **state)
{
	struct sets s = { .seed = 99 };
	struct flow_list list[4] = { 0 };
	struct kcm_fl_iv4 *iv4;
	struct kcm_fl_iv6 *iv6;
	uint32_t n4, n6;

	(void)state;
	for (int i = 0; i < 4; i++) {
		list[i].n = 200;
		list[i].prefix = calloc(200, sizeof(struct flow_prefix));
		for (int k = 0; k < 200; k++) {
			struct flow_prefix *p = &list[i].prefix[k];

			p->family = k % 2 ? 4 : 6;
			p->len = 1 + sets_below(&s, k % 2 ? 32 : 64);
			sets_any_addr(&s, p->addr, p->family, k % 3);
			sets_cut(p->addr, p->len);
		}
	}
	assert_int_equal(flow_list_iv4(list, 4, &iv4, &n4), 0);
	assert_int_equal(flow_list_iv6(list, 4, &iv6, &n6), 0);
	for (uint32_t i = 0; i < n4; i++) {
		assert_true(!i || iv4[i].start > iv4[i - 1].start);
		for (int k = 0; k < 4; k++)
			assert_int_equal(iv4[i].lists >> k & 1,
					 in_list(&list[k], (uint64_t)iv4[i].start << 32, 4));
		if (i) /* up to its last address */
			for (int k = 0; k < 4; k++)
				assert_int_equal(
					iv4[i - 1].lists >> k & 1,
					in_list(&list[k], (uint64_t)(iv4[i].start - 1) << 32, 4));
	}
	for (uint32_t i = 0; i < n6; i++) {
		assert_int_equal(iv6[i].lo, 0);
		assert_true(!i || iv6[i].hi > iv6[i - 1].hi);
		for (int k = 0; k < 4; k++)
			assert_int_equal(iv6[i].lists >> k & 1, in_list(&list[k], iv6[i].hi, 6));
	}
	for (int i = 0; i < 4; i++)
		free(list[i].prefix);
	free(iv4);
	free(iv6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_asked), cmocka_unit_test(which_families),
		cmocka_unit_test(icmp),		 cmocka_unit_test(other_conditions),
		cmocka_unit_test(long_prefix),	 cmocka_unit_test(nested_and_twice),
		cmocka_unit_test(all_and_none),	 cmocka_unit_test(random_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
