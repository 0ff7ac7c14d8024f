// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_adopt.c - listeners that are older than attach, by iterators that attach has pinned. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>
#include "../util.h"
#include "migrate_load.h"
#include "netns.h"

#define PATHLEN 256

static int read_all(const char *dir, const char *file)
{
	char path[PATHLEN], buf[4096];
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf, sizeof(buf));
	} while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	return n < 0 ? -errno : 0;
}

int migrate_owners(const char *dir)
{
	return read_all(dir, "kcm_mg_owner");
}

int migrate_adopt(const char *dir)
{
	_cleanup_fd_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct netns_list l = { 0 };
	int err = own < 0 ? -errno : netns_list(&l), ret;

	if (err)
		return err;
	ret = migrate_owners(dir);
	for (size_t i = 0; i < l.n && !ret; i++) {
		if (l.ns[i].fd >= 0 && setns(l.ns[i].fd, CLONE_NEWNET)) {
			/* Not permitted: `show` lists what is registered. */
			ret = errno == EPERM ? 0 : -errno;
			continue;
		}
		ret = read_all(dir, "kcm_mg_adopt");
		if (l.ns[i].fd >= 0 && setns(own, CLONE_NEWNET))
			ret = -errno;
	}
	netns_free(&l);
	return ret;
}

void migrate_forget_owners(const char *dir)
{
	char path[PATHLEN];
	_cleanup_fd_ int fd = -1;
	__u64 key;

	snprintf(path, sizeof(path), "%s/kcm_mg_seed", dir);
	fd = bpf_obj_get(path);
	while (fd >= 0 && !bpf_map_get_next_key(fd, NULL, &key))
		if (bpf_map_delete_elem(fd, &key))
			break;
}
