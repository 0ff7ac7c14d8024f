// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_dup.c - the selector on a group that exists: through a socket of somebody else. */
#include <ctype.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "../util.h"
#include "migrate_load.h"
#include "migrate_view.h"

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif

static int dup_fd(int pidfd, int fd, __u64 cookie)
{
	_cleanup_fd_ int got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	__u64 is = 0;
	socklen_t len = sizeof(is);

	if (got < 0)
		return -errno;
	if (getsockopt(got, SOL_SOCKET, SO_COOKIE, &is, &len) || is != cookie)
		return -ENOENT;
	return TAKE_FD(got);
}

static bool is_socket(int dir, const char *fd)
{
	char link[32];
	ssize_t n = readlinkat(dir, fd, link, sizeof(link));

	return n > 7 && !strncmp(link, "socket:", 7);
}

int migrate_dup(__u32 pid, __u64 cookie)
{
	_cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	_cleanup_dir_ DIR *d = NULL;
	int ret = -ENOENT;
	struct dirent *e;
	char path[64];

	if (pidfd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	d = opendir(path);
	if (!d)
		return -errno;
	while (ret == -ENOENT && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]) && is_socket(dirfd(d), e->d_name))
			ret = dup_fd(pidfd, atoi(e->d_name), cookie);
	return ret;
}

/*
 * Whoever called listen() may have ended, and those it forked have the socket: as the parent of a
 * daemon does. Then kcm_mg_owner has found one, if it was read just before.
 */
int migrate_dup_slot(const struct mg_view *v, const struct kcm_mg_slot *slot)
{
	int fd = migrate_dup(slot->pid, slot->cookie);
	struct kcm_mg_seed seed;
	_cleanup_fd_ int seeds = -1;
	char path[sizeof(v->dir) + 16];
	__u64 sk = slot->sk;

	if (fd >= 0)
		return fd;
	snprintf(path, sizeof(path), "%s/kcm_mg_seed", v->dir);
	seeds = bpf_obj_get(path);
	if (seeds < 0 || bpf_map_lookup_elem(seeds, &sk, &seed) || seed.pid == slot->pid)
		return fd;
	return migrate_dup(seed.pid, slot->cookie);
}

/* Through any of the group's listeners that can be had: it holds for all. */
static int select_one(struct mg_view *v, unsigned int i)
{
	struct kcm_mg_group *g = &v->mg->group[i];
	int err = -ESRCH;

	for (__u32 s = 0; s < v->mg->ctl.slots && s < KCM_MG_SLOTS; s++) {
		const struct kcm_mg_slot *slot = &v->mg->slot[s];
		__u64 emptied = __atomic_load_n(&g->emptied, __ATOMIC_ACQUIRE);
		_cleanup_fd_ int fd = -1;

		if (slot->group != i || !(slot->flags & KCM_MG_SLOT_USED) ||
		    (slot->flags & KCM_MG_SLOT_CLOSED))
			continue;
		fd = migrate_dup_slot(v, slot);
		if (fd < 0) {
			err = fd;
			continue;
		}
		/*
		 * Said before it is done, as one that is lost: whoever detaches takes it away even
		 * if we are killed in between.
		 */
		__atomic_store_n(&g->selector_at, ~0ULL, __ATOMIC_RELEASE);
		__atomic_fetch_or(&g->flags, KCM_MG_GROUP_SELECTOR, __ATOMIC_ACQ_REL);
		if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &v->select_fd,
			       sizeof(v->select_fd))) {
			err = -errno;
			continue;
		}
		__atomic_store_n(&g->selector_at, emptied, __ATOMIC_RELEASE);
		return 0;
	}
	return err;
}

void migrate_select_all(struct mg_view *v, struct migrate_found *f)
{
	for (unsigned int i = 0; i < KCM_MG_GROUPS; i++) {
		struct kcm_mg_group *g = &v->mg->group[i];
		int err;

		if (!(g->flags & KCM_MG_GROUP_USED))
			continue;
		f->groups++;
		err = mg_selector_on(v->mg, (int)i) || !g->n ? 0 : select_one(v, i);
		if (err)
			f->selector_err = err;
		else
			f->selectors += mg_selector_on(v->mg, (int)i);
	}
}
