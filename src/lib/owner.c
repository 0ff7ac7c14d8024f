// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* owner.c - the service thread's loop. */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "mux_file.h"
#include "owner.h"
#include "pin.h"

#define STARVED_POLL_MS	  2
#define PRESSURE_FRESH_NS 1000000000ULL
#define PRESSURE_EVICT_NS \
	10000000000ULL /* an unfinished message that blocks others lives so long */

static void timer_set(struct kcm_mux *m, uint32_t ms)
{
	struct itimerspec it = { .it_value = { ms / 1000, (long)(ms % 1000) * 1000000 },
				 .it_interval = { ms / 1000, (long)(ms % 1000) * 1000000 } };

	timerfd_settime(m->timer, 0, &it, NULL);
	m->timer_on = ms != 0;
}

static uint32_t ns_to_timer_ms(uint64_t ns)
{
	return ns > 5000000 ? (uint32_t)(ns / 1000000) : 5;
}

static uint64_t limit_ns(const struct kcm_mux *m, const struct oconn *o)
{
	uint64_t ms = m->v.conf->asm_timeout_ms;

	if (o->rcvtimeo_ms && (!ms || o->rcvtimeo_ms < ms))
		ms = o->rcvtimeo_ms;
	return ms * 1000000;
}

/*
 * Is the memory for unfinished messages itself the problem? Not while whole ones wait for workers:
 * then the mux is only slow, and no peer is to blame.
 */
static bool pressure(const struct kcm_mux *m, uint64_t now)
{
	if (now - m->no_room_ns < PRESSURE_FRESH_NS)
		return false;
	if (m->left_bytes > OWNER_LEFT_MAX / 2)
		return true;
	if (now - m->big_short_ns >= PRESSURE_FRESH_NS)
		return false;
	for (const struct big_block *b = m->big; b; b = b->next)
		if (b->published)
			return false;
	return true;
}

/*
 * Assembly time-outs. The timer runs only while there are unfinished messages that may time out:
 * BPF tells of the first one (KCM_BELL_PARTIAL), then not again before asm_told is reset.
 */
static void sweep(struct kcm_mux *m)
{
	uint64_t now = now_ns(), least = UINT64_MAX;
	bool pressed = pressure(m, now);

	/* Before the look: what begins behind it rings again. */
	__atomic_store_n(&m->v.prod->asm_told, m->least_timeout_ns == 0, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < m->v.cfg.n_conns; i++) {
		struct oconn *o = m->conns[i];
		struct kcm_conn *c = &m->v.conns[i];
		uint64_t since, max;
		bool mine;

		if (!o || o->stopped)
			continue;
		max = limit_ns(m, o);
		if (pressed && (!max || max > PRESSURE_EVICT_NS))
			max = PRESSURE_EVICT_NS;
		mine = o->left_n || o->big_on;
		since = mine ? o->partial_ns : c->asm_since_ns;
		if (!max || !since || (!mine && !LOAD(&c->asm_chunk)))
			continue;
		if (mine && o->starved && !pressed) {
			/* It waits for us, not for its peer. */
			o->partial_ns = since = now;
		}
		if (now > since && now - since >= max) {
			if (!mine) {
				/* The program may be finishing it: look again when it can't. */
				conn_seize(m, o);
				if (!c->asm_chunk || now - c->asm_since_ns < max) {
					drain_queue(m, o, false);
					continue;
				}
			}
			conn_end(m, o, KCM_TIMEOUT, ETIMEDOUT);
			continue;
		}
		if (max / 4 < least)
			least = max / 4;
	}
	if (m->n_unadopted)
		conn_sweep_unadopted(m);
	if (m->n_unadopted && least > 1000000000ULL)
		least = 1000000000ULL;
	timer_set(m, least == UINT64_MAX ? 0 : ns_to_timer_ms(least));
}

/* The shortest time-out of all connections so far; 0 = none has one. */
void owner_note_timeout(struct kcm_mux *m, const struct oconn *o)
{
	uint64_t max = limit_ns(m, o);

	if (!max || (m->least_timeout_ns && m->least_timeout_ns <= max))
		return;
	m->least_timeout_ns = max;
	STORE(&m->v.prod->asm_told, 0);
}

/* There is an unfinished message. Not a look at once: most are finished long before. */
void owner_arm_timeout(struct kcm_mux *m)
{
	if (!m->timer_on && m->least_timeout_ns)
		timer_set(m, ns_to_timer_ms(m->least_timeout_ns / 4));
}

static void on_bell(struct kcm_mux *m)
{
	struct kcm_bell_rec rec;

	while (bell_next(&m->bell, &rec)) {
		struct oconn *o = rec.conn < m->v.cfg.n_conns ? m->conns[rec.conn] : NULL;

		switch (rec.what) {
		case KCM_BELL_HELD:
			if (o)
				drain(m, o);
			break;
		case KCM_BELL_RESUMED:
			/* EPOLLIN would now wake us for every skb, drained or not. */
			if (o && LOAD(&m->v.conns[rec.conn].state) == KCM_CONN_ACTIVE)
				conn_watch(m, o, o->events & ~(uint32_t)EPOLLIN);
			break;
		case KCM_BELL_PARTIAL:
			owner_arm_timeout(m);
			break;
		case KCM_BELL_OPENED:
			m->n_unadopted++;
			if (!m->timer_on)
				timer_set(m, 1000);
			break;
		case KCM_BELL_RESET:
			if (o)
				conn_reset(m, o);
			break;
		case KCM_BELL_WORK:
			break;
		}
	}
}

static void on_conn(struct kcm_mux *m, uint32_t slot, uint32_t events)
{
	struct oconn *o = slot < m->v.cfg.n_conns ? m->conns[slot] : NULL;

	if (!o)
		return;
	if (events & EPOLLOUT)
		tx_push(m, o);
	if (m->conns[slot] != o)
		return;
	o->rdhup |= !!(events & EPOLLRDHUP);
	o->hup |= !!(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		drain(m, o);
}

static void on_wake(struct kcm_mux *m)
{
	uint64_t n;

	if (read(m->ev, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	big_collect(m);
	for (uint32_t i = 0; m->n_closing && i < m->v.cfg.n_conns; i++)
		if (m->conns[i] && m->conns[i]->event_done)
			conn_try_free(m, m->conns[i]);
}

static void on_listener(struct kcm_mux *m)
{
	int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	wire_tune(fd);
	if (member_add(m, fd) < 0) {
		struct wire_rec no = { .type = WIRE_REFUSED, .a = ENOSPC };

		wire_send(fd, &no, NULL, 0, NULL, 0, MSG_DONTWAIT);
		close(fd);
	}
}

static void dispatch(struct kcm_mux *m, const struct epoll_event *ev)
{
	uint32_t n = (uint32_t)ev->data.u64;
	uint64_t ticks;

	switch ((enum poll_kind)(ev->data.u64 >> 32)) {
	case POLL_CONN:
		on_conn(m, n, ev->events);
		break;
	case POLL_MEMBER:
		member_input(m, n);
		break;
	case POLL_BELL:
		on_bell(m);
		break;
	case POLL_EV:
		on_wake(m);
		break;
	case POLL_TIMER:
		if (read(m->timer, &ticks, sizeof(ticks)) > 0)
			sweep(m);
		break;
	case POLL_LISTEN:
		on_listener(m);
		break;
	}
}

static int wait_ms(struct kcm_mux *m)
{
	int ms = -1;

	if (m->run && m->n_starved) {
		/* Ask for a ring when a chunk is freed; look once more, it may have been just now.
		 */
		__atomic_store_n(&m->v.ctl->want_space, 1, __ATOMIC_SEQ_CST);
		if (!m->timer_on)
			timer_set(m, 1000);
		ms = STARVED_POLL_MS;
	}
	for (struct oconn *o = m->run; o; o = o->next)
		if (!o->starved)
			return 0;
	if ((m->lanes_moving || m->woke_one) && (ms < 0 || ms > 1))
		ms = 1;
	return ms;
}

void *owner_service(void *arg)
{
	struct kcm_mux *m = arg;
	struct epoll_event ev[64];
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		int ms = wait_ms(m), n;

		pthread_mutex_unlock(&m->lock);
		n = epoll_wait(m->ep, ev, 64, ms);
		pthread_mutex_lock(&m->lock);
		for (int i = 0; i < n && !m->stop; i++)
			dispatch(m, &ev[i]);
		if (m->lanes_moving)
			lanes_step(m);
		if (m->woke_one && !n)
			drain_wake_again(m);
		if (m->run)
			drain_run(m);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}
