// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * rx_choice.c - map or copy? Measured, for it depends on the peer, the path and the reader.
 *
 * Messages are looked at in turns of some MiB. Mapping ends at once where messages are short, or
 * less than half of their bytes were mapped. Else the reading thread's CPU time a byte decides, the
 * application's use of the bytes included: now and then one turn goes the other way, and that way
 * stays if it was cheaper. How seldom that is bounds what a trial can cost, and doubles each time
 * that nothing comes of it.
 */
#include <time.h>

#include "rx_conn.h"

#define LOOK_BYTES	  (4ULL << 20)
#define LOOK_MESSAGES	  64U
#define SMALL_MESSAGES	  16U /* short ones are known for what they are before a look is over */
#define HOPELESS_MESSAGES 4U
#define SETTLE		  1U  /* messages after a change that are not measured: memory gets warm */
#define TRIAL_SHARE	  16U /* of the bytes before it: a first trial is no more */
#define HOLD_MAP	  (2ULL << 30)
#define HOLD_COPY	  (64ULL << 20)
#define HOLD_MAX	  (64ULL << 30)

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static const void *this_thread(void)
{
	static __thread char here;

	return &here;
}

static void look(struct rx_choice *c)
{
	c->bytes = c->mapped = c->messages = 0;
	c->thread = this_thread();
	c->cpu_ns = cpu_ns();
}

static void go(struct kcm_rx *rx, enum kcm_rx_mode mode, enum kcm_rx_why why)
{
	struct rx_choice *c = &rx->choice;

	if (c->now != mode) {
		rx->st.switches++;
		c->settle = SETTLE;
	}
	c->now = mode;
	c->why = why;
	if (mode == KCM_RX_COPY) {
		rx->predict = 0;
		rx->inq = 0;
	}
	look(c);
}

/* For a while, whatever else could be. */
static void settle_for(struct kcm_rx *rx, enum kcm_rx_mode mode, enum kcm_rx_why why)
{
	struct rx_choice *c = &rx->choice;

	if (c->chosen == mode && c->hold_bytes)
		c->hold_bytes = c->hold_bytes < HOLD_MAX ? 2 * c->hold_bytes : HOLD_MAX;
	else
		c->hold_bytes = mode == KCM_RX_MAP ? HOLD_MAP : HOLD_COPY;
	c->chosen = mode;
	c->since_bytes = 0;
	c->trial = false;
	go(rx, mode, why);
}

void rx_choice_init(struct kcm_rx *rx)
{
	struct rx_choice *c = &rx->choice;

	c->now = rx->mode == KCM_RX_COPY || !rx->kernel_maps ? KCM_RX_COPY : KCM_RX_MAP;
	c->why = rx->mode == KCM_RX_COPY ? KCM_RX_WHY_FORCED : KCM_RX_WHY_KERNEL;
	c->chosen = c->now;
	look(c);
}

static bool small(const struct kcm_rx *rx)
{
	return rx->choice.bytes < rx->choice.messages * rx->map_min_bytes;
}

/* Enough was mapped to judge by: is it any good? */
static bool good(struct kcm_rx *rx)
{
	struct rx_choice *c = &rx->choice;

	if (small(rx))
		settle_for(rx, KCM_RX_COPY, KCM_RX_WHY_SMALL);
	else if (c->mapped < c->bytes / 2)
		settle_for(rx, KCM_RX_COPY, KCM_RX_WHY_UNALIGNED);
	else
		return true;
	return false;
}

/* Picoseconds a byte in this look; 0: another thread went on reading. */
static uint64_t cost(const struct rx_choice *c)
{
	if (c->thread != this_thread())
		return 0;
	return (cpu_ns() - c->cpu_ns) * 1000 / c->bytes;
}

/* The other way was tried: is it better by more than chance? */
static void judge(struct kcm_rx *rx, uint64_t ps)
{
	struct rx_choice *c = &rx->choice;
	bool mapped = c->now == KCM_RX_MAP;
	uint64_t before = mapped ? c->copy_ps : c->map_ps;

	*(mapped ? &c->map_ps : &c->copy_ps) = ps;
	if (ps < before - before / 32)
		settle_for(rx, c->now, KCM_RX_WHY_COST);
	else
		settle_for(rx, mapped ? KCM_RX_COPY : KCM_RX_MAP, KCM_RX_WHY_COST);
}

static uint64_t hold(const struct rx_choice *c)
{
	uint64_t each = c->bytes / c->messages;

	if (c->hold_bytes)
		return c->hold_bytes;
	return TRIAL_SHARE * ((each < LOOK_BYTES ? LOOK_BYTES : each) + SETTLE * each);
}

/* A look is over. */
static void looked(struct kcm_rx *rx)
{
	struct rx_choice *c = &rx->choice;
	uint64_t *mean = c->now == KCM_RX_MAP ? &c->map_ps : &c->copy_ps, ps = cost(c);

	if (!ps) {
		look(c);
		return;
	}
	if (c->trial) {
		judge(rx, ps);
		return;
	}
	*mean = *mean ? (7 * *mean + ps) / 8 : ps;
	if (c->now == KCM_RX_COPY && small(rx)) {
		/* No trial while messages are short, and one at once when they are no more. */
		c->why = KCM_RX_WHY_SMALL;
	} else if (c->since_bytes >= hold(c) || c->why == KCM_RX_WHY_SMALL) {
		c->trial = true;
		go(rx, c->now == KCM_RX_MAP ? KCM_RX_COPY : KCM_RX_MAP, KCM_RX_WHY_COST);
		return;
	}
	look(c);
}

void rx_choice_note(struct kcm_rx *rx, size_t len, size_t mapped)
{
	struct rx_choice *c = &rx->choice;

	if (!rx->kernel_maps) {
		if (c->now == KCM_RX_MAP)
			go(rx, KCM_RX_COPY, KCM_RX_WHY_KERNEL);
		return;
	}
	c->since_bytes += len;
	if (c->settle) {
		if (!--c->settle)
			look(c);
		return;
	}
	c->bytes += len;
	c->mapped += mapped;
	c->messages++;
	if (c->now == KCM_RX_MAP) {
		if (c->messages == SMALL_MESSAGES &&
		    c->bytes < SMALL_MESSAGES / 2 * (uint64_t)rx->map_min_bytes && !good(rx))
			return;
		if (c->messages >= HOPELESS_MESSAGES && c->bytes >= LOOK_BYTES / 8 &&
		    c->mapped < c->bytes / 2 && !good(rx))
			return;
	}
	if (c->bytes < LOOK_BYTES && (c->now == KCM_RX_COPY || c->messages < LOOK_MESSAGES))
		return;
	if (c->now == KCM_RX_COPY || good(rx))
		looked(rx);
}
