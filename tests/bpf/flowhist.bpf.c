// SPDX-License-Identifier: GPL-2.0
/*
 * flowhist.bpf.c - flow's program with a record of each packet: when it was judged, and how.
 *
 * It drops them all afterwards, as nobody needs them. A number in read-only data makes it wrong in
 * one of the ways of enum hist_wrong, so that the test is seen to notice; the verifier removes what
 * is not asked for. Of one packet in HIST_SLOW the end is put off, so that races last longer.
 */
#define KCM_FL_HISTORY
#define KCM_FL_WRONG(how) (hist_wrong == HIST_##how)

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "flowhist.h"

#define SLOW_TURNS 4096 /* at most, of some 30 ns each */

const volatile __u32 hist_wrong SEC(".rodata.hist") = 0;
const volatile __u32 hist_slow_ns SEC(".rodata.hist") = 0;   /* how long the end is put off */
const volatile __u32 hist_slow_mask SEC(".rodata.hist") = 0; /* of the packets' numbers */

#include "../../bpf/flow.bpf.c"

/*
 * hist_ring - key: cpu * HIST_RING + number of the packet. hist_at - key: cpu.
 * Written by programs on that CPU, but for the tails. Read by the test. Pinned, as all of an
 * instance's programs need the same ones and user space knows nothing of them.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * HIST_RING);
	__type(key, __u32);
	__type(value, struct hist_packet);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} hist_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct hist_at);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} hist_at SEC(".maps");

static long wait_turn(__u32 i, void *arg)
{
	return bpf_ktime_get_ns() >= *(__u64 *)arg;
}

static __always_inline void keep(struct hist_at *at, __u32 cpu, __u64 begin_ns, __u32 flow,
				 int verdict)
{
	__u32 key = cpu * HIST_RING + (at->head & (HIST_RING - 1));
	struct hist_packet *p = bpf_map_lookup_elem(&hist_ring, &key);

	if (!p || at->head - *(volatile __u64 *)&at->tail >= HIST_RING) {
		at->lost++;
		return;
	}
	p->begin_ns = begin_ns;
	p->flow = flow;
	p->verdict = verdict;
	p->took_ns = bpf_ktime_get_ns() - begin_ns;
	/* A full barrier: whoever sees the head sees the packet. */
	__sync_fetch_and_add(&at->head, 1);
}

SEC("xdp")
int kcm_fl_xdp(struct xdp_md *ctx)
{
	__u64 begin_ns = bpf_ktime_get_ns(), until_ns;
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 cpu = bpf_get_smp_processor_id(), flow;
	struct hist_at *at = bpf_map_lookup_elem(&hist_at, &cpu);
	__u8 *byte = data;
	int verdict;

	if (!at || data + HIST_BYTES > end || byte[6] != HIST_MAC || byte[11] != HIST_MAC)
		return on_packet(ctx);
	flow = byte[HIST_FLOW_AT] << 8 | byte[HIST_FLOW_AT + 1];
	verdict = on_packet(ctx);
	if (hist_slow_ns && !(at->head & hist_slow_mask)) {
		until_ns = begin_ns + hist_slow_ns;
		bpf_loop(SLOW_TURNS, wait_turn, &until_ns, 0);
	}
	keep(at, cpu, begin_ns, flow, verdict);
	return XDP_DROP;
}
