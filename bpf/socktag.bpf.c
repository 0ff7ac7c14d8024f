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

SEC("iter/bpf_sk_storage_map")
int kcm_tag_rest(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct kcm_sk_store *store;
	struct kcm_tag_want *want;
	struct sock *sk = ctx->sk;
	__u64 cookie;

	if (!sk)
		return 0;
	store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);
	if (!store)
		return 0;
	cookie = store->hot.tag;
	want = bpf_map_lookup_elem(&kcm_tag_want, &cookie);
	if (!want)
		return 0;
	want->result = kcm_label_set(&store->more.info, &want->label);
	want->met = 1;
	return 0;
}

/* UDP: dropping needs nothing of the socket itself. */
SEC("iter/bpf_map_elem")
int kcm_udp_slots(struct bpf_iter__bpf_map_elem *ctx)
{
	struct kcm_sk_more *more;
	struct kcm_sk_hot *hot;
	__u32 *key = ctx->key, slot;

	if (!key)
		return 0;
	slot = *key;
	hot = bpf_map_lookup_elem(&kcm_sk_hot, &slot);
	if (!hot || hot->proto != KCM_SK_UDP || !hot->tag || (hot->tag & KCM_TAG_BUSY))
		return 0;
	more = slot_more(slot);
	if (more)
		rules_apply_udp(hot, more, hot->tag);
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int kcm_udp_rest(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct kcm_sk_store *store;
	struct sock *sk = ctx->sk;

	if (!sk)
		return 0;
	store = bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0);
	if (store && store->hot.proto == KCM_SK_UDP && store->hot.state == KCM_SK_ESTABLISHED)
		rules_apply_udp(&store->hot, &store->more, store->hot.tag);
	return 0;
}
