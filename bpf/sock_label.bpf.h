/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_label.bpf.h - labels of a socket, which several CPUs may change at once.
 *
 * kcm_sk_info.label_seq is even while labels are at rest. Who changes label i makes it odd, with i
 * in bits 1 and 2, and even and greater when done. Only programs change labels: one that is
 * killed in between would leave it odd.
 *
 * As it accepts a connection the kernel copies what the listener has, once and without a look at
 * label_seq (bpf_sk_storage_clone()). So label_end behind the labels is changed with it: a copy in
 * which both are the same, and even, is whole, in whichever direction it was made.
 */
#ifndef KCM_SOCK_LABEL_BPF_H
#define KCM_SOCK_LABEL_BPF_H

#define KCM_LABEL_TRIES 16

#include "errno.bpf.h"

static __always_inline int label_same_key(const struct kcm_sk_label *a,
					  const struct kcm_sk_label *b)
{
	const __u32 *x = (const __u32 *)a->key, *y = (const __u32 *)b->key;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

/*
 * Set a label; with an empty value remove it. A function, so that it is verified once.
 * Return: 0; -ENOSPC no label free; -EAGAIN others change labels all the time.
 */
__noinline int kcm_label_set(struct kcm_sk_info *info, const struct kcm_sk_label *label)
{
	if (!info || !label)
		return -KCM_EINVAL;
	for (int t = 0; t < KCM_LABEL_TRIES; t++) {
		__u32 seq = *(volatile __u32 *)&info->label_seq, at = KCM_SK_LABELS;

		if (seq & 1)
			continue;
		for (__u32 i = 0; i < KCM_SK_LABELS; i++) {
			if (label_same_key(&info->label[i], label)) {
				at = i;
				break;
			}
			if (!info->label[i].key[0] && at == KCM_SK_LABELS)
				at = i;
		}
		if (at == KCM_SK_LABELS) {
			if (*(volatile __u32 *)&info->label_seq != seq)
				continue;
			return label->value[0] ? -KCM_ENOSPC : 0;
		}
		at &= KCM_SK_LABELS - 1;
		if (!label->value[0] && !info->label[at].key[0])
			return 0; /* it is not there */
		if (__sync_val_compare_and_swap(&info->label_seq, seq, (seq & ~7U) | at << 1 | 1) !=
		    seq)
			continue;
		/* An exchange is a full barrier. */
		__sync_lock_test_and_set(&info->label_end, (seq & ~7U) | at << 1 | 1);
		if (label->value[0])
			__builtin_memcpy(&info->label[at], label, sizeof(*label));
		else
			__builtin_memset(&info->label[at], 0, sizeof(*label));
		seq = ((seq & ~7U) + 8) | at << 1;
		__sync_lock_test_and_set(&info->label_end, seq);
		__sync_lock_test_and_set(&info->label_seq, seq);
		return 0;
	}
	return -KCM_EAGAIN;
}

/*
 * A copy that was made while a label changed, of a listener by the kernel, or of a socket that
 * gets a slot: that label may be half of one and half of another. Nobody would ever end it.
 */
static __always_inline void label_settle(struct kcm_sk_info *info)
{
	__u32 seq = info->label_seq, end = info->label_end, at = 0, all = 0;
	__u32 done = (end >> 3) - (seq >> 3);

	if (seq == end && !(seq & 1))
		return;
	if (done == 0)
		at = seq & 1 ? seq : end;
	else if (done == 1 && !(end & 1))
		at = end;
	else if (done == -1U && !(seq & 1))
		at = seq;
	else
		all = 1; /* more than one has changed */
	if (all)
		__builtin_memset(info->label, 0, sizeof(info->label));
	else
		__builtin_memset(&info->label[at >> 1 & (KCM_SK_LABELS - 1)], 0,
				 sizeof(info->label[0]));
	info->label_seq = info->label_end = (seq & ~7U) + 8;
}

/* Labels of @from as they are while nobody changes them. Return: 0 or -EAGAIN. */
static __always_inline int label_copy(struct kcm_sk_info *to, const struct kcm_sk_info *from)
{
	for (int t = 0; t < 4; t++) {
		__u32 seq = *(volatile const __u32 *)&from->label_seq;

		__builtin_memcpy(to->label, from->label, sizeof(to->label));
		to->label_seq = seq;
		to->label_end = *(volatile const __u32 *)&from->label_seq;
		if (!(seq & 1) && to->label_end == seq)
			return 0;
	}
	return -KCM_EAGAIN;
}

/* A socket moves from storage to a slot. */
static __always_inline void label_move(struct kcm_sk_info *to, const struct kcm_sk_info *from)
{
	if (label_copy(to, from))
		label_settle(to);
}

#endif
