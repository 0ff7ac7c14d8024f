// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* owner_open.c - become the owner of a mux, and stop being it. */
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
	err = -pthread_create(&m->thread, NULL, owner_service, m);
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
