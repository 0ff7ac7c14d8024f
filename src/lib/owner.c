// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* owner.c - become the owner of a mux, and the service thread's loop. */
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

static void *service(void *arg)
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

/* What a former owner left: its connections died with it, its workers saw its end. */
static void reset_state(struct kcm_mux *m)
{
	struct view *v = &m->v;
	uint64_t key, next;

	__atomic_fetch_add(&v->conf->epoch, 1, __ATOMIC_SEQ_CST);
	while (!bpf_map_get_next_key(m->slots, NULL, &next)) {
		key = next;
		if (bpf_map_delete_elem(m->slots, &key))
			break;
	}
	for (uint32_t i = 0; i < v->cfg.n_conns; i++) {
		v->conns[i].asm_chunk = 0;
		v->conns[i].gen++;
		STORE(&v->conns[i].state, KCM_CONN_FREE);
	}
	for (uint32_t i = 0; i < v->n_chunks; i++)
		STORE(&v->claims[i].state,
		      KCM_STATE(KCM_STATE_GEN(v->claims[i].state) + 1, KCM_CHUNK_FREE));
	mux_reset_lanes(v);
	memset(v->prod->n_asm, 0, sizeof(v->prod->n_asm));
	v->prod->asm_told = 1;
	v->prod->timer_armed = v->prod->n_route = 0;
	memset(v->wstats, 0, sizeof(*v->wstats) * KCM_WORKERS_MAX);
	memset(v->ctl, 0, sizeof(*v->ctl));
	if (v->cfg.policy == KCM_POLICY_CONN || v->cfg.policy == KCM_POLICY_KEY)
		memset(v->ctl->lane_owner, 0xff, sizeof(v->ctl->lane_owner));
	queue_find_free(v);
	v->conf->owner_pid = (uint32_t)getpid();
}

static int open_pinned(struct kcm_mux *m, const char *file)
{
	char path[KCM_PIN_PATH];
	int fd, err = kcm_pin_path(path, sizeof(path), "mux", m->name, file);

	if (err)
		return err;
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

static int watch(struct kcm_mux *m, int fd, enum poll_kind kind)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = POLL_DATA(kind, 0) };

	return epoll_ctl(m->ep, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int make_memory(struct kcm_mux *m)
{
	char path[64];
	int err;

	m->tx_fd = memfd_create("kcm_tx", MFD_CLOEXEC);
	m->big_fd = memfd_create("kcm_big", MFD_CLOEXEC);
	if (m->tx_fd < 0 || m->big_fd < 0 ||
	    ftruncate(m->tx_fd, (off_t)(sizeof(struct kcm_txc) * m->v.cfg.n_conns)) ||
	    ftruncate(m->big_fd, (off_t)m->v.conf->big_bytes))
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->big_fd);
	m->big_ro = open(path, O_RDONLY | O_CLOEXEC);
	if (m->big_ro < 0)
		return -errno;
	err = view_map_mem(&m->v, m->tx_fd, m->big_fd, m->v.conf->big_bytes, true);
	for (uint32_t i = 0; !err && i < m->v.cfg.n_conns; i++)
		m->v.tx[i].released = TXC_RELEASED0(m->v.conns[i].gen);
	return err;
}

static int make_bell(struct kcm_mux *m)
{
	uint32_t bytes = OWNER_BELL_BYTES_MIN, key = KCM_OWNER_BELL;
	int err;

	/* A connection rings for a hold and for its end of it; nothing may be lost. */
	while (bytes < m->v.cfg.n_conns * 16U * 4U)
		bytes *= 2;
	m->bell_fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "kcm_bell", 0, 0, bytes, NULL);
	if (m->bell_fd < 0)
		return -errno;
	if (bpf_map_update_elem(m->bells, &key, &m->bell_fd, BPF_ANY))
		return -errno;
	err = bell_map(&m->bell, m->bell_fd, bytes);
	return err ?: watch(m, m->bell_fd, POLL_BELL);
}

/* Optional: without it workers join by inherited descriptors only. */
static void make_listener(struct kcm_mux *m)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, err = ENOENT;

	snprintf(sa.sun_path, sizeof(sa.sun_path), MUX_RUN_DIR "/%s.sock", m->name);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	/* Another owner may be removing the directories as we make them. */
	for (int i = 0; i < 100 && err == ENOENT; i++) {
		mkdir("/run/kcm", 0755);
		mkdir(MUX_RUN_DIR, 0755);
		unlink(sa.sun_path); /* we hold the lock: nobody else's */
		err = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) ? errno : 0;
	}
	if (err || chmod(sa.sun_path, 0600) || listen(fd, 64) || watch(m, fd, POLL_LISTEN)) {
		close(fd);
		return;
	}
	m->listener = fd;
}

static void release_all(struct kcm_mux *m)
{
	int *fds[] = { &m->socks,    &m->slots,	  &m->bells,   &m->park,     &m->tx_fd,
		       &m->big_fd,   &m->big_ro,  &m->ep,      &m->ev,	     &m->timer,
		       &m->listener, &m->bell_fd, &m->lock_fd, &m->bpf_timer };

	view_unmap(&m->v);
	bell_unmap(&m->bell);
	mux_close_maps(m->maps);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	for (int i = 0; i < KCM_WORKERS_MAX; i++)
		if (m->evs[i] >= 0)
			close(m->evs[i]);
	free(m->conns);
	free(m);
}

int kcm_mux_open(const char *name, struct kcm_mux **out)
{
	struct kcm_mux *m;
	int err;

	if (!kcm_pin_name_ok(name))
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	snprintf(m->name, sizeof(m->name), "%s", name);
	m->socks = m->slots = m->bells = m->bpf_timer = m->park = m->tx_fd = m->big_fd = m->big_ro =
		-1;
	m->ep = m->ev = m->timer = m->listener = m->bell_fd = -1;
	m->run_tail = &m->run;
	for (int i = 0; i < VIEW_MAPS; i++)
		m->maps[i] = -1;
	for (int i = 0; i < KCM_WORKERS_MAX; i++)
		m->evs[i] = m->members[i].fd = m->members[i].bell_fd = -1;
	pthread_mutex_init(&m->lock, NULL);
	err = m->lock_fd = mux_owner_lock(name);
	if (err < 0)
		goto fail;
	err = mux_open_maps(name, m->maps, VIEW_CONF);
	err = err ?: view_map(&m->v, m->maps, VIEW_CONF);
	if (err)
		goto fail;
	if ((err = m->socks = open_pinned(m, "kcm_socks")) < 0 ||
	    (err = m->slots = open_pinned(m, "kcm_slots")) < 0 ||
	    (err = m->bells = open_pinned(m, "kcm_bells")) < 0 ||
	    (err = m->bpf_timer = open_pinned(m, "kcm_timer")) < 0)
		goto fail;
	m->park = bpf_map_create(BPF_MAP_TYPE_SOCKHASH, "kcm_park", 8, 8, 1024, NULL);
	m->conns = calloc(m->v.cfg.n_conns, sizeof(*m->conns));
	m->ep = epoll_create1(EPOLL_CLOEXEC);
	m->ev = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (m->park < 0 || !m->conns || m->ep < 0 || m->ev < 0 || m->timer < 0) {
		err = -errno;
		goto fail;
	}
	for (uint32_t i = 0; i < m->v.conf->n_workers; i++)
		if ((m->evs[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
			err = -errno;
			goto fail;
		}
	reset_state(m);
	err = make_memory(m);
	err = err ?: make_bell(m);
	err = err ?: watch(m, m->ev, POLL_EV);
	err = err ?: watch(m, m->timer, POLL_TIMER);
	if (err)
		goto fail;
	m->v.conf->home_ok = selfcheck_home(m);
	make_listener(m);
	err = -pthread_create(&m->thread, NULL, service, m);
	if (err)
		goto fail;
	*out = m;
	return 0;
fail:
	release_all(m);
	return err;
}

void kcm_mux_close(struct kcm_mux *m)
{
	char path[108];
	uint64_t one = 1;

	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_mutex_unlock(&m->lock);
	if (write(m->ev, &one, sizeof(one)) < 0)
		m->stop = true;
	pthread_join(m->thread, NULL);
	for (uint32_t i = 0; i < m->v.cfg.n_conns; i++)
		if (m->conns[i]) {
			conn_seize(m, m->conns[i]);
			conn_free(m, m->conns[i]);
		}
	members_close(m);
	while (m->big)
		big_free(m, m->big->off);
	if (m->listener >= 0) {
		snprintf(path, sizeof(path), MUX_RUN_DIR "/%s.sock", m->name);
		unlink(path);
		mux_rundir_leave();
	}
	m->v.conf->owner_pid = 0;
	release_all(m);
}

int kcm_mux_worker_fd(struct kcm_mux *m)
{
	int sv[2], err = wire_pair(sv);

	if (err)
		return err;
	pthread_mutex_lock(&m->lock);
	err = member_add(m, sv[0]);
	pthread_mutex_unlock(&m->lock);
	if (err < 0) {
		close(sv[0]);
		close(sv[1]);
		return err;
	}
	return sv[1];
}

int kcm_mux_counts(struct kcm_mux *m, unsigned int *conns, unsigned int *workers)
{
	pthread_mutex_lock(&m->lock);
	*conns = m->n_conns - m->n_closing;
	*workers = m->n_members;
	pthread_mutex_unlock(&m->lock);
	return 0;
}
