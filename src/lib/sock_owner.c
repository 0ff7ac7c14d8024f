// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_owner.c - which process has a socket, found in /proc. */
#include <bpf/bpf.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include "../../bpf/sockiter.h"
#include "../util.h"
#include "sock_owner.h"

#define BATCH 4096

static void read_comm(int pid_fd, char comm[16])
{
	_cleanup_fd_ int fd = openat(pid_fd, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, comm, 15);

	comm[n > 0 ? n : 0] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
}

static int note(int map, __u64 inode, const struct kcm_sk_owner *owner)
{
	struct kcm_sk_owner had;

	if (!bpf_map_update_elem(map, &inode, owner, BPF_NOEXIST))
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (!bpf_map_lookup_elem(map, &inode, &had) && had.pid > owner->pid)
		bpf_map_update_elem(map, &inode, owner, BPF_ANY);
	return 0;
}

static int one_process(int map, int proc, const char *pid)
{
	_cleanup_fd_ int pid_fd = openat(proc, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct kcm_sk_owner owner = { .pid = (__u32)atoi(pid) };
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;
	int fd, err = 0;

	fd = pid_fd < 0 ? -1 : openat(pid_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return 0; /* it ended, or is not ours to look at */
	}
	while (!err && (e = readdir(d))) {
		char target[48];
		unsigned long long inode;
		ssize_t n = readlinkat(fd, e->d_name, target, sizeof(target) - 1);

		if (n < 0)
			continue;
		target[n] = '\0';
		if (sscanf(target, "socket:[%llu]", &inode) != 1)
			continue;
		if (!owner.comm[0])
			read_comm(pid_fd, owner.comm);
		err = note(map, inode, &owner);
	}
	return err;
}

int sock_owners_write(int map)
{
	_cleanup_dir_ DIR *d = opendir("/proc");
	struct dirent *e;
	int err = d ? 0 : -errno;

	while (!err && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			err = one_process(map, dirfd(d), e->d_name);
	return err == -E2BIG || err == -ENOMEM ? 0 : err; /* as many as there is room for */
}

/* In batches: to look for the first key again and again walks over more and more empty buckets. */
void sock_owners_clear(int map)
{
	_cleanup_free_ struct kcm_sk_owner *owners = calloc(BATCH, sizeof(*owners));
	_cleanup_free_ __u64 *keys = calloc(BATCH, sizeof(*keys));
	__u32 at, n;

	if (!owners || !keys)
		return;
	for (bool first = true;; first = false) {
		n = BATCH;
		if (bpf_map_lookup_and_delete_batch(map, first ? NULL : &at, &at, keys, owners, &n,
						    NULL))
			return; /* ENOENT: that was the last of it */
	}
}
