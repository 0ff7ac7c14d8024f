// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * socktag.bpf.c - what an operator changes on live sockets of all network namespaces: labels, and
 * limits of UDP sockets. Loaded by the command that needs it, for as long as it runs.
 *
 * Programs do it, not user space: labels that are being changed are a lock, and a program is not
 * killed while it holds it.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "socktag.h"

/* These programs are not given the coarse clock. */
#define bpf_ktime_get_coarse_ns bpf_ktime_get_ns

#include "sock_maps.bpf.h"
#include "sock_find.bpf.h"
#include "sock_pkt.bpf.h"
#include "sock_rule.bpf.h"
#include "sock_label.bpf.h"
#include "file.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* kcm_tag_want - which sockets get which label. Key: cookie. Lifetime: of the command. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* set at load */
	__type(key, __u64);
	__type(value, struct kcm_tag_want);
} kcm_tag_want SEC(".maps");

/* Return: as kcm_label_set(); -ENOENT the socket has no slot (any more). */
SEC("syscall")
int kcm_tag_slot(struct kcm_tag *ctx)
{
	struct kcm_sk_label label = ctx->label;
	__u64 cookie = ctx->cookie;
	struct kcm_sk_more *more;
	struct kcm_sk_hot *hot;
	__u32 slot;
	int err;

	hot = slot_find(cookie, &slot);
	more = hot ? slot_more(slot) : NULL;
	if (!hot || !more)
		return -KCM_ENOENT;
	err = kcm_label_set(&more->info, &label);
	/* It closed meanwhile: the label is on nobody, the slot is filled anew for the next one. */
	return hot->tag == cookie ? err : -KCM_ENOENT;
}

static __always_inline void label_rest(struct sock *sk)
{
	struct kcm_sk_store *store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);
	struct kcm_tag_want *want;
	__u64 cookie;

	if (!store)
		return;
	cookie = store->hot.tag;
	want = bpf_map_lookup_elem(&kcm_tag_want, &cookie);
	if (!want)
		return;
	want->result = kcm_label_set(&store->more.info, &want->label);
	want->met = 1;
}

SEC("iter/bpf_sk_storage_map")
int kcm_tag_rest(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	if (ctx->sk)
		label_rest(ctx->sk);
	return 0;
}

/* Where no program may walk a map, see sockiter_file.bpf.h. Twice is as good as once. */
SEC("iter/task_file")
int kcm_tag_files(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = sock_of_file(ctx->file);

	if (sk)
		label_rest(sk);
	return 0;
}

static long udp_slot(__u32 slot, void *unused)
{
	struct kcm_sk_hot *hot = bpf_map_lookup_elem(&kcm_sk_hot, &slot);
	struct kcm_sk_more *more;

	if (!hot || hot->proto != KCM_SK_UDP || !hot->tag || (hot->tag & KCM_TAG_BUSY))
		return 0;
	more = slot_more(slot);
	if (more)
		rules_apply_udp(hot, more, hot->tag);
	return 0;
}

/* UDP: dropping needs nothing of the socket itself. */
SEC("syscall")
int kcm_udp_slots(void *ctx)
{
	bpf_loop(kcm_sk_cfg.slots, udp_slot, NULL, 0);
	return 0;
}

/* Each of those that are not in a slot is open in some process. */
SEC("iter/task_file")
int kcm_udp_rest(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = sock_of_file(ctx->file);
	struct kcm_sk_store *store = sk ? bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0) : NULL;

	if (store && store->hot.proto == KCM_SK_UDP && store->hot.state == KCM_SK_ESTABLISHED)
		rules_apply_udp(&store->hot, &store->more, store->hot.tag);
	return 0;
}
