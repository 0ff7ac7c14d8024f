// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * selfcheck.c - what we use of the kernel and no document promises, tried on a connection of our
 * own before we rely on it.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "owner.h"

#define CHECK_MS 100

/* A TCP connection to ourselves. Fails where loopback is down. */
static int tcp_pair(int sv[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sv[0] = sv[1] = -1;
	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&a, &len))
		goto out;
	sv[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sv[0] < 0 || connect(sv[0], (struct sockaddr *)&a, sizeof(a)))
		goto out;
	sv[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
out:
	if (l >= 0)
		close(l);
	return sv[1] < 0 ? -1 : 0;
}

/* Are we woken by a byte that the program takes away, because the socket is writable? */
static bool wakes(int tx, int rx)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET }, got;
	int ep = epoll_create1(EPOLL_CLOEXEC);
	bool ok = false;

	if (ep >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, rx, &ev) &&
	    epoll_wait(ep, &got, 1, 0) == 1 && /* writable from the start */
	    epoll_wait(ep, &got, 1, 0) == 0 && send(tx, "", 1, MSG_NOSIGNAL) == 1)
		ok = epoll_wait(ep, &got, 1, CHECK_MS) == 1 && got.events == EPOLLOUT;
	if (ep >= 0)
		close(ep);
	return ok;
}

/*
 * sk_psock_verdict_data_ready() calls the socket's own sk_data_ready() after the program has run
 * (since "bpf, sockmap: Wake up polling after data copy", 6.4 and stable). Then a sleeping worker
 * needs no doorbell.
 */
bool selfcheck_home(struct kcm_mux *m)
{
	int sv[2], err = tcp_pair(sv), slot = -1;
	uint64_t cookie = 0, fd;
	socklen_t len = sizeof(cookie);
	bool ok = false;

	if (m->v.cfg.mode != KCM_MODE_RING)
		goto out;
	if (!err && !getsockopt(sv[1], SOL_SOCKET, SO_COOKIE, &cookie, &len))
		slot = conn_take(m);
	if (slot >= 0) {
		uint32_t key = (uint32_t)slot;

		m->v.conns[slot].state = KCM_CONN_PROBE;
		fd = (uint64_t)sv[1];
		if (!bpf_map_update_elem(m->slots, &cookie, &key, BPF_ANY) &&
		    !bpf_map_update_elem(m->socks, &cookie, &fd, BPF_NOEXIST))
			ok = wakes(sv[0], sv[1]);
		bpf_map_delete_elem(m->socks, &cookie);
		bpf_map_delete_elem(m->slots, &cookie);
		STORE(&m->v.conns[slot].state, KCM_CONN_FREE);
	}
out:
	for (int i = 0; i < 2; i++)
		if (sv[i] >= 0)
			close(sv[i]);
	return ok;
}
