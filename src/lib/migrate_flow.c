// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_flow.c - the table of UDP flows: read, and rid of those that have ended. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../util.h"
#include "migrate_udp.h"

#define BATCH	 1024
#define SHORT_NS 5000000000ULL
#define GRACE_NS 1000000000ULL

#define LOAD(from) __atomic_load_n(&(from), __ATOMIC_ACQUIRE)

typedef void (*entry_fn)(const void *key, const void *value, void *arg);

/* Batches, as one at a time takes a system call each. Return: 0 or -errno. */
static int each(int fd, size_t key_size, size_t value_size, entry_fn fn, void *arg)
{
	_cleanup_free_ char *keys = malloc(BATCH * key_size), *values = malloc(BATCH * value_size);
	__u32 at = 0, n, want = BATCH;
	bool first = true;
	int err;

	if (!keys || !values)
		return -ENOMEM;
	for (;;) {
		n = want;
		err = bpf_map_lookup_batch(fd, first ? NULL : &at, &at, keys, values, &n, NULL)
			      ? -errno
			      : 0;
		/* A bucket with more than that: none is, by a hash that nobody can foresee. */
		if (err && err != -ENOENT)
			return err;
		for (__u32 i = 0; i < n; i++)
			fn(keys + i * key_size, values + i * value_size, arg);
		if (err)
			return 0;
		first = false;
	}
}

struct flow_call {
	mg_flow_fn fn;
	void *arg;
};

static void call(const void *key, const void *value, void *arg)
{
	const struct flow_call *c = arg;

	c->fn(key, value, c->arg);
}

int mg_flows_each(const struct mg_view *v, mg_flow_fn fn, void *arg)
{
	struct flow_call c = { fn, arg };

	return each(v->flows_fd, sizeof(struct kcm_mg_flow_key), sizeof(struct kcm_mg_flow), call,
		    &c);
}

static bool gone(const struct kcm_mg *mg, __u32 slot, __u64 cookie)
{
	const struct kcm_mg_slot *s = &mg->slot[slot % KCM_MG_SLOTS];

	return LOAD(s->cookie) != cookie || (LOAD(s->flags) & KCM_MG_SLOT_CLOSED);
}

static bool silent(const struct kcm_mg *mg, __u64 last_ns, __u64 now_ns)
{
	return now_ns > last_ns && now_ns - last_ns > LOAD(mg->ctl.flow_timeout_ms) * 1000000ULL;
}

bool mg_flow_ended(const struct kcm_mg *mg, const struct kcm_mg_flow *f, __u64 now_ns)
{
	return silent(mg, f->last_ns, now_ns) || (f->cookie && gone(mg, f->slot, f->cookie));
}

struct count {
	const struct kcm_mg *mg;
	__u32 *flows;
	__u64 now_ns;
	int sum;
};

static void count_one(const struct kcm_mg_flow_key *key, const struct kcm_mg_flow *f, void *arg)
{
	struct count *c = arg;

	(void)key;
	if (!f->cookie || mg_flow_ended(c->mg, f, c->now_ns))
		return;
	c->flows[f->slot % KCM_MG_SLOTS]++;
	c->sum++;
}

int mg_flows_count(const struct mg_view *v, __u32 *flows, __u64 now_ns)
{
	struct count c = { .mg = v->mg, .flows = flows, .now_ns = now_ns };
	int err;

	memset(flows, 0, KCM_MG_SLOTS * sizeof(*flows));
	err = mg_flows_each(v, count_one, &c);
	return err ?: c.sum;
}

/* ---- sweep ---- */

struct sweep {
	struct mg_view *v;
	__u64 now_ns;
	__u64 lonely_ns, silent_ns; /* away with what has been silent for longer */
	int left;
	unsigned int ended, early;
};

/*
 * It may have got a datagram since it was read: then it is a new flow with its next one, of the
 * generation that works, which it may have been of anyway. To lose nothing by that, one is removed
 * only some time after it has ended for the selector. A flow whose socket is gone is kept for that
 * long, so that it is counted when it goes on with another.
 */
static void sweep_flow(const void *key, const void *value, void *arg)
{
	const struct kcm_mg_flow *f = value;
	struct sweep *s = arg;
	__u64 most_ns = f->datagrams <= 1 ? s->lonely_ns : s->silent_ns;
	__u64 silent_ns = s->now_ns > f->last_ns ? s->now_ns - f->last_ns : 0;

	if (silent_ns <= most_ns || bpf_map_delete_elem(s->v->flows_fd, key))
		s->left++;
	else if (silent(s->v->mg, f->last_ns, s->now_ns))
		s->ended++;
	else
		s->early++;
}

static void sweep_cid(const void *key, const void *value, void *arg)
{
	const struct kcm_mg_cid *c = value;
	struct sweep *s = arg;

	if (silent(s->v->mg, c->last_ns, s->now_ns) || gone(s->v->mg, c->slot, c->cookie))
		bpf_map_delete_elem(s->v->cids_fd, key);
}

/* Better that one is forgotten which says nothing than that there is no room for one that does. */
static void limits(struct sweep *s)
{
	const struct kcm_mg_ctl *ctl = &s->v->mg->ctl;
	__u64 timeout_ns = LOAD(ctl->flow_timeout_ms) * 1000000ULL;
	__u64 short_ns = timeout_ns < SHORT_NS ? timeout_ns : SHORT_NS;
	__u64 known = LOAD(ctl->flows_known), max = ctl->flows_max;

	s->lonely_ns = s->silent_ns = timeout_ns + GRACE_NS;
	if (known * 4 >= max * 3) {
		s->lonely_ns = short_ns;
		s->silent_ns = timeout_ns / 4 > short_ns ? timeout_ns / 4 : short_ns;
	}
	if (known * 8 >= max * 7)
		s->silent_ns = short_ns;
}

int mg_flows_sweep(struct mg_view *v, __u64 now_ns)
{
	struct kcm_mg_ctl *ctl = &v->mg->ctl;
	struct sweep s = { .v = v, .now_ns = now_ns };
	int err;

	limits(&s);
	err = each(v->flows_fd, sizeof(struct kcm_mg_flow_key), sizeof(struct kcm_mg_flow),
		   sweep_flow, &s);
	if (!err && ctl->quic)
		err = each(v->cids_fd, sizeof(struct kcm_mg_cid_key), sizeof(struct kcm_mg_cid),
			   sweep_cid, &s);
	if (err)
		return err;
	__atomic_store_n(&ctl->flows_known, (__u32)s.left, __ATOMIC_RELEASE);
	__atomic_store_n(&ctl->flows_seen_ns, now_ns, __ATOMIC_RELEASE);
	__atomic_fetch_add(&ctl->flows_expired, s.ended, __ATOMIC_RELAXED);
	__atomic_fetch_add(&ctl->flows_early, s.early, __ATOMIC_RELAXED);
	return s.left;
}
