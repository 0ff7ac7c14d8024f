// SPDX-License-Identifier: GPL-2.0
/* One tiny program per feature; `kcmtool doctor` loads them one at a time. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct timer_value {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, __u64);
} kcm_p_socks SEC(".maps");

struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} kcm_p_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ring);
} kcm_p_rings SEC(".maps") = { .values = { &kcm_p_ring } };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} kcm_p_mmap SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct timer_value);
} kcm_p_timer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} kcm_p_store SEC(".maps");

/* The socket a probe is about, and what became of it. */
struct live {
	__u64 cookie;
	__s64 ret;
	__u64 met;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct live);
} kcm_p_live SEC(".maps");

SEC("sk_skb/stream_verdict")
int kcm_p_verdict(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);

	return bpf_map_lookup_elem(&kcm_p_mmap, &(__u32){ 0 }) && cookie ? SK_PASS : SK_DROP;
}

SEC("sk_skb/stream_parser")
int kcm_p_parser(struct __sk_buff *skb)
{
	return skb->len;
}

static long loop_step(__u32 i, void *arg)
{
	*(__u64 *)arg += i;
	return 0;
}

SEC("sk_skb")
int kcm_p_loop(struct __sk_buff *skb)
{
	__u64 sum = 0;

	bpf_loop(skb->len & 7, loop_step, &sum, 0);
	return sum > 3;
}

SEC("sk_skb")
int kcm_p_ringbuf(struct __sk_buff *skb)
{
	__u64 *slot = bpf_ringbuf_reserve(&kcm_p_ring, sizeof(*slot), 0);

	if (!slot)
		return SK_PASS;
	*slot = skb->len;
	bpf_ringbuf_submit(slot, BPF_RB_NO_WAKEUP);
	return SK_DROP;
}

SEC("sk_skb")
int kcm_p_inner(struct __sk_buff *skb)
{
	void *ring = bpf_map_lookup_elem(&kcm_p_rings, &(__u32){ 0 });
	__u64 len = skb->len;

	return ring && !bpf_ringbuf_output(ring, &len, sizeof(len), BPF_RB_FORCE_WAKEUP);
}

static int timer_fired(void *map, __u32 *key, struct timer_value *value)
{
	return 0;
}

SEC("sk_skb")
int kcm_p_timer_use(struct __sk_buff *skb)
{
	struct timer_value *v = bpf_map_lookup_elem(&kcm_p_timer, &(__u32){ 0 });

	if (!v)
		return SK_DROP;
	bpf_timer_init(&v->timer, &kcm_p_timer, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&v->timer, timer_fired);
	return bpf_timer_start(&v->timer, 1000, 0) ? SK_DROP : SK_PASS;
}

SEC("sk_skb")
int kcm_p_cmpxchg(struct __sk_buff *skb)
{
	__u64 *v = bpf_map_lookup_elem(&kcm_p_mmap, &(__u32){ 0 });

	if (!v)
		return SK_DROP;
	return __sync_val_compare_and_swap(v, skb->len, 1) + __sync_fetch_and_add(v, 1) > 4;
}

SEC("sockops")
int kcm_p_sockops(struct bpf_sock_ops *ops)
{
	__u64 key = 0;

	/* No socket reaches it: it is attached for an instant, and 0 matches no operation here. */
	if (ops->op == BPF_SOCK_OPS_VOID)
		bpf_sock_hash_update(ops, &kcm_p_socks, &key, BPF_NOEXIST);
	return 1;
}

SEC("sk_msg")
int kcm_p_msg(struct sk_msg_md *msg)
{
	return msg->size ? SK_PASS : SK_DROP;
}

SEC("sk_reuseport/migrate")
int kcm_p_migrate(struct sk_reuseport_md *md)
{
	return md->migrating_sk ? SK_PASS : SK_DROP;
}

SEC("sockops")
int kcm_p_storage(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;

	if (sk)
		bpf_sk_storage_get(&kcm_p_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

SEC("xdp")
int kcm_p_xdp(struct xdp_md *ctx)
{
	return ctx->data < ctx->data_end ? XDP_PASS : XDP_DROP;
}

SEC("cgroup_skb/egress")
int kcm_p_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (sk)
		bpf_sk_storage_get(&kcm_p_store, sk, 0, 0);
	return 1;
}

SEC("cgroup/sock_create")
int kcm_p_create(struct bpf_sock *sk)
{
	/* Attached for an instant: no socket that others make is touched. */
	if (bpf_get_socket_cookie(sk) == 1)
		bpf_sk_storage_get(&kcm_p_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

SEC("cgroup/connect4")
int kcm_p_connect(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (sk && bpf_get_socket_cookie(ctx) == 1)
		bpf_sk_storage_get(&kcm_p_store, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

static struct live *is_it(struct sock_common *skc)
{
	struct live *l = bpf_map_lookup_elem(&kcm_p_live, &(__u32){ 0 });

	return l && bpf_get_socket_cookie(skc) == l->cookie ? l : NULL;
}

SEC("iter/tcp")
int kcm_p_iter_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct live *l = skc ? is_it(skc) : NULL;

	if (l)
		l->met++;
	return 0;
}

SEC("iter/tcp")
int kcm_p_iter_live(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct live *l = skc ? is_it(skc) : NULL;
	int flags = 0;

	if (l) {
		l->met++;
		/* TCP_BPF_SOCK_OPS_CB_FLAGS; nothing is asked for */
		l->ret = bpf_setsockopt(skc, 6, 1008, &flags, sizeof(flags));
	}
	return 0;
}

SEC("iter/bpf_map_elem")
int kcm_p_iter_map(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *v = ctx->value;

	if (v)
		bpf_seq_write(ctx->meta->seq, v, sizeof(*v));
	return 0;
}
