// SPDX-License-Identifier: GPL-2.0
/*
 * Other people's programs on a cgroup: one that counts, and one that switches every callback of a
 * connection off, ours too.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} rude_seen SEC(".maps");

SEC("cgroup_skb/egress")
int rude_count(struct __sk_buff *skb)
{
	__u64 *n = bpf_map_lookup_elem(&rude_seen, &(__u32){ 0 });

	if (n)
		__sync_fetch_and_add(n, 1);
	return 1;
}

SEC("sockops")
int rude_flags(struct bpf_sock_ops *ops)
{
	bpf_sock_ops_cb_flags_set(ops, 0);
	return 1;
}
