// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* members.c - workers of a mux: they come, are enabled, go and die. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "owner.h"

int member_add(struct kcm_mux *m, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	socklen_t len = sizeof(int);

	for (uint32_t i = 0; i < m->v.conf->n_workers; i++) {
		if (m->members[i].fd >= 0)
			continue;
		ev.data.u64 = POLL_DATA(POLL_MEMBER, i);
		if (epoll_ctl(m->ep, EPOLL_CTL_ADD, fd, &ev))
			return -errno;
		if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &m->members[i].sndbuf, &len))
			m->members[i].sndbuf = 0;
		m->members[i].fd = fd;
		m->members[i].welcomed = m->members[i].on = m->members[i].bye = false;
		return (int)i;
	}
	return -ENOSPC;
}

/*
 * The doorbell of a slot stays when its worker leaves: changing a map of maps waits until no
 * program runs any more (RCU), tens of milliseconds in which nobody would be served.
 */
static int make_bell(struct kcm_mux *m, uint32_t slot)
{
	int fd, err;

	if (m->members[slot].bell_fd >= 0)
		return 0;
	fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "kcm_bell", 0, 0, 4096, NULL);
	if (fd < 0)
		return -errno;
	if (bpf_map_update_elem(m->bells, &slot, &fd, BPF_ANY)) {
		err = -errno;
		close(fd);
		return err;
	}
	m->members[slot].bell_fd = fd;
	return 0;
}

void members_close(struct kcm_mux *m)
{
	for (uint32_t i = 0; i < KCM_WORKERS_MAX; i++) {
		member_gone(m, i, false);
		if (m->members[i].bell_fd < 0)
			continue;
		bpf_map_delete_elem(m->bells, &i);
		close(m->members[i].bell_fd);
	}
}

static int welcome(struct kcm_mux *m, uint32_t slot)
{
	struct wire_rec rec = {
		.type = WIRE_WELCOME, .a = slot, .b = m->v.conf->n_workers, .c = m->v.big_bytes
	};
	int fds[WIRE_FDS_MAX], n = 0, err = make_bell(m, slot);
	struct kcm_wstat *st = &m->v.wstats[slot];
	struct ucred cr = { 0 };
	socklen_t len = sizeof(cr);

	if (err)
		return err;
	for (; n < VIEW_MAPS; n++)
		fds[n] = m->maps[n];
	fds[n++] = m->tx_fd;
	fds[n++] = m->big_ro;
	fds[n++] = m->members[slot].bell_fd;
	fds[n++] = m->ev;
	for (uint32_t i = 0; i < m->v.conf->n_workers; i++)
		fds[n++] = m->evs[i];
	memset(st, 0, sizeof(*st));
	if (!getsockopt(m->members[slot].fd, SOL_SOCKET, SO_PEERCRED, &cr, &len))
		st->pid = (uint32_t)cr.pid;
	st->start_ns = now_ns();
	st->state = KCM_WORKER_ON;
	m->members[slot].welcomed = m->members[slot].on = true;
	m->n_members++;
	err = wire_send(m->members[slot].fd, &rec, NULL, 0, fds, n, MSG_DONTWAIT);
	if (err)
		return err;
	__atomic_fetch_or(&m->v.ctl->active, 1ULL << slot, __ATOMIC_SEQ_CST);
	lanes_plan(m);
	return 0;
}

static void answer(struct kcm_mux *m, uint32_t slot, const struct wire_rec *rec, int fd)
{
	/* Never wait for a worker: one that does not read what it asked for is broken. */
	if (wire_send(m->members[slot].fd, rec, NULL, 0, &fd, fd >= 0, MSG_DONTWAIT) == -EAGAIN)
		member_gone(m, slot, true);
}

static void get_fd(struct kcm_mux *m, uint32_t slot, const struct wire_rec *in)
{
	struct wire_rec rec = { .type = WIRE_FD, .conn = in->conn };
	uint32_t i = (uint32_t)in->conn;
	struct oconn *o = i < m->v.cfg.n_conns ? m->conns[i] : NULL;
	int fd = -1;

	if (o && oconn_id(o) == in->conn && o->fd >= 0) {
		fd = o->fd;
		o->holders |= 1ULL << slot;
	} else {
		/* Not accepted yet, or over. */
		rec.a = !o && i < m->v.cfg.n_conns && LOAD(&m->v.conns[i].state) != KCM_CONN_FREE
				? EAGAIN
				: ENOTCONN;
	}
	answer(m, slot, &rec, fd);
}

static void enable(struct kcm_mux *m, uint32_t slot, bool on)
{
	struct wire_rec rec = { .type = WIRE_ENABLED };
	uint64_t bit = 1ULL << slot;

	m->members[slot].on = on;
	m->v.wstats[slot].state = on ? KCM_WORKER_ON : KCM_WORKER_OFF;
	if (on) {
		__atomic_fetch_or(&m->v.ctl->active, bit, __ATOMIC_SEQ_CST);
	} else {
		__atomic_fetch_and(&m->v.ctl->active, ~bit, __ATOMIC_SEQ_CST);
		__atomic_fetch_and(&m->v.ctl->sleepers, ~bit, __ATOMIC_SEQ_CST);
	}
	lanes_plan(m);
	answer(m, slot, &rec, -1);
	/* What waited for it is others' now. */
	drain_wake(m, ~0ULL);
}

/*
 * Ask a worker to leave: at its next kcm_recv() it disables itself, and is told -ESHUTDOWN when it
 * is done with what it has. members[].on is false from the moment it takes no more.
 */
void member_retire(struct kcm_mux *m, uint32_t slot)
{
	uint64_t one = 1;

	if (!m->members[slot].welcomed || !m->members[slot].on)
		return;
	STORE(&m->v.wstats[slot].state, KCM_WORKER_OFF);
	if (write(m->evs[slot], &one, sizeof(one)) < 0)
		return; /* full: it is readable */
}

void member_input(struct kcm_mux *m, uint32_t slot)
{
	static __thread uint8_t data[WIRE_DATA_MAX];

	for (;;) {
		struct wire_rec rec;
		size_t len = sizeof(data);
		int err, fd = m->members[slot].fd;

		if (fd < 0)
			return;
		err = wire_recv(fd, &rec, data, &len, NULL, NULL, MSG_DONTWAIT);
		if (err == -EAGAIN)
			return;
		if (err) {
			member_gone(m, slot, true);
			return;
		}
		if (rec.type == WIRE_HELLO && !m->members[slot].welcomed) {
			struct wire_rec no = { .type = WIRE_REFUSED, .a = EPROTO };

			err = rec.a == WIRE_VERSION ? welcome(m, slot) : -EPROTO;
			if (err) {
				no.a = (uint32_t)-err;
				wire_send(fd, &no, NULL, 0, NULL, 0, MSG_DONTWAIT);
				member_gone(m, slot, false);
				return;
			}
			continue;
		}
		if (!m->members[slot].welcomed) {
			member_gone(m, slot, false);
			return;
		}
		switch (rec.type) {
		case WIRE_GETFD:
			get_fd(m, slot, &rec);
			break;
		case WIRE_TX:
			tx_record(m, &rec, data, len);
			break;
		case WIRE_BYE:
			m->members[slot].bye = true;
			break;
		case WIRE_ENABLE:
			enable(m, slot, rec.a);
			break;
		default:
			member_gone(m, slot, true);
			return;
		}
	}
}

/* Read what all workers have sent so far. */
void members_catch_up(struct kcm_mux *m)
{
	if (m->catching_up)
		return;
	m->catching_up = true;
	for (uint32_t i = 0; i < m->v.conf->n_workers; i++)
		if (m->members[i].fd >= 0)
			member_input(m, i);
	m->catching_up = false;
}

static bool has_room(const struct member *w)
{
	int queued = 0;

	return !ioctl(w->fd, SIOCOUTQ, &queued) && queued < w->sndbuf / 2;
}

void member_tell_gone(struct kcm_mux *m, struct oconn *o)
{
	struct wire_rec rec = { .type = WIRE_GONE, .conn = oconn_id(o) };

	for (uint64_t h = o->holders; h; h &= h - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(h);

		/*
		 * If it is not heard, the worker finds out by the generation. Half of the buffer
		 * is for answers: no worker is given up because it hears too much of this.
		 */
		if (i < KCM_WORKERS_MAX && m->members[i].fd >= 0 && has_room(&m->members[i]))
			wire_send(m->members[i].fd, &rec, NULL, 0, NULL, 0, MSG_DONTWAIT);
	}
}

/* Back into its lane. In an ordered lane the head goes back: nobody serves the lane meanwhile. */
static void requeue(struct kcm_mux *m, uint32_t id, uint64_t lanes)
{
	uint32_t gen = m->v.chunks[id].gen & 0xffff;

	if (m->v.cfg.policy == KCM_POLICY_LEAST || m->v.cfg.policy == KCM_POLICY_ROBIN) {
		for (uint32_t i = 0; lanes; i++, lanes >>= 1)
			if (lanes & 1)
				queue_lane_put(&m->v, i, id, gen);
		return;
	}
	for (uint32_t i = 0; lanes; i++, lanes >>= 1) {
		struct kcm_lane *l = &m->v.lanes[i];
		__u64 *cells = m->v.cells + (size_t)i * (m->v.cfg.cell_mask + 1);
		__u64 h = LOAD(&l->head), tail = LOAD(&l->tail);

		if (!(lanes & 1))
			continue;
		for (__u64 p = h - 1;
		     p != h - 1 - m->v.cfg.cell_mask && tail - p <= m->v.cfg.cell_mask; p--) {
			__u64 c = cells[p & m->v.cfg.cell_mask];

			if (KCM_CELL_POS(c) != (__u32)p)
				break;
			if (KCM_CELL_CHUNK(c) == id && KCM_CELL_GEN(c) == gen) {
				STORE(&l->head, p);
				break;
			}
		}
	}
}

/* It released a chunk's last message and died before it freed the chunk. */
static void reap_chunk(struct kcm_mux *m, uint32_t id, uint32_t state)
{
	for (uint32_t i = 0; i < KCM_CHUNK_MSGS / 8; i++)
		if (__atomic_load_n(&m->v.claims[id].own[i], __ATOMIC_SEQ_CST) != ~0ULL)
			return;
	/* Or somebody else is about to: once. */
	queue_free(&m->v, id, KCM_STATE_GEN(state));
}

/*
 * Messages that the dead worker had: those it was not given yet go back to the queue; the others
 * are redelivered (at least once) or counted as lost (at most once).
 */
static void reap_messages(struct kcm_mux *m, uint32_t slot)
{
	bool again = m->v.conf->at_least_once;
	uint8_t own = (uint8_t)(slot + 1);
	uint64_t touched = 0;

	for (uint32_t id = 0; id < m->v.n_chunks; id++) {
		struct kcm_chunk *ch = &m->v.chunks[id];
		struct kcm_claim *cl = &m->v.claims[id];
		uint32_t s = LOAD(&cl->state);
		uint64_t back = 0;

		if (KCM_STATE_ST(s) != KCM_CHUNK_PUB)
			continue;
		for (uint32_t i = 0; i < KCM_CHUNK_MSGS && i < ch->n; i++) {
			uint32_t sh = 8 * (i % 8);
			uint8_t b = (uint8_t)(LOAD(&cl->own[i / 8]) >> sh);
			bool given = b == (own | KCM_OWN_GIVEN);
			uint32_t lane = 0;

			if (b != own && !given)
				continue;
			if (given && !again && ch->kind != KCM_CHUNK_EVENT) {
				m->v.conf->lost_msgs++;
				txc_count_released(&m->v.tx[ch->conn], ch->conn_gen, 1);
				queue_release(&m->v, id, ch->gen & 0xffff, i / 8, 0xffULL << sh);
				continue;
			}
			if (given) {
				ch->again |= 1ULL << i;
				m->v.conf->redelivered++;
			}
			switch (m->v.cfg.policy) {
			case KCM_POLICY_CONN:
				lane = m->v.conns[ch->conn].lane % KCM_LANES;
				break;
			case KCM_POLICY_ROBIN:
			case KCM_POLICY_KEY:
				lane = ch->lane[i] % KCM_LANES;
				break;
			case KCM_POLICY_LEAST:
				break;
			}
			back |= 1ULL << lane;
			__atomic_fetch_and(&cl->own[i / 8], ~(0xffULL << sh), __ATOMIC_SEQ_CST);
		}
		if (back)
			requeue(m, id, back);
		else
			reap_chunk(m, id, s);
		touched |= back;
	}
	if (touched)
		drain_wake(m, touched);
}

void member_gone(struct kcm_mux *m, uint32_t slot, bool died)
{
	struct kcm_wstat *st = &m->v.wstats[slot];
	struct member *w = &m->members[slot];
	uint64_t bit = 1ULL << slot;

	if (w->fd < 0)
		return;
	epoll_ctl(m->ep, EPOLL_CTL_DEL, w->fd, NULL);
	close(w->fd);
	w->fd = -1;
	if (!w->welcomed)
		return;
	w->welcomed = w->on = false;
	m->n_members--;
	__atomic_fetch_and(&m->v.ctl->active, ~bit, __ATOMIC_SEQ_CST);
	__atomic_fetch_and(&m->v.ctl->sleepers, ~bit, __ATOMIC_SEQ_CST);
	__atomic_fetch_and(&m->v.ctl->slow, ~bit, __ATOMIC_SEQ_CST);
	st->state = KCM_WORKER_DEAD;
	died = died && !w->bye;
	if (died && st->out)
		m->v.conf->worker_deaths++;
	tx_reap(m, slot);
	queue_find_free(&m->v);
	reap_messages(m, slot);
	if (st->held_msgs && st->held_conn < m->v.cfg.n_conns)
		txc_count_released(&m->v.tx[st->held_conn], m->v.conns[st->held_conn].gen,
				   st->held_msgs);
	st->held_msgs = 0; /* or messages_out() would see them for ever */
	STORE(&st->claiming, 0);
	st->state = KCM_WORKER_NONE;
	for (uint32_t i = 0; i < m->v.cfg.n_conns; i++)
		if (m->conns[i]) {
			m->conns[i]->holders &= ~bit;
			/* It may have released a message and died before it counted that. */
			m->conns[i]->recount |= died;
			/* The next worker in this slot has not that socket in its epoll set. */
			if ((LOAD(&m->v.home[i]) & 0xff) == slot + 1)
				STORE(&m->v.home[i], 0);
		}
	lanes_plan(m);
	drain_wake(m, ~0ULL);
	/* Its messages may have been the last that connections waited for. */
	for (uint32_t i = 0; m->n_closing && i < m->v.cfg.n_conns; i++)
		if (m->conns[i] && m->conns[i]->event_done)
			conn_try_free(m, m->conns[i]);
}
