/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_quick.bpf.h - the usual segment of request/response: it begins with a message and holds no
 * second one. Its header is read to the stack; no window, no loop.
 */
#ifndef KCM_SOCK_QUICK_BPF_H
#define KCM_SOCK_QUICK_BPF_H

#define KCM_QUICK_BYTES 16

/* Return: whether the @len bytes at @off of the skb are settled; else nothing has changed. */
static __always_inline int quick(struct __sk_buff *ctx, struct kcm_sk_dir *d, __u32 off, __u32 len)
{
	const struct kcm_frame *f = framing();
	__u8 hdr[KCM_QUICK_BYTES + 8] = {};
	__u64 v;
	int n;

	if (f->kind != KCM_FRAME_LENGTH || f->need_bytes > KCM_QUICK_BYTES || f->skip_bytes ||
	    (f->flags & KCM_FRAME_ZERO_UNTYPED))
		return 0;
	if (d->hop | d->carry_bytes | d->stashes)
		return 0;
	if (d->skip) { /* in the middle of a long message */
		if (d->skip < len)
			return 0;
		d->skip -= len;
		d->msgs += !d->skip;
		return 1;
	}
	if (len < f->need_bytes || bpf_skb_load_bytes(ctx, off, hdr, f->need_bytes))
		return 0;
	if (f->len_off > KCM_QUICK_BYTES)
		return 0;
	__builtin_memcpy(&v, &hdr[f->len_off], sizeof(v));
	v = (f->order == KCM_FRAME_BE ? KCM_BE64(v) : KCM_LE64(v)) >> f->shift & f->mask;
	n = kcm_frame_total(f, v, f->add, (__s64)f->hdr_bytes);
	if (n <= 0 || (__u32)n < len)
		return 0;
	d->len_hint = n;
	d->skip = n - len;
	d->msgs += !d->skip;
	return 1;
}

#endif
