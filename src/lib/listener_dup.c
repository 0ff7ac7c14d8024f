// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* listener_dup.c - a descriptor of another process's socket, and what can be read by it. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "../util.h"
#include "listener_part.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static int option(int fd, int level, int name)
{
	int value;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) ? KCM_LISTENER_UNKNOWN : value;
}

/* The number may be another file's by now. */
static bool same(int fd, const struct kcm_listener *l)
{
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);
	struct stat st;

	if (fstat(fd, &st) || !S_ISSOCK(st.st_mode) || st.st_ino != l->inode)
		return false;
	if (!getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) && cookie == l->cookie)
		return true;
	/* What is listed of MPTCP is the TCP socket in it. */
	return l->protocol == IPPROTO_TCP && option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP;
}

static int dup_from(const struct kcm_listener_owner *o, const struct kcm_listener *l)
{
	_cleanup_fd_ int pid = (int)syscall(SYS_pidfd_open, o->pid, 0), fd = -1;

	if (pid < 0)
		return errno == ESRCH ? -ENOENT : -errno;
	fd = (int)syscall(SYS_pidfd_getfd, pid, o->fd, 0);
	if (fd < 0)
		return errno == ESRCH || errno == EBADF ? -ENOENT : -errno;
	return same(fd, l) ? TAKE_FD(fd) : -ENOENT;
}

int kcm_listener_dup(const struct kcm_listener *l)
{
	int err = -ENOENT;

	for (size_t i = 0; i < l->n_owners; i++) {
		int fd = dup_from(&l->owners[i], l);

		if (fd >= 0)
			return fd;
		if (err == -ENOENT)
			err = fd;
	}
	return err;
}

void listener_options(struct kcm_listener *l)
{
	_cleanup_fd_ int fd = kcm_listener_dup(l);

	l->dup_err = fd < 0 ? fd : 0;
	if (fd < 0)
		return;
	l->reuseport = option(fd, SOL_SOCKET, SO_REUSEPORT);
	l->incoming_cpu = option(fd, SOL_SOCKET, SO_INCOMING_CPU);
	if (l->reuseport == 0)
		l->reuseport_prog = 0;
	if (l->protocol != IPPROTO_TCP)
		return;
	l->mptcp = option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP;
	l->save_syn = option(fd, IPPROTO_TCP, TCP_SAVE_SYN);
	l->fastopen = option(fd, IPPROTO_TCP, TCP_FASTOPEN);
	l->defer_accept = option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT);
}
