/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migudp_sock.bpf.h - UDP sockets are opened, or were there before attach. */
#ifndef KCM_MIGUDP_SOCK_BPF_H
#define KCM_MIGUDP_SOCK_BPF_H

/* What lies in a socket's queue, and what the kernel adds to it for each datagram. */
struct sock___queue {
	struct {
		struct {
			int counter;
		} rmem_alloc;
	} sk_backlog;
} __attribute__((preserve_access_index));

static __always_inline __u32 udp_queue(__u64 addr)
{
	return BPF_CORE_READ((struct sock___queue *)addr, sk_backlog.rmem_alloc.counter);
}

/* bind() has succeeded: the socket is in its group, and gets what the kernel's hash gives it. */
static __always_inline int bound(struct bpf_sock *ctx)
{
	struct kcm_mg *mg;
	struct mg_new d = {};
	struct task_struct *task;

	if (ctx->protocol != IPPROTO_UDP || ctx->src_port != kcm_mg_conf.port)
		return 1;
	mg = mg_state();
	if (!mg)
		return 1;
	d.cookie = bpf_get_socket_cookie(ctx);
	if (is_known(mg, &d))
		return 1;
	d.sk = addr_of_sk(ctx);
	new_from_sk(&d, (struct sock *)d.sk);
	task = (void *)bpf_get_current_task();
	who_is(task, &d.key);
	d.pid = BPF_CORE_READ(task, tgid);
	bpf_core_read(d.comm, sizeof(d.comm), &task->comm);
	listener_opens(mg, &d);
	return 1;
}

SEC("cgroup/post_bind4")
int kcm_mg_bound4(struct bpf_sock *ctx)
{
	return bound(ctx);
}

SEC("cgroup/post_bind6")
int kcm_mg_bound6(struct bpf_sock *ctx)
{
	return bound(ctx);
}

/*
 * It gets a peer, and gets nothing from others: no server's socket any more. Some servers have one
 * for each client, which must not fill our tables.
 */
static __always_inline int peered(struct bpf_sock_addr *ctx)
{
	struct kcm_mg *mg;

	if (ctx->protocol != IPPROTO_UDP)
		return 1;
	mg = mg_state();
	if (mg)
		listener_closes(mg, bpf_get_socket_cookie(ctx));
	return 1;
}

SEC("cgroup/connect4")
int kcm_mg_peer4(struct bpf_sock_addr *ctx)
{
	return peered(ctx);
}

SEC("cgroup/connect6")
int kcm_mg_peer6(struct bpf_sock_addr *ctx)
{
	return peered(ctx);
}

SEC("iter/udp")
int kcm_mg_adopt(struct bpf_iter__udp *ctx)
{
	struct sock *sk = (struct sock *)ctx->udp_sk;
	struct kcm_mg *mg = mg_state();
	struct mg_new d = {};

	if (!sk || !mg)
		return 0;
	if (!is_listener(sk) || !in_cgroup(sk) ||
	    !BPF_CORE_READ_BITFIELD_PROBED(&sk->__sk_common, skc_reuseport))
		return 0;
	d.cookie = bpf_get_socket_cookie(sk);
	if (is_known(mg, &d))
		return 0;
	d.sk = addr_of_sk(sk);
	new_from_sk(&d, sk);
	d.flags = KCM_MG_SLOT_ADOPTED;
	new_from_seed(&d);
	if (!listener_opens(mg, &d))
		__sync_fetch_and_add(&mg->ctl.adopted, 1);
	return 0;
}

/* Run by the keeper, for what it does not return: tc programs may lock on 6.1, too. */
SEC("tc")
int kcm_mg_tell(struct __sk_buff *ctx)
{
	struct kcm_mg *mg = mg_state();

	if (mg && mg->ctl.announce)
		announce(mg);
	return 0;
}

#endif
