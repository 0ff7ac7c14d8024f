// SPDX-License-Identifier: GPL-2.0
/*
 * mux stats: every counter of a mux. What the kernel's KCM counts is here under the same notions:
 * mux and psock receive and transmit, attach, unattach, retries (holds), ready drops (lost), and
 * per reason what ended a connection.
 */
#include "cmd_mux.h"

static void put_receive(struct out *o, const struct kcm_mux_conf *c, const struct mux_sum *s)
{
	out_group(o, "receive");
	out_u64(o, "messages", s->rx_msgs);
	out_u64(o, "bytes", s->rx_bytes);
	out_u64(o, "owner_messages", c->owner_msgs);
	out_u64(o, "owner_bytes", c->owner_bytes);
	out_u64(o, "big_messages", c->big_msgs);
	out_u64(o, "skbs", s->skbs);
	out_u64(o, "waiting", s->waiting);
	out_u64(o, "in_hand", s->in_hand);
	out_end(o);
}

static void put_transmit(struct out *o, const struct kcm_mux_conf *c, const struct mux_sum *s,
			 bool seen)
{
	out_group(o, "transmit");
	out_u64(o, "messages", s->w_tx_msgs);
	out_u64(o, "bytes", s->w_tx_bytes);
	out_u64(o, "handed_over", c->tx_handed);
	out_u64(o, "refused", s->w_tx_again);
	if (seen) {
		out_u64(o, "queued_bytes", s->tx_queued);
		out_u64(o, "queued_conns", s->tx_pending);
	} else {
		out_str(o, "queued_bytes", NULL);
		out_str(o, "queued_conns", NULL);
	}
	out_u64(o, "aborts", c->tx_aborts);
	out_end(o);
}

static void put_conns(struct out *o, const struct kcm_mux_conf *c, const struct kcm_prod *p,
		      const struct mux_sum *s)
{
	out_group(o, "connections");
	out_u64(o, "now", s->conns);
	out_u64(o, "active", s->active);
	out_u64(o, "held", s->held);
	out_u64(o, "closing", s->closing);
	out_u64(o, "partial", s->partial);
	out_u64(o, "attached", c->attached);
	out_u64(o, "detached", c->detached);
	out_u64(o, "closed", c->closed);
	out_u64(o, "open_fails", p->open_fails);
	out_end(o);
	out_group(o, "errors");
	out_u64(o, "events", c->events);
	out_u64(o, "events_waiting", s->events_waiting);
	out_u64(o, "bad_frames", c->bad_frames);
	out_u64(o, "too_big", c->too_big);
	out_u64(o, "truncated", c->truncated);
	out_u64(o, "timeouts", c->timeouts);
	out_u64(o, "resets", c->resets);
	out_u64(o, "unknown_skbs", p->unknown_skbs);
	out_end(o);
}

static void put_holds(struct out *o, const struct kcm_mux_conf *c, const struct mux_sum *s)
{
	char key[24];

	out_group(o, "holds");
	out_u64(o, "live_conns", s->holds);
	for (int i = KCM_HOLD_SPACE; i < KCM_HOLD_MAX; i++)
		out_u64(o, mux_hold_name(i), c->rr_holds[i]);
	for (int i = KCM_HOLD_SPACE; i < KCM_HOLD_MAX; i++) {
		snprintf(key, sizeof(key), "now_%s", mux_hold_name(i));
		out_u64(o, key, s->held_by[i]);
	}
	out_end(o);
}

static void put_workers(struct out *o, const struct kcm_mux_conf *c, const struct kcm_prod *p,
			const struct mux_sum *s)
{
	out_group(o, "workers");
	out_u64(o, "now", s->workers);
	out_u64(o, "disabled", s->workers_off);
	out_u64(o, "asleep", s->sleepers);
	out_u64(o, "messages", s->w_msgs);
	out_u64(o, "bytes", s->w_bytes);
	out_u64(o, "events", s->w_events);
	out_u64(o, "batches", s->w_claims);
	out_u64(o, "sleeps", s->w_sleeps);
	out_u64(o, "wakes_sent", s->w_wakes);
	out_u64(o, "deaths", c->worker_deaths);
	out_u64(o, "lost", c->lost_msgs);
	out_u64(o, "redelivered", c->redelivered);
	out_end(o);
	out_group(o, "bells");
	out_u64(o, "rung", p->bells);
	out_u64(o, "dropped", p->bell_drops);
	out_u64(o, "timer_wakes", p->timer_wakes);
	out_end(o);
}

int mux_stats(const struct cmd_args *args)
{
	_cleanup_view_ struct mux_view mv;
	struct mux_sum s;
	int code = mux_view_open(&mv, args->pos[0]);

	if (code)
		return code;
	mux_sum(&mv.v, mv.tx, &s);
	out_str(args->out, "name", mv.name);
	put_receive(args->out, mv.v.conf, &s);
	put_transmit(args->out, mv.v.conf, &s, mv.tx != NULL);
	put_conns(args->out, mv.v.conf, mv.v.prod, &s);
	put_holds(args->out, mv.v.conf, &s);
	put_workers(args->out, mv.v.conf, mv.v.prod, &s);
	return 0;
}
