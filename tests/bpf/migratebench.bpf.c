// SPDX-License-Identifier: GPL-2.0
/*
 * migratebench.bpf.c - programs in the places of those of migrate: such as do nothing, which cost
 * what the kernel takes for any, and a selector that does the least that one can do.
 * For tests/bench/migrate_cost.c.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

__u32 mb_n; /* listeners in mb_socks */

/* mb_socks - key: 0 to mb_n; value: listener. Written by user space. Lives as the benchmark. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} mb_socks SEC(".maps");

/* Any selector does this: takes a socket by the hash. */
SEC("sk_reuseport/migrate")
int mb_least(struct sk_reuseport_md *md)
{
	__u32 at = (__u64)md->hash * mb_n >> 32;

	bpf_sk_select_reuseport(md, &mb_socks, &at, 0);
	return SK_PASS;
}

SEC("sk_reuseport/migrate")
int mb_select(struct sk_reuseport_md *md)
{
	return SK_PASS;
}

SEC("sockops")
int mb_ops(struct bpf_sock_ops *ctx)
{
	return 1;
}
