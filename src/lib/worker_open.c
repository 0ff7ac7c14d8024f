// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* worker_open.c - join a mux, leave it, and talk to its owner. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <unistd.h>

#include "mux_file.h"
#include "worker.h"

static void fds_close(int *fds, int n)
{
	for (int i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int watch(struct kcm_worker *w, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(w->ep, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int welcome(struct kcm_worker *w)
{
	struct wire_rec rec = { .type = WIRE_HELLO, .a = WIRE_VERSION };
	int fds[WIRE_FDS_MAX], n = WIRE_FDS_MAX, err, tx, big;

	err = wire_send(w->ctl, &rec, NULL, 0, NULL, 0, 0);
	if (err)
		return err;
	err = wire_recv(w->ctl, &rec, NULL, NULL, fds, &n, 0);
	if (err)
		return err;
	if (rec.type == WIRE_REFUSED)
		return rec.a ? -(int)rec.a : -EPROTO;
	if (rec.type != WIRE_WELCOME || rec.a >= KCM_WORKERS_MAX || rec.b > KCM_WORKERS_MAX ||
	    n != VIEW_MAPS + 4 + (int)rec.b) {
		fds_close(fds, n);
		return -EPROTO;
	}
	w->slot = (int)rec.a;
	w->own = (uint8_t)(w->slot + 1);
	memcpy(w->maps, fds, sizeof(w->maps));
	tx = fds[VIEW_MAPS];
	big = fds[VIEW_MAPS + 1];
	w->bell.fd = fds[VIEW_MAPS + 2];
	w->owner_ev = fds[VIEW_MAPS + 3];
	w->n_evs = (int)rec.b;
	memcpy(w->evs, fds + VIEW_MAPS + 4, sizeof(int) * rec.b);
	/*
	 * What only the owner and BPF write is mapped read-only for good (bpf_map_mmap() takes
	 * VM_MAYWRITE away). Descriptors opened with BPF_F_RDONLY can't be mapped at all: mmap()
	 * drops VM_SHARED for them, which bpf_map_mmap() refuses.
	 */
	err = view_map(&w->v, w->maps, VIEW_FIRST_SHARED);
	err = err ?: view_map_mem(&w->v, tx, big, rec.c, false);
	close(tx);
	close(big);
	/* Mapped: the descriptors are not needed, and fewer are fewer to leak into children. */
	fds_close(w->maps, VIEW_MAPS);
	return err ?: bell_map(&w->bell, w->bell.fd, 4096);
}

int kcm_worker_open_fd(int fd, struct kcm_worker **out)
{
	struct kcm_worker *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->ctl = fd;
	w->ep = w->owner_ev = w->bell.fd = -1;
	err = welcome(w);
	if (err)
		goto fail;
	err = -ENOMEM;
	w->stage = malloc(WORKER_STAGE);
	w->conns = malloc(sizeof(*w->conns) * w->v.cfg.n_conns);
	if (!w->stage || !w->conns)
		goto fail;
	for (uint32_t i = 0; i < w->v.cfg.n_conns; i++)
		w->conns[i] = (struct wconn){ .fd = -1 };
	w->st = &w->v.wstats[w->slot];
	w->epoch = LOAD(&w->v.conf->epoch);
	w->may_home = w->v.conf->home_ok && w->v.cfg.policy == KCM_POLICY_LEAST &&
		      w->slot < sysconf(_SC_NPROCESSORS_ONLN);
	/* The owner took it from the socket: of an inherited pair that is its own. */
	w->st->pid = (uint32_t)getpid();
	w->ep = epoll_create1(EPOLL_CLOEXEC);
	if (w->ep < 0) {
		err = -errno;
		goto fail;
	}
	err = watch(w, w->bell.fd);
	err = err ?: watch(w, w->evs[w->slot]);
	err = err ?: watch(w, w->ctl);
	if (err)
		goto fail;
	*out = w;
	return 0;
fail:
	w->ctl = -1; /* the caller keeps it */
	w->gone = true;
	kcm_worker_close(w);
	return err;
}

int kcm_worker_open(const char *name, struct kcm_worker **out)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *env;
	int fd, err;

	if (!name) {
		char *end;
		long v;

		env = getenv("KCM_WORKER_FD");
		if (!env || !*env)
			return -ENOENT;
		v = strtol(env, &end, 10);
		if (*end || v < 0 || v > 1 << 20)
			return -EBADF;
		return kcm_worker_open_fd((int)v, out);
	}
	if ((size_t)snprintf(sa.sun_path, sizeof(sa.sun_path), MUX_RUN_DIR "/%s.sock", name) >=
	    sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	wire_tune(fd);
	err = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) ? -errno : 0;
	if (err == -ECONNREFUSED)
		err = -EPIPE;
	err = err ?: kcm_worker_open_fd(fd, out);
	if (err)
		close(fd);
	return err;
}

void kcm_worker_close(struct kcm_worker *w)
{
	if (!w)
		return;
	if (!w->gone) {
		struct wire_rec bye = { .type = WIRE_BYE };

		kcm_flush(w);
		wire_send(w->ctl, &bye, NULL, 0, NULL, 0, MSG_DONTWAIT);
	}
	if (w->conns)
		for (uint32_t i = 0; i < w->v.cfg.n_conns; i++)
			if (w->conns[i].fd >= 0)
				close(w->conns[i].fd);
	bell_unmap(&w->bell);
	view_unmap(&w->v);
	if (w->bell.fd >= 0)
		close(w->bell.fd);
	if (w->owner_ev >= 0)
		close(w->owner_ev);
	fds_close(w->evs, w->n_evs);
	if (w->ep >= 0)
		close(w->ep);
	/* The end of this descriptor is what tells the owner; it gives our messages to others. */
	if (w->ctl >= 0)
		close(w->ctl);
	free(w->conns);
	free(w->stage);
	free(w);
}

void worker_drop_conn(struct kcm_worker *w, uint32_t slot)
{
	if (slot < w->v.cfg.n_conns && w->conns[slot].fd >= 0) {
		/* close() alone would not: others have the same open file. */
		if (w->conns[slot].home)
			epoll_ctl(w->ep, EPOLL_CTL_DEL, w->conns[slot].fd, NULL);
		w->conns[slot].home = false;
		close(w->conns[slot].fd);
		w->conns[slot].fd = -1;
	}
}

static void on_record(struct kcm_worker *w, const struct wire_rec *rec)
{
	uint32_t slot = id_slot(rec->conn);

	if (rec->type == WIRE_GONE && slot < w->v.cfg.n_conns &&
	    w->conns[slot].gen == id_gen(rec->conn))
		worker_drop_conn(w, slot);
}

int worker_control(struct kcm_worker *w, int flags)
{
	for (;;) {
		struct wire_rec rec;
		int fd, n = 1, err = wire_recv(w->ctl, &rec, NULL, NULL, &fd, &n, flags);

		if (err)
			return err == -EAGAIN ? 0 : err;
		if (n)
			close(fd);
		on_record(w, &rec);
	}
}

int worker_ask(struct kcm_worker *w, const struct wire_rec *ask, enum wire_type type,
	       struct wire_rec *rec, int *fd)
{
	int err = wire_send(w->ctl, ask, NULL, 0, NULL, 0, 0);

	if (err)
		return err;
	for (;;) {
		int n = 1, got = -1;

		err = wire_recv(w->ctl, rec, NULL, NULL, &got, &n, 0);
		if (err) {
			if (err == -EPIPE)
				w->gone = true;
			return err;
		}
		if (rec->type == type && rec->conn == ask->conn) {
			if (fd)
				*fd = n ? got : -1;
			else if (n)
				close(got);
			return 0;
		}
		if (n)
			close(got);
		on_record(w, rec);
	}
}

/*
 * Be woken by a connection's bytes themselves, see wake_shared() of the BPF side: a bell costs a
 * self-interrupt, which is dear on virtual machines. One home a connection, and no more homes than
 * CPUs, so that a busy mux does not wake everybody.
 */
static void make_home(struct kcm_worker *w, uint32_t slot, uint32_t gen)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = -1 };

	if (!w->may_home || LOAD(&w->v.home[slot]))
		return;
	if (epoll_ctl(w->ep, EPOLL_CTL_ADD, w->conns[slot].fd, &ev))
		return;
	w->conns[slot].home = true;
	CAS(&w->v.home[slot], 0, (uint64_t)(gen & 0xffffff) << 8 | w->own);
}

int worker_conn_fd(struct kcm_worker *w, kcm_conn_id id)
{
	struct wire_rec ask = { .type = WIRE_GETFD, .conn = id }, rec;
	uint32_t slot = id_slot(id), gen = id_gen(id);
	int err, fd = -1;

	if (slot >= w->v.cfg.n_conns || !id || LOAD(&w->v.conns[slot].gen) != gen)
		return -ENOTCONN;
	if (w->conns[slot].fd >= 0) {
		if (w->conns[slot].gen == gen)
			return w->conns[slot].fd;
		worker_drop_conn(w, slot);
	}
	err = worker_ask(w, &ask, WIRE_FD, &rec, &fd);
	if (err)
		return err;
	if (rec.a || fd < 0) {
		if (fd >= 0)
			close(fd);
		return rec.a ? -(int)rec.a : -EPROTO;
	}
	w->conns[slot].fd = fd;
	w->conns[slot].gen = gen;
	make_home(w, slot, gen);
	return fd;
}

int kcm_worker_enable(struct kcm_worker *w, int on)
{
	struct wire_rec ask = { .type = WIRE_ENABLE, .a = !!on }, rec;

	w->off = !on;
	if (w->asleep) {
		__atomic_fetch_and(&w->v.ctl->sleepers, ~(1ULL << w->slot), __ATOMIC_SEQ_CST);
		w->asleep = false;
	}
	return worker_ask(w, &ask, WIRE_ENABLED, &rec, NULL);
}

int kcm_peer(struct kcm_worker *w, kcm_conn_id id, struct sockaddr *sa, socklen_t *len)
{
	uint32_t slot = id_slot(id);
	const struct kcm_conn *c;

	if (slot >= w->v.cfg.n_conns || LOAD(&w->v.conns[slot].gen) != id_gen(id))
		return -ENOTCONN;
	c = &w->v.conns[slot];
	if (c->family == AF_INET6 && *len >= sizeof(struct sockaddr_in6)) {
		struct sockaddr_in6 *s = (struct sockaddr_in6 *)sa;

		memset(s, 0, sizeof(*s));
		s->sin6_family = AF_INET6;
		s->sin6_port = htons(c->rport);
		memcpy(&s->sin6_addr, c->raddr, 16);
		*len = sizeof(*s);
		return 0;
	}
	if (c->family == AF_INET && *len >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in *s = (struct sockaddr_in *)sa;

		memset(s, 0, sizeof(*s));
		s->sin_family = AF_INET;
		s->sin_port = htons(c->rport);
		memcpy(&s->sin_addr, c->raddr, 4);
		*len = sizeof(*s);
		return 0;
	}
	return -EINVAL;
}
