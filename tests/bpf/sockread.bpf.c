// SPDX-License-Identifier: GPL-2.0
/*
 * sockread.bpf.c - the kernel's own ways to list state of sockets, for tests/bench/sock_read.c.
 *
 * A storage map with counters for every socket, as the plain way has it, and two iterators that
 * print a line a socket: the counters and nothing else, less than sock has.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "sock.h"

char _license[] SEC("license") = "Dual BSD/GPL";

struct sr_counters {
	struct kcm_sk_hot hot;
	struct kcm_sk_in in;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sr_counters);
} sr_storage SEC(".maps");

__u64 sr_lines;

static __always_inline void print(struct seq_file *seq, struct sr_counters *c)
{
	static const char fmt[] = "%llu %llu %llu %u %u %llu\n";
	__u64 args[] = { c->hot.tag,	 c->hot.tx_bytes, c->in.rx_bytes,
			 c->hot.tx_segs, c->in.rx_segs,	  c->in.last_ns };

	bpf_seq_printf(seq, fmt, sizeof(fmt), args, sizeof(args));
	sr_lines++;
}

SEC("iter/bpf_sk_storage_map")
int sr_map(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sr_counters *c = ctx->value;

	if (c && ctx->sk)
		print(ctx->meta->seq, c);
	return 0;
}

SEC("iter/tcp")
int sr_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct sr_counters *c;

	if (!sk)
		return 0;
	c = bpf_sk_storage_get(&sr_storage, sk, 0, 0);
	if (c)
		print(ctx->meta->seq, c);
	return 0;
}
