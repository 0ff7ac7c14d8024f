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

struct row_text {
	char *to;
	__u32 at;
};

static __always_inline void put(struct row_text *t, char c)
{
	__u32 at = t->at;

	barrier_var(at);
	if (at < KCM_SK_ADDR_TEXT - 1)
		t->to[at] = c;
	t->at = at + 1;
}

static __always_inline void put_dec(struct row_text *t, __u32 v)
{
	if (v >= 10000)
		put(t, '0' + v / 10000 % 10);
	if (v >= 1000)
		put(t, '0' + v / 1000 % 10);
	if (v >= 100)
		put(t, '0' + v / 100 % 10);
	if (v >= 10)
		put(t, '0' + v / 10 % 10);
	put(t, '0' + v % 10);
}

static __always_inline void put_hex(struct row_text *t, __u32 v)
{
	for (int shift = 12; shift >= 0; shift -= 4) {
		__u32 digit = v >> shift & 15;

		if (v >> shift || !shift)
			put(t, digit < 10 ? '0' + digit : 'a' + digit - 10);
	}
}

static __always_inline void put_v4(struct row_text *t, const __u8 *addr)
{
	for (int i = 0; i < 4; i++) {
		if (i)
			put(t, '.');
		put_dec(t, addr[i]);
	}
}

/* Bit i: the address's group i is 0. */
static __always_inline __u32 zero_groups(const __u8 *addr)
{
	__u32 zero = 0;

	for (int i = 0; i < 8; i++)
		if (!*(const __u16 *)&addr[2 * i])
			zero |= 1U << i;
	return zero;
}

/* The longest run of zero groups is `::`, the first one of equals: bits of it; 0 = none. */
static __always_inline __u32 longest_run(__u32 zero)
{
	for (int len = 8; len >= 2; len--)
		for (int i = 0; i + len <= 8; i++) {
			__u32 run = ((1U << len) - 1) << i;

			if ((zero & run) == run)
				return run;
		}
	return 0;
}

static __always_inline void put_v6(struct row_text *t, const __u8 *addr)
{
	__u32 zero = zero_groups(addr), run = longest_run(zero);
	int v4 = (zero & 0x1f) == 0x1f && addr[10] == 0xff && addr[11] == 0xff;

	for (int i = 0; i < 8; i++) {
		if (v4 && i == 6) {
			put(t, ':');
			put_v4(t, addr + 12);
			return;
		}
		if (run >> i & 1) {
			if (!i || !(run >> (i - 1) & 1))
				put(t, ':');
			if (i == 7)
				put(t, ':');
			continue;
		}
		if (i)
			put(t, ':');
		put_hex(t, addr[2 * i] << 8 | addr[2 * i + 1]);
	}
}

/* "10.0.0.1:80", "[::1]:80", "*:80"; 0 as a port: "*". A function: verified once. */
__noinline int kcm_row_addr(struct kcm_sk_row *r, int peer)
{
	struct row_text t = {};
	const __u8 *addr;
	__u16 port;
	int any;

	if (!r)
		return -1;
	t.to = peer ? r->peer : r->local;
	addr = peer ? r->sock.info.raddr : r->sock.info.laddr;
	port = peer ? r->sock.info.rport : r->sock.info.lport;
	if (r->sock.info.family == KCM_AF_INET6) {
		any = zero_groups(addr) == 0xff;
		if (any) {
			put(&t, '*');
		} else {
			put(&t, '[');
			put_v6(&t, addr);
			put(&t, ']');
		}
	} else {
		any = !*(const __u32 *)addr;
		if (any)
			put(&t, '*');
		else
			put_v4(&t, addr);
	}
	put(&t, ':');
	if (port)
		put_dec(&t, port);
	else
		put(&t, '*');
	while (t.at < KCM_SK_ADDR_TEXT)
		put(&t, '\0');
	return 0;
}

static __always_inline void row_finish(struct kcm_sk_row *r)
{
	r->adopted = !!(r->sock.flags & KCM_SKF_ADOPTED);
	r->limited = !!(r->sock.flags & (KCM_SKF_LIMIT | KCM_SKF_LIMIT_DROP));
	r->dropping = !!(r->sock.flags & KCM_SKF_LIMIT_DROP);
	kcm_row_addr(r, 0);
	kcm_row_addr(r, 1);
}

/* Return: 1 the labels are whole, 0 not: again. */
static __noinline int row_copy(struct kcm_sk_row *r, const struct kcm_sk_hot *hot,
			       const struct kcm_sk_more *more, __u32 slot)
{
	__u32 seq;
	__u64 tag = hot->tag;

	row_barrier();
	seq = *(volatile __u32 *)&more->info.label_seq;
	row_barrier();
	sock_view(&r->sock, hot, more, tag, slot);
	row_barrier();
	return !(seq & 1) && *(volatile __u32 *)&more->info.label_seq == seq;
}

/* No loop: Linux 6.1 takes none that begins right behind a call. */
static __always_inline void row_copy_try(struct kcm_sk_row *r, const struct kcm_sk_hot *hot,
					 const struct kcm_sk_more *more, __u32 slot)
{
	if (!row_copy(r, hot, more, slot) && !row_copy(r, hot, more, slot))
		row_copy(r, hot, more, slot);
}

/*
 * Copy a slot. Counters go on meanwhile, but what is copied is one socket's: the tag is the same
 * before and after, and no cookie comes back. Labels are whole, too. Return: 1, or 0: free.
 */
static __always_inline int row_slot(struct kcm_sk_row *r, __u32 slot)
{
	struct kcm_sk_hot *hot = bpf_map_lookup_elem(&kcm_sk_hot, &slot);
	struct kcm_sk_more *more = slot_more(slot);
	__u64 tag;

	if (!hot || !more)
		return 0;
	tag = *(volatile __u64 *)&hot->tag;
	if (!tag || tag & KCM_TAG_BUSY)
		return 0;
	row_copy_try(r, hot, more, slot);
	if (*(volatile __u64 *)&hot->tag != tag || r->sock.cookie != tag)
		return 0;
	row_finish(r);
	return 1;
}

/* Copy what is on a socket. Return: 1, or 0: not to be shown. */
static __always_inline int row_store(struct kcm_sk_row *r, struct sock *sk,
				     struct kcm_sk_store *store)
{
	/* A closed socket's memory is given back some time after close(). */
	if (store->hot.state == KCM_SK_NEW || sk->__sk_common.skc_state == KCM_SK_CLOSE)
		return 0;
	row_copy_try(r, &store->hot, &store->more, KCM_SK_SLOT_NONE);
	/* Where the kernel does not let us have STATE_CB, only the socket knows. */
	if (r->sock.proto == KCM_SK_TCP)
		r->sock.state = sk->__sk_common.skc_state;
	row_finish(r);
	return 1;
}

#endif
