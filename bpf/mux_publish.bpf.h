/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mux_publish.bpf.h - from a filled chunk to the lanes. Used by both modes. */
#ifndef KCM_MUX_PUBLISH_BPF_H
#define KCM_MUX_PUBLISH_BPF_H

/*
 * Copy @len skb bytes at @from to @to in the chunk's region.
 *
 * bpf_skb_load_bytes() takes no length that could be 0. Verifiers before 6.8 learn nothing from
 * `len != 0` (reg_set_min_max() narrows on == only), but they do from an unsigned `<=`: so 0 is
 * made the largest number first, and hidden from the compiler, which would undo that.
 */
static __always_inline int load(struct __sk_buff *skb, __u32 from, __u8 *region, __u32 to,
				__u32 len)
{
	len--;
	barrier_var(len);
	if (len >= KCM_CHUNK2_BYTES)
		return -1;
	return bpf_skb_load_bytes(skb, from, region + (to & KCM_REGION_MASK), len + 1);
}

static __always_inline __u64 own_word(__u32 n, __u32 i)
{
	return n >= 8 * i + 8 ? 0 : n <= 8 * i ? ~0ULL : ~0ULL << (8 * (n - 8 * i));
}

/*
 * A worker that looked at the chunk's former filling may claim messages of this one at once, and
 * release them. The first word keeps them from being all there is until the rest is in place and
 * the state says that a last release may free the chunk.
 */
/* What we read of the kernel's struct. */
struct tcp_sock___kcm {
	__u32 copied_seq;
} __attribute__((preserve_access_index));

/* Where the stream was read to: before the first skb that a program sees of it, its start. */
static __always_inline __u32 copied_seq(struct __sk_buff *skb, __u32 unknown)
{
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock___kcm *tp = sk ? (void *)bpf_skc_to_tcp_sock(sk) : NULL;

	return tp ? tp->copied_seq : unknown;
}

static __always_inline void own_init(struct kcm_claim *cl, __u32 n, __u32 gen)
{
	*(volatile __u64 *)&cl->own[0] = KCM_OWN_FILL * 0x0101010101010101ULL;
#pragma unroll
	for (__u32 i = 1; i < KCM_CHUNK_MSGS / 8; i++)
		*(volatile __u64 *)&cl->own[i] = own_word(n, i);
	__sync_lock_test_and_set(&cl->state, KCM_STATE(gen, KCM_CHUNK_PUB));
	*(volatile __u64 *)&cl->own[0] = own_word(n, 0);
}

/*
 * Make a filled chunk visible.
 * Return: 0, or -1 when no lane took it (then nobody saw it and it is free again).
 */
__noinline int kcm_publish(__u32 id, __u32 slot, __u32 n, __u64 lanes)
{
	struct kcm_chunk *ch = bpf_map_lookup_elem(&kcm_chunk, &id);
	struct kcm_claim *cl = bpf_map_lookup_elem(&kcm_claim, &id);
	struct kcm_conn *c = bpf_map_lookup_elem(&kcm_conn, &slot);

	if (!ch || !cl || !c)
		return -1;
	ch->conn = slot;
	ch->conn_gen = c->gen;
	ch->n = n;
	ch->kind = KCM_CHUNK_DATA;
	ch->again = 0;
	ch->ts_ns = bpf_ktime_get_ns();
	own_init(cl, n, ch->gen);
	if (kcm_cfg.policy == KCM_POLICY_LEAST) {
		if (!kcm_lane_put(0, id, ch->gen))
			return 0;
		chunk_drop(id);
		return -1;
	}
	if (kcm_cfg.policy == KCM_POLICY_CONN) {
		__u32 lane = c->lane & (KCM_LANES - 1);

		if (!kcm_lane_put(lane, id, ch->gen)) {
			wake_lane(lane);
			return 0;
		}
		chunk_drop(id);
		return -1;
	}
	/*
	 * Several lanes: a lane holds every chunk twice over (cell_mask), so a put fails by
	 * contention only, and each failed try of one is a success of another CPU.
	 */
	for (__u32 i = 0; i < KCM_LANES; i++) {
		if (!(lanes >> i & 1))
			continue;
		for (int k = 0; k < 4 && kcm_lane_put(i, id, ch->gen); k++)
			;
		wake_lane(i);
	}
	return 0;
}

/* The lane of a message that starts at @pos of @region. */
static __always_inline __u32 lane_of(struct kcm_conn *c, const __u8 *region, __u32 pos, __u32 len)
{
	if (kcm_cfg.policy == KCM_POLICY_ROBIN) {
		struct kcm_prod *p = prod_get();
		__u32 r, n;

		if (!p)
			return 0;
		n = p->n_route;
		if (!n || n > KCM_LANES)
			return 0;
		r = __sync_fetch_and_add(&p->robin, 1) % n;
		/* clang knows that r < 64 and drops the mask that the verifier needs */
		asm volatile("" : "+r"(r));
		return p->route[r & (KCM_LANES - 1)] & (KCM_LANES - 1);
	}
	if (kcm_cfg.policy == KCM_POLICY_KEY) {
		__u64 h = 0;

		if (len > kcm_cfg.key_off) {
			__u32 n = len - kcm_cfg.key_off;

			if (n > kcm_cfg.key_bytes)
				n = kcm_cfg.key_bytes;
			h = *(const __u64 *)(region + ((pos + kcm_cfg.key_off) & KCM_REGION_MASK));
			if (n < 8)
				h &= (1ULL << (8 * n)) - 1;
		}
		h *= 0x9e3779b97f4a7c15ULL;
		return h >> 58;
	}
	return 0;
}

#endif
