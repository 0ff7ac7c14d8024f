// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* worker.c - receive messages: claim, sleep, release. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker.h"

#define LOOKS		20    /* about a microsecond */
#define SERVICE_SLOW_NS 20000 /* above it nobody may wait for us while others sleep */
#define SERVICE_FAST_NS 3000  /* below it a batch costs nobody anything */

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	asm volatile("yield");
#endif
}

static uint64_t priv_of(const struct claim_ref *r)
{
	return (uint64_t)r->gen << 32 | (uint64_t)r->chunk << 8 | r->idx;
}

/* Lanes that this worker looks at: the shared one, its own, and those that nobody serves. */
static bool my_lane(const struct kcm_worker *w, unsigned int lane)
{
	uint8_t o = __atomic_load_n(&w->v.ctl->lane_owner[lane], __ATOMIC_SEQ_CST);

	return o == w->own || !o;
}

static unsigned int claim(struct kcm_worker *w, struct claim_ref *refs, unsigned int max)
{
	unsigned int n = 0;

	if (w->v.cfg.policy == KCM_POLICY_LEAST)
		return queue_claim(&w->v, 0, w->own, refs, max);
	/* Dekker with lanes_step(): either it sees us claiming, or we see the lane's new owner. */
	__atomic_store_n(&w->st->claiming, 1, __ATOMIC_SEQ_CST);
	/* Go on behind the lane that had the last turn: a full one must not shut out the others. */
	for (unsigned int i = 0, first = w->next_lane; i < KCM_LANES && n < max; i++) {
		unsigned int lane = (first + i) % KCM_LANES;

		if (my_lane(w, lane))
			n += queue_claim(&w->v, lane, w->own, refs + n, max - n);
		w->next_lane = lane + 1;
	}
	STORE(&w->st->claiming, 0);
	return n;
}

static bool work_waits(const struct kcm_worker *w)
{
	if (w->v.cfg.policy == KCM_POLICY_LEAST)
		return !queue_lane_empty(&w->v, 0);
	for (unsigned int i = 0; i < KCM_LANES; i++)
		if (my_lane(w, i) && !queue_lane_empty(&w->v, i))
			return true;
	return false;
}

/*
 * How many to claim. A claimed message waits for this worker only, so with slow messages it is
 * one; with fast ones the queue is shared out among those awake.
 */
static unsigned int batch_size(const struct kcm_worker *w, unsigned int n)
{
	if (w->v.cfg.policy != KCM_POLICY_LEAST)
		return n;
	if (w->service_ns > SERVICE_FAST_NS)
		return 1;
	return n;
}

static void wake_other(struct kcm_worker *w)
{
	uint64_t one = 1;
	int s;

	if (!__atomic_load_n(&w->v.ctl->sleepers, __ATOMIC_RELAXED))
		return;
	s = queue_take_sleeper(&w->v, LOAD(&w->v.ctl->active));
	if (s < 0 || s >= w->n_evs || w->evs[s] < 0)
		return;
	w->st->wakes_sent++;
	if (write(w->evs[s], &one, sizeof(one)) < 0)
		return;
}

static void give(struct kcm_worker *w, const struct claim_ref *r, struct kcm_msg *m)
{
	const struct kcm_chunk *ch = &w->v.chunks[r->chunk];
	const struct kcm_msg_ref *ref = &ch->msg[r->idx];
	uint8_t *own = (uint8_t *)&w->v.claims[r->chunk].own[r->idx / 8];

	m->conn = make_id(ch->conn, ch->conn_gen);
	m->queued_ns = ch->ts_ns;
	m->priv = priv_of(r);
	m->flags = ch->again >> r->idx & 1 ? KCM_REDELIVERED : 0;
	m->error = 0;
	m->event = KCM_MESSAGE;
	m->len = ref->len;
	switch (ch->kind) {
	case KCM_CHUNK_DATA:
		m->data = view_chunk_data(&w->v, ch) + ref->off;
		break;
	case KCM_CHUNK_BIG:
		m->data = w->v.big + ch->big_off;
		break;
	case KCM_CHUNK_EVENT:
		m->data = NULL;
		m->len = 0;
		m->event = (enum kcm_event)ch->event;
		m->error = ch->error;
		break;
	}
	/* Seen by the program from here on: what becomes of it if we die depends on this. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	STORE(&own[r->idx % 8], (uint8_t)(w->own | KCM_OWN_GIVEN));
#else
	STORE(&own[7 - r->idx % 8], (uint8_t)(w->own | KCM_OWN_GIVEN));
#endif
}

/* Time from giving a batch to being asked for the next is what the program needed for it. */
static void learn(struct kcm_worker *w)
{
	uint64_t per;

	if (!w->given_n)
		return;
	per = (now_ns() - w->given_ns) / w->given_n;
	w->service_ns = w->service_ns ? (w->service_ns * 7 + per) / 8 : per;
	w->given_n = 0;
	if ((w->service_ns > SERVICE_SLOW_NS) != w->slow) {
		uint64_t bit = 1ULL << w->slot;

		w->slow = !w->slow;
		if (w->slow)
			__atomic_fetch_or(&w->v.ctl->slow, bit, __ATOMIC_SEQ_CST);
		else
			__atomic_fetch_and(&w->v.ctl->slow, ~bit, __ATOMIC_SEQ_CST);
	}
}

static unsigned int take(struct kcm_worker *w, struct kcm_msg *msgs, unsigned int n)
{
	unsigned int got = 0, want;

	if (w->next_ref == w->n_refs) {
		if (w->off)
			return 0;
		want = batch_size(w, n < WORKER_BATCH ? n : WORKER_BATCH);
		w->next_ref = 0;
		w->n_refs = claim(w, w->refs, want);
		if (!w->n_refs)
			return 0;
		w->st->claims++;
		w->st->out += w->n_refs;
		/* We will be busy: if more waits and the program is slow, hand on the torch. */
		if (w->slow && w->v.cfg.policy == KCM_POLICY_LEAST && work_waits(w))
			wake_other(w);
	}
	while (w->next_ref < w->n_refs && got < n) {
		struct kcm_msg *m = &msgs[got++];

		give(w, &w->refs[w->next_ref++], m);
		if (m->event == KCM_MESSAGE) {
			w->st->msgs++;
			w->st->bytes += m->len;
		} else {
			w->st->events++;
		}
	}
	w->out += got;
	w->given_n = got;
	w->given_ns = now_ns();
	return got;
}

static void awake(struct kcm_worker *w)
{
	struct kcm_bell_rec rec;
	uint64_t n;

	if (w->asleep && !worker_stale(w))
		__atomic_fetch_and(&w->v.ctl->sleepers, ~(1ULL << w->slot), __ATOMIC_SEQ_CST);
	w->asleep = false;
	while (bell_next(&w->bell, &rec))
		;
	if (read(w->evs[w->slot], &n, sizeof(n)) < 0)
		return;
}

/* Announce sleep, then look once more: whoever publishes after our bit is set sees it. */
static bool doze(struct kcm_worker *w)
{
	if (w->off)
		return true;
	__atomic_fetch_or(&w->v.ctl->sleepers, 1ULL << w->slot, __ATOMIC_SEQ_CST);
	w->asleep = true;
	return !work_waits(w);
}

int kcm_recv(struct kcm_worker *w, struct kcm_msg *msgs, unsigned int n, int timeout_ms)
{
	uint64_t end = timeout_ms > 0 ? now_ns() + (uint64_t)timeout_ms * 1000000 : 0;
	bool looked = false;
	unsigned int got;
	int err;

	if (!n)
		return -EINVAL;
	learn(w);
	for (;;) {
		struct epoll_event ev[64];
		int left = timeout_ms, r;

		if (worker_stale(w)) {
			w->gone = true;
			return -EPIPE;
		}
		/* The owner wants us to leave: no more for us, as if we had asked for it. */
		if (!w->off && __builtin_expect(LOAD(&w->st->state) == KCM_WORKER_OFF, 0)) {
			err = kcm_worker_enable(w, 0);
			if (err)
				return err;
		}
		if (w->asleep && __builtin_expect(looked || timeout_ms == 0, 0))
			awake(w);
		got = take(w, msgs, n);
		if (got) {
			if (w->asleep)
				awake(w);
			return (int)got;
		}
		if (w->stage_bytes) {
			kcm_flush(w);
			continue;
		}
		if (w->gone)
			return -EPIPE;
		if (w->off && !w->out)
			return -ESHUTDOWN;
		if (!looked) {
			/*
			 * Somebody may be about to publish: a moment's look is cheaper than a sleep
			 * and a bell. Not sched_yield(): on a busy machine that gives a whole slice
			 * away.
			 */
			looked = true;
			for (int i = 0; i < LOOKS && !work_waits(w); i++)
				cpu_relax();
			continue;
		}
		if (!doze(w)) {
			awake(w);
			continue;
		}
		if (timeout_ms > 0) {
			uint64_t now = now_ns();

			left = now >= end ? 0 : (int)((end - now + 999999) / 1000000);
		}
		w->st->sleeps += timeout_ms != 0;
		r = epoll_wait(w->ep, ev, 64, left);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0) {
			/* With time-out 0 the caller waits on kcm_poll_fd(): stay announced. */
			if (timeout_ms == 0)
				return 0;
			awake(w);
			if (r < 0)
				return -EINTR;
			if (left == 0) {
				got = take(w, msgs, n);
				return (int)got;
			}
			continue;
		}
		awake(w);
		for (int i = 0; i < r; i++)
			if (ev[i].data.fd == w->ctl) {
				err = worker_control(w, MSG_DONTWAIT);
				if (err == -EPIPE)
					w->gone = true;
			}
		if (timeout_ms == 0) {
			got = take(w, msgs, n);
			if (got)
				return (int)got;
			if (w->gone)
				return -EPIPE;
			if (doze(w))
				return 0;
			awake(w);
		}
	}
}

static void account(struct kcm_worker *w, uint64_t ns, unsigned int n)
{
	unsigned int b = 0;

	w->st->lat_ns_sum += ns * n;
	if (ns > w->st->lat_max_ns)
		w->st->lat_max_ns = ns;
	if (ns >= 256) {
		unsigned int top = 63U - (unsigned int)__builtin_clzll(ns);

		b = (top - 8) * 4 + (unsigned int)(ns >> (top - 2) & 3) + 1;
		if (b >= KCM_HIST)
			b = KCM_HIST - 1;
	}
	w->st->hist[b] += n;
}

void kcm_release(struct kcm_worker *w, const struct kcm_msg *msgs, unsigned int n)
{
	uint64_t now = now_ns();
	bool ring = false;

	if (worker_stale(w))
		return;
	/* A reply that is still here when we die must find its message unreleased. */
	if (w->stage_bytes && (w->v.conf->at_least_once || w->v.cfg.policy >= KCM_POLICY_CONN))
		w->stage_err = kcm_flush(w);
	for (unsigned int i = 0; i < n;) {
		uint64_t p = msgs[i].priv, mask = 0;
		uint32_t chunk = (uint32_t)(p >> 8) & 0xffff, gen = (uint32_t)(p >> 32) & 0xffff;
		unsigned int word = (unsigned int)(p & 0xff) / 8, j = i;
		uint32_t slot = id_slot(msgs[i].conn);
		bool big;

		/* A run of one word of one chunk is one atomic operation. */
		for (; j < n; j++) {
			uint64_t q = msgs[j].priv;

			if (q >> 8 != p >> 8 || (q & 0xff) / 8 != word)
				break;
			mask |= 0xffULL << (8 * (q & 7));
		}
		account(w, now > msgs[i].queued_ns ? now - msgs[i].queued_ns : 0, j - i);
		big = w->v.chunks[chunk].kind == KCM_CHUNK_BIG;
		if (queue_release(&w->v, chunk, gen, word, mask) &&
		    (big || (__atomic_load_n(&w->v.ctl->want_space, __ATOMIC_RELAXED) &&
			     __atomic_exchange_n(&w->v.ctl->want_space, 0, __ATOMIC_SEQ_CST))))
			ring = true;
		if (w->stage_bytes && w->stage_conn == msgs[i].conn) {
			/* The connection may not end before the replies that we keep back are out.
			 */
			w->st->held_conn = slot;
			w->st->held_msgs += j - i;
		} else {
			worker_done(w, msgs[i].conn, j - i);
		}
		i = j;
	}
	w->out -= n < w->out ? n : w->out;
	w->st->out -= n;
	if (ring)
		worker_ring_owner(w);
}

void worker_done(struct kcm_worker *w, kcm_conn_id conn, unsigned int n)
{
	uint32_t slot = id_slot(conn);

	txc_count_released(&w->v.tx[slot], id_gen(conn), n);
	if (__atomic_load_n(&w->v.conns[slot].state, __ATOMIC_SEQ_CST) == KCM_CONN_CLOSING)
		worker_ring_owner(w);
}

void worker_ring_owner(struct kcm_worker *w)
{
	uint64_t one = 1;

	if (write(w->owner_ev, &one, sizeof(one)) < 0)
		return;
}

int kcm_poll_fd(struct kcm_worker *w)
{
	return w->ep;
}

int kcm_worker_slot(struct kcm_worker *w)
{
	return w->slot;
}
