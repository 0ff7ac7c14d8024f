// SPDX-License-Identifier: GPL-2.0
/*
 * flowsend.bpf.c - packets of flows, for tests/bench/flow_*.c.
 *
 * Both programs write the whole frame anew, for the buffer may be one that came back from a
 * receiver. fg_live is for test runs with live frames: it sends to the device that was asked for.
 * fg_tail gives the frame to the program at place 0 of fg_next, in the same run.
 */
#include <stdbool.h>
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "flowsend.h"

char _license[] SEC("license") = "GPL";

/* fg_conf: written between runs by user space, read by the programs. */
struct fg_conf fg_conf;
/* fg_at: where the sequence is. Of one CPU: nobody else runs this. */
struct fg_at fg_at;

/* fg_dev - devices. Key: place. Written by user space, read by fg_live. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, FG_DEVS);
	__type(key, __u32);
	__type(value, __u32);
} fg_dev SEC(".maps");

/* fg_next - the program that is measured. Key: 0. Written by user space, read by fg_tail. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} fg_next SEC(".maps");

/* fg_draw - flows in the order of a Zipf distribution's draws. Key: place. Written by user space.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FG_DRAWS);
	__type(key, __u32);
	__type(value, __u32);
} fg_draw SEC(".maps");

/* fg_head - headers that were derived from rules. Key: place. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FG_HEADS);
	__type(key, __u32);
	__type(value, struct fg_head);
} fg_head SEC(".maps");

/* All flows in an order that no prefetcher knows: a full period, for there are 2^n of them. */
static __always_inline __u32 next_flow(void)
{
	fg_at.flow = (fg_at.flow * 1664525u + 1013904223u) & fg_conf.mask;
	return fg_at.flow;
}

static __always_inline __u64 next_random(void)
{
	__u64 x = fg_at.random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return fg_at.random = x;
}

/* Return: flow:20 | what makes it one of its own:16 of bits 32-47. */
static __always_inline __u64 pick(void)
{
	__u32 at;
	__u32 *draw;
	__u64 r;

	switch (fg_conf.kind) {
	case FG_ZIPF:
		at = fg_at.draw++ & (FG_DRAWS - 1);
		draw = bpf_map_lookup_elem(&fg_draw, &at);
		return draw ? *draw : 0;
	case FG_FLOOD:
		r = next_random();
		if ((r >> 48 & 1023) >= FG_FLOOD_PART)
			return next_flow();
		return (r & 0xfffff) | (r << 4 & 0xffff00000000ull) | 1ull << 32;
	case FG_NEW:
		r = ++fg_at.fresh;
		return (r & 0xfffff) | (r << 12 & 0xffff00000000ull);
	default:
		return next_flow();
	}
}

static __always_inline bool write_head(struct fg_frame *f)
{
	__u32 at = fg_at.head++ & (FG_HEADS - 1);
	struct fg_head *h = bpf_map_lookup_elem(&fg_head, &at);

	if (!h)
		return false;
	f->saddr = h->saddr;
	f->daddr = h->daddr;
	f->sport = h->sport;
	f->dport = h->dport;
	f->proto = h->proto;
	return true;
}

static __always_inline bool write_frame(struct xdp_md *ctx)
{
	struct fg_frame *f = (void *)(long)ctx->data;
	const __u64 *from = (const void *)&fg_conf.frame;
	__u64 *to = (void *)(long)ctx->data, flow;
	__u32 sum;

	if ((void *)(f + 1) > (void *)(long)ctx->data_end)
		return false;
	for (__u32 i = 0; i < sizeof(*f) / 8; i++)
		to[i] = from[i];
	if (fg_conf.kind == FG_HEADS_OF_RULES)
		return write_head(f);
	flow = pick();
	f->sport = bpf_htons(flow & 0xffff);
	/* Network order: what is added is in the last byte of an address, and its low half. */
	f->daddr += bpf_htonl(flow >> 16 & 15);
	f->saddr += bpf_htonl(flow >> 32);
	sum = fg_conf.sum + (flow >> 16 & 15) + (flow >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	f->check = bpf_htons(~(sum + (sum >> 16)));
	return true;
}

SEC("xdp")
int fg_live(struct xdp_md *ctx)
{
	if (!write_frame(ctx))
		return XDP_ABORTED;
	return bpf_redirect_map(&fg_dev, fg_conf.to, 0);
}

SEC("xdp")
int fg_tail(struct xdp_md *ctx)
{
	if (write_frame(ctx))
		bpf_tail_call(ctx, &fg_next, 0);
	return XDP_ABORTED;
}

/* What can't be done cheaper. */
SEC("xdp")
int fg_empty(struct xdp_md *ctx)
{
	return XDP_DROP;
}
