/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_cache.bpf.h - sets of KCM_FL_WAYS entries, each CPU its own.
 *
 * A way that was found again is given up only for one of eight that ask for it, so that packets of
 * flows that never come again push out each other and not those that do.
 */
#ifndef KCM_FLOW_CACHE_BPF_H
#define KCM_FLOW_CACHE_BPF_H

#define EACH_TAG 0x0001000100010001ull
#define TAG_TOP	 0x8000800080008000ull

/*
 * A flow has a way of its set that is its first choice. An entry there is found by its key alone,
 * without a look at the head of the set, which is another cache line to wait for.
 */
struct place {
	__u32 set;
	__u32 entry; /* the first of the set */
	__u32 way;   /* the first choice, until it is found in another one */
	__u16 tag;
	__u16 id; /* @ifnum and @tcp of the flow */
	__u8 age;
};

static __always_inline __u64 mix(__u64 h, __u64 word)
{
	h = (h ^ word) * (kcm_fl_conf.seed | 1);
	return h ^ h >> 32;
}

static __always_inline __u64 hash4(const struct kcm_fl_key4 *k, __u16 id)
{
	return mix(mix(kcm_fl_conf.seed ^ id, k->word[0]), k->word[1]) * 0x9e3779b97f4a7c15ull;
}

static __always_inline __u64 hash6(const struct kcm_fl_key6 *k, __u16 id)
{
	__u64 h = kcm_fl_conf.seed ^ id;

	for (int i = 0; i < 5; i++)
		h = mix(h, k->word[i]);
	return h * 0x9e3779b97f4a7c15ull;
}

/* In a word of four tags, those that may be @tag: the lowest bit is right, others may be wrong. */
static __always_inline __u64 tags_like(__u64 tags, __u16 tag)
{
	__u64 x = tags ^ tag * EACH_TAG;

	return (x - EACH_TAG) & ~x & TAG_TOP;
}

/* Which of the four has the lowest bit of @m? */
static __always_inline __u32 first_tag(__u64 m)
{
	return (((m & -m) >> 15) * 0x0000000100020003ull >> 48) & 3;
}

static __always_inline __u16 flow_id(const struct kcm_fl_flow *f)
{
	return *(const __u16 *)&f->ifnum;
}

static __always_inline bool is_key4(const struct kcm_fl_ent4 *e, const struct kcm_fl_key4 *k,
				    __u16 id)
{
	const __u64 *a = e->key.word, *b = k->word;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (flow_id(&e->f) ^ id));
}

static __always_inline bool is_key6(const struct kcm_fl_ent6 *e, const struct kcm_fl_key6 *k,
				    __u16 id)
{
	const __u64 *a = e->key.word, *b = k->word;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) |
		 (flow_id(&e->f) ^ id));
}

static __always_inline struct kcm_fl_head *head_of(const struct place *at, __u8 family)
{
	return family == KCM_FL_IP6 ? bpf_map_lookup_elem(&kcm_fl_h6, &at->set)
				    : bpf_map_lookup_elem(&kcm_fl_h4, &at->set);
}

static __always_inline struct kcm_fl_flow *find4(struct place *at, const struct kcm_fl_key4 *k)
{
	__u32 n = at->entry + at->way;
	struct kcm_fl_ent4 *e = bpf_map_lookup_elem(&kcm_fl_e4, &n);
	struct kcm_fl_head *head;

	/* What was never used has a key of zeroes, as a packet may have. */
	if (e && is_key4(e, k, at->id) && e->f.genid)
		return &e->f;
	head = head_of(at, KCM_FL_IP4);
	for (__u32 half = 0; head && half < 2; half++) {
		__u64 m = tags_like(((const __u64 *)head->tag)[half], at->tag);

		for (int i = 0; i < 4 && m; i++, m &= m - 1) {
			__u32 way = half * 4 + first_tag(m);

			n = at->entry + way;
			e = bpf_map_lookup_elem(&kcm_fl_e4, &n);
			if (e && is_key4(e, k, at->id)) {
				at->way = way;
				return &e->f;
			}
		}
	}
	return NULL;
}

static __always_inline struct kcm_fl_flow *find6(struct place *at, const struct kcm_fl_key6 *k)
{
	__u32 n = at->entry + at->way;
	struct kcm_fl_ent6 *e = bpf_map_lookup_elem(&kcm_fl_e6, &n);
	struct kcm_fl_head *head;

	if (e && is_key6(e, k, at->id) && e->f.genid)
		return &e->f;
	head = head_of(at, KCM_FL_IP6);
	for (__u32 half = 0; head && half < 2; half++) {
		__u64 m = tags_like(((const __u64 *)head->tag)[half], at->tag);

		for (int i = 0; i < 4 && m; i++, m &= m - 1) {
			__u32 way = half * 4 + first_tag(m);

			n = at->entry + way;
			e = bpf_map_lookup_elem(&kcm_fl_e6, &n);
			if (e && is_key6(e, k, at->id)) {
				at->way = way;
				return &e->f;
			}
		}
	}
	return NULL;
}

/* Where the flow of a packet is, or would be. */
static __always_inline void find_place(struct place *at, const struct pk *p, __u32 cpu, __u32 tick)
{
	__u64 hash;

	at->id = p->ifnum | (__u16)(p->tcp & kcm_fl_conf.tcp_mask) << 8;
	if (p->family == KCM_FL_IP6) {
		hash = hash6(&p->k6, at->id);
		at->set = cpu * kcm_fl_conf.sets6 + ((__u32)(hash >> 16) & (kcm_fl_conf.sets6 - 1));
	} else {
		hash = hash4(&p->k4, at->id);
		at->set = cpu * kcm_fl_conf.sets4 + ((__u32)(hash >> 16) & (kcm_fl_conf.sets4 - 1));
	}
	at->entry = at->set * KCM_FL_WAYS;
	at->tag = hash >> 48 ?: 1;
	at->way = hash >> 13 & (KCM_FL_WAYS - 1);
	at->age = tick >> KCM_FL_AGE_SHIFT & ~KCM_FL_HOT;
}

/* Is it a way that nobody would miss: not found again, or not for long? */
static __always_inline bool is_cold(const struct kcm_fl_head *head, __u32 way, __u32 now)
{
	__u8 age = head->age[way];

	return !(age & KCM_FL_HOT) || ((now - age) & (KCM_FL_HOT - 1)) >= KCM_FL_COLD;
}

/*
 * The way that is given up: the first choice, which is where a flow is found soonest, if it is
 * free; else a free one; else the first choice if it is cold, or the oldest of the cold ones; if
 * all are hot, of eight that ask one gets the oldest. Return: KCM_FL_WAYS if none is. Not static:
 * verified once.
 */
__noinline int victim(const struct kcm_fl_head *head, __u32 now, __u32 first)
{
	__u32 best = first & (KCM_FL_WAYS - 1), most = 0;

	if (!head)
		return KCM_FL_WAYS;
	if (!head->tag[best])
		return best;
	for (__u32 half = 0; half < 2; half++) {
		__u64 free = tags_like(((const __u64 *)head->tag)[half], 0);

		if (free)
			return half * 4 + first_tag(free);
	}
	if (is_cold(head, best, now))
		return best;
	for (__u32 i = 0; i < KCM_FL_WAYS; i++) {
		__u32 way = (first + i) & (KCM_FL_WAYS - 1);
		__u32 old = (now - head->age[way]) & (KCM_FL_HOT - 1);

		if (is_cold(head, way, now))
			old += 256;
		if (old > most) {
			most = old;
			best = way;
		}
	}
	if (most < 256 && bpf_get_prandom_u32() & 7)
		return KCM_FL_WAYS;
	return best;
}

/*
 * Readers on other CPUs are to see genid 0 before any of the rest changes. An exchange is a full
 * barrier, and waits for memory where nothing else has to. Return: whether there was a flow.
 */
static __always_inline bool vacate(struct kcm_fl_flow *f)
{
	__u32 was;

	if (!kcm_fl_conf.ordered)
		return __sync_lock_test_and_set(&f->genid, 0);
	was = f->genid;
	*(volatile __u32 *)&f->genid = 0;
	asm volatile("" ::: "memory");
	return was;
}

/*
 * Have the memory of a place brought here: a load that is not there yet holds up all that comes
 * behind it, and a store does not. Both fields are there for this only.
 */
static __always_inline void fetch(const struct place *at, __u8 family)
{
	struct kcm_fl_head *head = head_of(at, family);
	__u32 n = at->entry + at->way;

	if (head)
		*(volatile __u64 *)&head->spare = 0;
	if (family == KCM_FL_IP6) {
		struct kcm_fl_ent6 *e = bpf_map_lookup_elem(&kcm_fl_e6, &n);

		if (e) {
			*(volatile __u8 *)&e->pad[0] = 0;
			*(volatile __u8 *)&e->f.pad = 0;
		}
	} else {
		struct kcm_fl_ent4 *e = bpf_map_lookup_elem(&kcm_fl_e4, &n);

		if (e)
			*(volatile __u8 *)&e->f.pad = 0;
	}
}

/* An entry for the packet. It is not valid yet: the caller fills the rest in, and genid last. */
static __always_inline struct kcm_fl_flow *put_in(const struct place *at, const struct pk *p,
						  struct kcm_fl_stat *st)
{
	struct kcm_fl_head *head = head_of(at, p->family);
	__u32 way = victim(head, at->age, at->way), n = at->entry + way;
	struct kcm_fl_flow *f;

	if (!head || way >= KCM_FL_WAYS) {
		st->refused++;
		return NULL;
	}
	if (p->family == KCM_FL_IP6) {
		struct kcm_fl_ent6 *e = bpf_map_lookup_elem(&kcm_fl_e6, &n);

		if (!e)
			return NULL;
		f = &e->f;
		st->evicted += vacate(f);
		e->key = p->k6;
	} else {
		struct kcm_fl_ent4 *e = bpf_map_lookup_elem(&kcm_fl_e4, &n);

		if (!e)
			return NULL;
		f = &e->f;
		st->evicted += vacate(f);
		e->key = p->k4;
	}
	head->tag[way & (KCM_FL_WAYS - 1)] = at->tag;
	head->age[way & (KCM_FL_WAYS - 1)] = at->age;
	*(__u16 *)&f->ifnum = at->id;
	f->seen = 0;
	f->packets = f->bytes = 0;
	st->inserted++;
	return f;
}

/* It was found again. */
static __always_inline void hot(const struct place *at, __u8 family)
{
	struct kcm_fl_head *head = head_of(at, family);

	if (head)
		head->age[at->way & (KCM_FL_WAYS - 1)] = at->age | KCM_FL_HOT;
}

/* Has hot() been called since the flow was put in, and in this age? Its own numbers tell. */
static __always_inline bool is_hot(const struct kcm_fl_flow *f, __u32 tick)
{
	return f->packets > 1 && f->last >> KCM_FL_AGE_SHIFT == tick >> KCM_FL_AGE_SHIFT;
}

#endif
