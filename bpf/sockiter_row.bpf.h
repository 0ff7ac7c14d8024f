/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sockiter_row.bpf.h - a copy of one socket's state that belongs to that socket alone. */
#ifndef KCM_SOCKITER_ROW_BPF_H
#define KCM_SOCKITER_ROW_BPF_H

/* Loads before it are done before those behind it: an atomic that returns a value is a barrier. */
#define row_barrier()                             \
	do {                                      \
		__u64 fence_ = 0;                 \
		__sync_fetch_and_add(&fence_, 1); \
		barrier();                        \
	} while (0)

/* Does @addr say "any"? */
static __always_inline int addr_any(const __u8 *addr, __u16 family)
{
	const __u64 *half = (const __u64 *)addr;

	return family == KCM_AF_INET6 ? !(half[0] | half[1]) : !*(const __u32 *)addr;
}

/*
 * "10.0.0.1:80", "[::1]:80", "*:80"; 0 as a port: "*". A function, verified once; by the kernel's
 * own printf, because the verifier of Linux 6.1 sees a million ways through one of ours.
 */
__noinline int kcm_row_addr(struct kcm_sk_scratch *s, int peer)
{
	struct kcm_sk_row *r;
	const __u8 *addr;
	char *to;
	__u32 port;
	int v6;

	if (!s)
		return -1;
	r = &s->row;
	to = peer ? r->peer : r->local;
	addr = peer ? r->sock.info.raddr : r->sock.info.laddr;
	port = peer ? r->sock.info.rport : r->sock.info.lport;
	v6 = r->sock.info.family == KCM_AF_INET6;
	__builtin_memset(to, 0, KCM_SK_ADDR_TEXT);
	if (addr_any(addr, r->sock.info.family)) {
		if (port)
			BPF_SNPRINTF(to, KCM_SK_ADDR_TEXT, "*:%d", port);
		else
			BPF_SNPRINTF(to, KCM_SK_ADDR_TEXT, "*:*");
	} else if (v6) {
		if (port)
			BPF_SNPRINTF(to, KCM_SK_ADDR_TEXT, "[%pI6c]:%d", addr, port);
		else
			BPF_SNPRINTF(to, KCM_SK_ADDR_TEXT, "[%pI6c]:*", addr);
	} else {
		if (port)
			BPF_SNPRINTF(to, KCM_SK_ADDR_TEXT, "%pI4:%d", addr, port);
		else
			BPF_SNPRINTF(to, KCM_SK_ADDR_TEXT, "%pI4:*", addr);
	}
	return 0;
}

static __always_inline void row_finish(struct kcm_sk_scratch *s)
{
	struct kcm_sk_row *r = &s->row;

	r->adopted = !!(r->sock.flags & KCM_SKF_ADOPTED);
	r->limited = !!(r->sock.flags & (KCM_SKF_LIMIT | KCM_SKF_LIMIT_DROP));
	r->dropping = !!(r->sock.flags & KCM_SKF_LIMIT_DROP);
	kcm_row_addr(s, 0);
	kcm_row_addr(s, 1);
}

/* Return: 1 the labels are whole, 0 not: again. */
static __noinline int row_copy(struct kcm_sk_row *r, const struct kcm_sk_hot *hot,
			       const struct kcm_sk_in *in, const struct kcm_sk_more *more,
			       __u32 slot)
{
	__u32 seq;
	__u64 tag = hot->tag;

	row_barrier();
	seq = *(volatile __u32 *)&more->info.label_seq;
	row_barrier();
	sock_view(&r->sock, hot, in, more, tag, slot);
	row_barrier();
	return !(seq & 1) && *(volatile __u32 *)&more->info.label_seq == seq;
}

/* No loop: Linux 6.1 takes none that begins right behind a call. */
static __always_inline void row_copy_try(struct kcm_sk_row *r, const struct kcm_sk_hot *hot,
					 const struct kcm_sk_in *in, const struct kcm_sk_more *more,
					 __u32 slot)
{
	if (!row_copy(r, hot, in, more, slot) && !row_copy(r, hot, in, more, slot))
		row_copy(r, hot, in, more, slot);
}

/*
 * Copy a slot. Counters go on meanwhile, but what is copied is one socket's: the tag is the same
 * before and after, and no cookie comes back. Labels are whole, too. Return: 1, or 0: free.
 */
static __always_inline int row_slot(struct kcm_sk_scratch *s, __u32 slot)
{
	struct kcm_sk_row *r = &s->row;
	struct kcm_sk_hot *hot = bpf_map_lookup_elem(&kcm_sk_hot, &slot);
	struct kcm_sk_in *in = slot_in(slot);
	struct kcm_sk_more *more = slot_more(slot);
	__u64 tag;

	if (!hot || !in || !more)
		return 0;
	tag = *(volatile __u64 *)&hot->tag;
	if (!tag || tag & KCM_TAG_BUSY)
		return 0;
	row_copy_try(r, hot, in, more, slot);
	if (*(volatile __u64 *)&hot->tag != tag || r->sock.cookie != tag)
		return 0;
	row_finish(s);
	return 1;
}

/* Copy what is on a socket. Return: 1, or 0: not to be shown. */
static __always_inline int row_store(struct kcm_sk_scratch *s, struct sock *sk,
				     struct kcm_sk_store *store)
{
	struct kcm_sk_row *r = &s->row;

	/* A closed socket's memory is given back some time after close(). */
	if (store->hot.state == KCM_SK_NEW || sk->__sk_common.skc_state == KCM_SK_CLOSE)
		return 0;
	row_copy_try(r, &store->hot, &store->in, &store->more, KCM_SK_SLOT_NONE);
	/* Where the kernel does not let us have STATE_CB, only the socket knows. */
	if (r->sock.proto == KCM_SK_TCP)
		r->sock.state = sk->__sk_common.skc_state;
	row_finish(s);
	return 1;
}

#endif
