// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_udp.c - UDP sockets into kcm_mg_udps. */
#include <bpf/bpf.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>
#include "../util.h"
#include "migrate_age.h"
#include "migrate_load.h"
#include "migrate_udp.h"

#define LOAD(from)	 __atomic_load_n(&(from), __ATOMIC_ACQUIRE)
#define STORE(to, value) __atomic_store_n(&(to), (value), __ATOMIC_RELEASE)

static bool is_open(const struct kcm_mg_slot *s)
{
	__u16 flags = LOAD(s->flags);

	return (flags & KCM_MG_SLOT_USED) && !(flags & KCM_MG_SLOT_CLOSED);
}

static int seat(struct mg_view *v, __u32 slot)
{
	const struct kcm_mg_slot *s = &v->mg->slot[slot];
	_cleanup_fd_ int fd = migrate_dup_slot(v, s);
	__u64 value = (__u64)fd;

	if (fd < 0)
		return fd;
	return bpf_map_update_elem(v->udps_fd, &slot, &value, BPF_ANY) ? -errno : MG_SEATED;
}

/*
 * A slot may be another socket's a moment later, whose seat the program has set to 0. The socket
 * that we have put there is closed then, or about to be, and takes its entry along.
 */
static bool seat_one(struct mg_view *v, __u32 slot)
{
	struct kcm_mg_slot *s = &v->mg->slot[slot];
	__u64 cookie = LOAD(s->cookie);
	__s32 was = LOAD(s->seat), is = seat(v, slot);

	if (LOAD(s->cookie) == cookie)
		__atomic_compare_exchange_n(&s->seat, &was, is, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED);
	return is == MG_SEATED;
}

unsigned int mg_seat_all(struct mg_view *v, bool retry)
{
	__u32 slots = LOAD(v->mg->ctl.slots);
	unsigned int left = 0;
	bool known = false;

	for (__u32 i = 0; i < slots && i < KCM_MG_SLOTS; i++) {
		const struct kcm_mg_slot *s = &v->mg->slot[i];

		if (!is_open(s) || LOAD(s->seat) == MG_SEATED || (LOAD(s->seat) && !retry))
			continue;
		if (seat_one(v, i))
			continue;
		/* Whoever has bound it may have handed it on: once, look who has it. */
		if (!known && LOAD(s->seat) == -ENOENT && !migrate_owners(v->dir)) {
			known = true;
			if (seat_one(v, i))
				continue;
		}
		left += is_open(s);
	}
	if (known)
		migrate_forget_owners(v->dir);
	return left;
}

unsigned int mg_unseated(const struct kcm_mg *mg, int *err)
{
	unsigned int n = 0;

	if (err)
		*err = 0;
	for (__u32 i = 0; i < mg->ctl.slots && i < KCM_MG_SLOTS; i++) {
		const struct kcm_mg_slot *s = &mg->slot[i];

		if (!is_open(s) || LOAD(s->seat) == MG_SEATED)
			continue;
		n++;
		if (err && LOAD(s->seat))
			*err = LOAD(s->seat);
	}
	return n;
}

/* ---- after attach ---- */

/* The newest works: datagrams are read, or wait. Return: how many generations there are. */
static unsigned int number_by_age(struct kcm_mg_group *g)
{
	int order[KCM_MG_GENS];
	bool numbered;
	unsigned int n = mg_number_by_age(g, order, &numbered);

	if (!numbered)
		return n;
	for (unsigned int i = 0; i < n; i++)
		STORE(g->gen[order[i]].state, KCM_MG_GEN_READY);
	STORE(g->next, (__u16)KCM_MG_NONE);
	STORE(g->before, (__u16)order[n - 2]);
	STORE(g->working, (__u16)order[n - 1]);
	return n;
}

void mg_settle(struct mg_view *v)
{
	struct timespec ts;
	__u64 until_ns;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	until_ns = (__u64)ts.tv_sec * 1000000000 + (__u64)ts.tv_nsec +
		   v->mg->ctl.flow_timeout_ms * 1000000ULL;
	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		struct kcm_mg_group *g = &v->mg->group[i];

		/* Not for an instance that is looked through again: it knows its flows. */
		if ((LOAD(g->flags) & KCM_MG_GROUP_USED) && !mg_selector_on(v->mg, i) &&
		    !LOAD(g->flows) && number_by_age(g) > 1)
			STORE(g->settled_ns, until_ns);
	}
	mg_seat_all(v, true);
}
