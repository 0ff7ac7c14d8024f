// SPDX-License-Identifier: GPL-2.0
/*
 * Sums over the maps of a mux that is at work. Nothing is locked, so a sum is true for a moment
 * near now; counters never go backwards.
 */
#include "cmd_mux.h"

static void sum_conns(const struct view *v, const struct kcm_txc *tx, struct mux_sum *s)
{
	for (uint32_t i = 0; i < v->cfg.n_conns; i++) {
		const struct kcm_conn *c = &v->conns[i];
		enum kcm_conn_state state = LOAD(&c->state);

		if (state == KCM_CONN_FREE)
			continue;
		s->conns++;
		s->active += state == KCM_CONN_ACTIVE || state == KCM_CONN_RESUME;
		s->held += state == KCM_CONN_HELD;
		s->closing += state == KCM_CONN_CLOSING;
		s->partial += c->asm_chunk != 0;
		if (state == KCM_CONN_HELD && c->hold < KCM_HOLD_MAX)
			s->held_by[c->hold]++;
		s->rx_msgs += c->msgs;
		s->rx_bytes += c->bytes;
		s->holds += c->holds;
		s->skbs += c->skbs;
		if (tx) {
			s->tx_queued += LOAD(&tx[i].queued_bytes);
			s->tx_pending += LOAD(&tx[i].pending) != 0;
		}
	}
	s->rx_msgs += v->conf->rx_msgs;
	s->rx_bytes += v->conf->rx_bytes;
}

static void sum_chunks(const struct view *v, struct mux_sum *s)
{
	for (uint32_t id = 0; id < v->n_chunks; id++) {
		const struct kcm_chunk *ch = &v->chunks[id];
		const struct kcm_claim *cl = &v->claims[id];
		uint32_t state = KCM_STATE_ST(LOAD(&cl->state));
		uint32_t n = ch->n < KCM_CHUNK_MSGS ? ch->n : KCM_CHUNK_MSGS;
		int class = 0;

		while (class + 1 < KCM_CLASSES && id >= v->cfg.first_chunk[class + 1])
			class ++;
		s->chunks[class]++;
		s->class_bytes[class] = ch->size_bytes;
		s->arena_bytes += ch->size_bytes;
		if (state == KCM_CHUNK_FREE)
			continue;
		s->used[class]++;
		s->used_bytes += ch->size_bytes;
		if (state != KCM_CHUNK_PUB)
			continue;
		if (ch->kind == KCM_CHUNK_EVENT) {
			s->events_waiting++;
			continue;
		}
		if (!s->oldest_ns || ch->ts_ns < s->oldest_ns)
			s->oldest_ns = ch->ts_ns;
		for (uint32_t i = 0; i < n; i++) {
			uint8_t own = (uint8_t)(LOAD(&cl->own[i / 8]) >> (8 * (i % 8)));

			s->waiting += own == KCM_OWN_READY;
			s->in_hand += own != KCM_OWN_READY && own != KCM_OWN_DONE;
		}
	}
}

static void sum_workers(const struct view *v, struct mux_sum *s)
{
	uint64_t sleepers = LOAD(&v->ctl->sleepers);

	for (uint32_t i = 0; i < KCM_WORKERS_MAX; i++) {
		const struct kcm_wstat *w = &v->wstats[i];

		if (w->state == KCM_WORKER_NONE)
			continue;
		s->workers++;
		s->workers_off += w->state == KCM_WORKER_OFF;
		s->sleepers += sleepers >> i & 1;
		s->w_msgs += w->msgs;
		s->w_bytes += w->bytes;
		s->w_events += w->events;
		s->w_out += w->out;
		s->w_tx_msgs += w->tx_msgs;
		s->w_tx_bytes += w->tx_bytes;
		s->w_tx_handed += w->tx_handed;
		s->w_tx_again += w->tx_again;
		s->w_sleeps += w->sleeps;
		s->w_wakes += w->wakes_sent;
		s->w_claims += w->claims;
	}
}

void mux_sum(const struct view *v, const struct kcm_txc *tx, struct mux_sum *s)
{
	memset(s, 0, sizeof(*s));
	sum_conns(v, tx, s);
	sum_chunks(v, s);
	sum_workers(v, s);
}

/* Bucket 0 is below 256 ns; from there on 4 buckets a power of two, see kcm_wstat.hist. */
static uint64_t bucket_start_ns(unsigned int b)
{
	unsigned int top = 8 + (b - 1) / 4;

	return b ? (uint64_t)(4 + (b - 1) % 4) << (top - 2) : 0;
}

uint64_t mux_hist_quantile(const __u64 *hist, double share, uint64_t max_ns)
{
	uint64_t total = 0, below = 0;
	double want;

	for (unsigned int b = 0; b < KCM_HIST; b++)
		total += hist[b];
	if (!total)
		return 0;
	want = share * (double)total;
	for (unsigned int b = 0; b < KCM_HIST; b++) {
		uint64_t from = bucket_start_ns(b), to = bucket_start_ns(b + 1), ns;

		if (!hist[b] || (double)(below + hist[b]) < want) {
			below += hist[b];
			continue;
		}
		ns = from +
		     (uint64_t)((want - (double)below) / (double)hist[b] * (double)(to - from));
		return ns < max_ns ? ns : max_ns;
	}
	return max_ns;
}
