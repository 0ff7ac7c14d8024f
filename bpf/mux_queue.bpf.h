/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mux_queue.bpf.h - chunks, lanes and doorbells as the BPF side sees them.
 * The same algorithms in user space: src/lib/queue.c. Loop state lives in map values or global
 * functions' own frames, never in a bpf_loop() context: Linux 6.1 verifies a callback for one
 * iteration only and prunes branches on what it takes for constants.
 */
#ifndef KCM_MUX_QUEUE_BPF_H
#define KCM_MUX_QUEUE_BPF_H

const volatile struct kcm_mux_cfg kcm_cfg = {};

static __always_inline struct kcm_prod *prod_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kcm_prod, &zero);
}

static __always_inline struct kcm_ctl *ctl_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kcm_ctl, &zero);
}

/* Ring the doorbell of a worker slot or of the owner. */
__noinline int kcm_ring(__u32 bell, __u32 what, __u32 conn)
{
	struct kcm_bell_rec rec = { .what = what, .conn = conn };
	struct kcm_prod *p = prod_get();
	void *rb = bpf_map_lookup_elem(&kcm_bells, &bell);

	if (!rb || !p)
		return -1;
	__sync_fetch_and_add(&p->bells, 1);
	if (bpf_ringbuf_output(rb, &rec, sizeof(rec), BPF_RB_FORCE_WAKEUP)) {
		__sync_fetch_and_add(&p->bell_drops, 1);
		return -1;
	}
	return 0;
}

/* Take the chunk if it is free. Return: its new generation, or -1. */
static __always_inline int chunk_take(__u32 id)
{
	struct kcm_claim *cl = bpf_map_lookup_elem(&kcm_claim, &id);
	__u32 s, gen;

	if (!cl)
		return -1;
	s = *(volatile __u32 *)&cl->state;
	if (KCM_STATE_ST(s) != KCM_CHUNK_FREE)
		return -1;
	gen = (KCM_STATE_GEN(s) + 1) & 0xffff;
	if (__sync_val_compare_and_swap(&cl->state, s, KCM_STATE(gen, KCM_CHUNK_ALLOC)) != s)
		return -1;
	return gen;
}

static __always_inline __u32 first_bit(__u64 m)
{
	__u32 n = 0;

	if (!(__u32)m) {
		n += 32;
		m >>= 32;
	}
	if (!(m & 0xffff)) {
		n += 16;
		m >>= 16;
	}
	if (!(m & 0xff)) {
		n += 8;
		m >>= 8;
	}
	if (!(m & 0xf)) {
		n += 4;
		m >>= 4;
	}
	if (!(m & 3)) {
		n += 2;
		m >>= 2;
	}
	return n + !(m & 1);
}

/* Take a free chunk out of word @word of the free bits. Return: id + 1, or 0. */
static __always_inline int chunk_from(struct kcm_ctl *ctl, __u32 word)
{
	for (int i = 0; i < 4; i++) {
		__u64 *at = &ctl->free[word & 1023], v = *(volatile __u64 *)at, bit = v & -v;
		struct kcm_chunk *ch;
		__u32 id;
		int gen;

		if (!bit)
			return 0;
		if (!(__sync_fetch_and_and(at, ~bit) & bit))
			continue;
		id = (word & 1023) * 64 + first_bit(bit);
		gen = chunk_take(id);
		if (gen < 0)
			continue;
		ch = bpf_map_lookup_elem(&kcm_chunk, &id);
		if (!ch)
			return 0;
		ch->gen = gen;
		return id + 1;
	}
	return 0;
}

/*
 * A free chunk of class @cls or bigger. Return: id + 1, or 0.
 * Gives up after some words of each class: a nearly full arena is a full one.
 */
__noinline int kcm_chunk_new(__u32 cls)
{
	struct kcm_ctl *ctl = ctl_get();

	if (!ctl)
		return 0;
	for (__u32 c = 0; c < KCM_CLASSES; c++) {
		__u32 first = kcm_cfg.first_chunk[c] / 64, n = (kcm_cfg.n_chunks[c] + 63) / 64;

		if (c < cls)
			continue;
		for (__u32 i = 0; i < 64; i++) {
			int id;

			if (i >= n)
				break;
			if (!*(volatile __u64 *)&ctl->free[(first + i) & 1023])
				continue;
			id = chunk_from(ctl, first + i);
			if (id)
				return id;
		}
	}
	return 0;
}

static __always_inline void chunk_drop(__u32 id)
{
	struct kcm_claim *cl = bpf_map_lookup_elem(&kcm_claim, &id);
	struct kcm_ctl *ctl = ctl_get();

	if (!cl || !ctl)
		return;
	*(volatile __u32 *)&cl->state = KCM_STATE(KCM_STATE_GEN(cl->state), KCM_CHUNK_FREE);
	__sync_fetch_and_or(&ctl->free[id / 64 & 1023], 1ULL << (id & 63));
}

static __always_inline __u32 class_of(__u32 bytes)
{
	return bytes <= KCM_CHUNK0_BYTES ? 0 : bytes <= KCM_CHUNK1_BYTES ? 1 : 2;
}

/*
 * Put a cell into a lane. Lock-free: whoever finds a filled cell at the tail moves the tail on.
 * Return: 0, or -1 when the lane is full or too contended.
 */
__noinline int kcm_lane_put(__u32 lane, __u32 chunk, __u32 gen)
{
	struct kcm_lane *l = bpf_map_lookup_elem(&kcm_lane, &lane);

	if (!l)
		return -1;
	for (int i = 0; i < 32; i++) {
		__u64 t = *(volatile __u64 *)&l->tail, v;
		__u32 key = lane * (kcm_cfg.cell_mask + 1) + ((__u32)t & kcm_cfg.cell_mask);
		__u64 *cell = bpf_map_lookup_elem(&kcm_cell, &key);
		__s64 used;

		if (!cell)
			return -1;
		v = *(volatile __u64 *)cell;
		if (KCM_CELL_POS(v) == (__u32)t) {
			__sync_val_compare_and_swap(&l->tail, t, t + 1);
			continue;
		}
		used = t - *(volatile __u64 *)&l->head;
		if (used < 0) /* t is old: others have put and taken since */
			continue;
		if (used > kcm_cfg.cell_mask)
			return -1;
		if (__sync_val_compare_and_swap(cell, v, KCM_CELL(t, gen, chunk)) != v)
			continue;
		__sync_val_compare_and_swap(&l->tail, t, t + 1);
		return 0;
	}
	return -1;
}

/* Ring one sleeper of @mask; its bit goes first, so that nobody rings it twice. */
static __always_inline int wake_one(struct kcm_ctl *c, __u64 mask)
{
	__u64 bit = mask & -mask;

	if (!bit)
		return 0;
	if (__sync_fetch_and_and(&c->sleepers, ~bit) & bit)
		return !kcm_ring(first_bit(bit), KCM_BELL_WORK, 0);
	return 0;
}

/* kcm_prod.timer_armed */
#define TIMER_LATE  1U
#define TIMER_GRACE 2U

#define TIMER_LATE_NS 1000000

static int timer_tick(void *map, int *key, struct kcm_timer *t)
{
	struct kcm_prod *p = prod_get();
	struct kcm_ctl *c = ctl_get();
	__u32 zero = 0;
	struct kcm_lane *l = bpf_map_lookup_elem(&kcm_lane, &zero);
	__u64 head, tail, sl;

	if (!p || !c || !l)
		return 0;
	__sync_lock_test_and_set(&p->timer_armed, 0);
	head = *(volatile __u64 *)&l->head;
	tail = *(volatile __u64 *)&l->tail;
	sl = *(volatile __u64 *)&c->sleepers;
	if (head == tail || !sl)
		return 0;
	if (head == p->timer_head || tail - head > 16) {
		if (wake_one(c, sl))
			__sync_fetch_and_add(&p->timer_wakes, 1);
		if (!(sl & (sl - 1)))
			return 0;
	}
	p->timer_head = head;
	if (__sync_lock_test_and_set(&p->timer_armed, TIMER_GRACE) != TIMER_GRACE)
		bpf_timer_start(&t->t, kcm_cfg.grace_ns, 0);
	return 0;
}

/*
 * See to it that somebody looks at the shared lane if it does not move: after the grace of busy
 * workers, or much later as a safeguard.
 */
static __always_inline void timer_arm(struct kcm_prod *p, __u32 how)
{
	__u32 zero = 0;
	struct kcm_timer *t = bpf_map_lookup_elem(&kcm_timer, &zero);
	struct kcm_lane *l = bpf_map_lookup_elem(&kcm_lane, &zero);

	if (!t || !l || *(volatile __u32 *)&p->timer_armed >= how ||
	    __sync_lock_test_and_set(&p->timer_armed, how) >= how)
		return;
	p->timer_head = *(volatile __u64 *)&l->head;
	bpf_timer_init(&t->t, &kcm_timer, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&t->t, timer_tick);
	bpf_timer_start(&t->t, how == TIMER_GRACE ? kcm_cfg.grace_ns : TIMER_LATE_NS, 0);
}

/* Work was put into the shared lane: see that somebody looks at it. */
static __always_inline void wake_shared(__u32 slot, __u32 conn_gen)
{
	struct kcm_ctl *c = ctl_get();
	struct kcm_prod *p = prod_get();
	__u64 *home = bpf_map_lookup_elem(&kcm_home, &slot);
	__u64 sl;

	if (!c || !p)
		return;
	sl = *(volatile __u64 *)&c->sleepers;
	if (!sl)
		return;
	/*
	 * The connection's home sleeps in an epoll set that has this socket as EPOLLIN | EPOLLOUT |
	 * EPOLLET: sk_psock_verdict_data_ready() calls the socket's sk_data_ready() when we are
	 * done, and the socket is writable, so that is an event. No bell needed.
	 */
	if (home && *home && *home >> 8 == (conn_gen & 0xffffff)) {
		__u64 bit = 1ULL << ((*home - 1) & 63);

		/*
		 * Its bit stays: a full send buffer makes the socket not writable, then nobody
		 * wakes and the timer must find it.
		 */
		if (sl & bit) {
			timer_arm(p, TIMER_LATE);
			return;
		}
	}
	if (!(c->active & ~sl & ~c->slow)) {
		wake_one(c, sl);
		/*
		 * It may not come: stopped, dying, or busy with the first of several messages for
		 * longer than it expects.
		 */
		if (sl & (sl - 1))
			timer_arm(p, TIMER_LATE);
		return;
	}
	/*
	 * Somebody quick is awake and will look when its message is done. A bell costs tens of
	 * microseconds on a virtual machine (irq_work), so give it a moment; the timer wakes a
	 * sleeper if the lane did not move.
	 */
	timer_arm(p, TIMER_GRACE);
}

/* Work was put into a lane that one worker serves. */
static __always_inline void wake_lane(__u32 lane)
{
	struct kcm_ctl *c = ctl_get();
	__u64 sl;
	__u8 o;

	if (!c || lane >= KCM_LANES)
		return;
	sl = *(volatile __u64 *)&c->sleepers;
	if (!sl)
		return;
	o = c->lane_owner[lane];
	wake_one(c, o ? sl & (1ULL << ((o - 1) & 63)) : sl);
}

#endif
