// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * migrate_race.bpf.c - the connections that the kernel loses while close() of their listener is
 * under way, each by its client's address and port, for the cgroup that this is attached to.
 *
 * __tcp_close() marks a listener as shut down and only then takes it out of state LISTEN. A
 * connection that is cloned from it between the two is shut down from its birth: it sends a FIN as
 * soon as it is established, and whoever accepts it reads the end of the stream. One that is cloned
 * before and queued after is reset: no listener has ever had it. None of these can come from what a
 * program does: all happens before the connection is established.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

#define SOCKS 4096

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct race_peer {
	__u32 addr; /* the last 32 bits, host byte order */
	__u32 port; /* host byte order */
};

/* vmlinux.h lacks it. */
struct tcp_sock___tfo {
	void *fastopen_rsk;
} __attribute__((preserve_access_index));

enum race_how { RACE_SHUT = 1, RACE_RESET };

/* Key: client. Value: enum race_how. Written here, read by the test, for as long as it runs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SOCKS);
	__type(key, struct race_peer);
	__type(value, __u32);
} race_lost SEC(".maps");

static __always_inline void lost(struct bpf_sock_ops *ctx, __u32 how)
{
	__u32 v4 = ctx->remote_ip4, v6 = ctx->remote_ip6[3];
	struct race_peer peer = { .port = bpf_ntohl(ctx->remote_port) };

	/* One load from a chosen place would be of a modified context pointer. */
	barrier_var(v4);
	barrier_var(v6);
	peer.addr = bpf_ntohl(ctx->family == 2 ? v4 : v6);
	bpf_map_update_elem(&race_lost, &peer, &how, BPF_ANY);
}

SEC("sockops")
int race_ops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	if (!tp)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		/* Connections inherit it. */
		bpf_sock_ops_cb_flags_set(ctx,
					  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		if (BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.sk_shutdown))
			lost(ctx, RACE_SHUT);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		/* Those of TCP fast open are queued in this state, and must be migrated. */
		if (ctx->args[0] == BPF_TCP_SYN_RECV && ctx->args[1] == BPF_TCP_CLOSE &&
		    !BPF_CORE_READ((struct tcp_sock___tfo *)tp, fastopen_rsk))
			lost(ctx, RACE_RESET);
		break;
	}
	return 1;
}
