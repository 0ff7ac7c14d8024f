// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_iter_run.c - iterators of sock: run, read the snapshot. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <bpf/bpf.h>
#include "../util.h"
#include "pin.h"
#include "sock_iter.h"

#define BATCH 1024

/* An iterator is bound to the network namespace of the thread that opens it. */
static int open_in(const char *path, int netns_fd)
{
	_cleanup_fd_ int own = -1;
	int fd;

	if (netns_fd >= 0) {
		own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		if (own < 0 || setns(netns_fd, CLONE_NEWNET))
			return -errno;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	if (own >= 0 && setns(own, CLONE_NEWNET)) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return err;
	}
	return fd;
}

int sock_iter_run(const char *dir, enum sock_iter_file file, int netns_fd, char *text, size_t size)
{
	char path[KCM_PIN_PATH + 64], buf[32768];
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, sock_iter_names[file]);
	fd = open_in(path, netns_fd);
	if (fd < 0)
		return fd;
	if (text && size)
		*text = '\0';
	while ((n = read(fd, buf, sizeof(buf)))) {
		/* EAGAIN: a million elements without a word; it goes on from there. */
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (n > 0 && text && size) {
			size_t keep = (size_t)n < size ? (size_t)n : size - 1;

			memcpy(text, buf + n - keep, keep);
			text[keep] = '\0';
			text[strcspn(text, "\n")] = '\0';
		}
	}
	return 0;
}

int sock_iter_refresh(const char *dir, struct sock_refreshed *r)
{
	unsigned long long sockets, removed, missed;
	char text[128];
	int err = sock_iter_run(dir, SOCK_ITER_REFRESH, -1, text, sizeof(text));

	if (err)
		return err;
	if (sscanf(text, "%llu sockets, %llu removed, %llu missed", &sockets, &removed, &missed) !=
	    3)
		return -EPROTO;
	*r = (struct sock_refreshed){ sockets, removed, missed };
	return 0;
}

static int each_row(int map, int (*fn)(const struct kcm_sock *sock, void *arg), void *arg)
{
	_cleanup_free_ struct kcm_sk_row *rows = calloc(BATCH, sizeof(*rows));
	_cleanup_free_ __u64 *keys = calloc(BATCH, sizeof(*keys));
	__u32 at, n;
	int err, ret;

	if (!rows || !keys)
		return -ENOMEM;
	for (bool first = true;; first = false) {
		n = BATCH;
		err = bpf_map_lookup_batch(map, first ? NULL : &at, &at, keys, rows, &n, NULL);
		if (err && errno != ENOENT)
			return -errno;
		err = err ? -errno : 0;
		for (__u32 i = 0; i < n; i++) {
			ret = fn(&rows[i].sock, arg);
			if (ret)
				return ret;
		}
		if (err)
			return 0;
	}
}

int sock_iter_snapshot(const char *dir, int (*fn)(const struct kcm_sock *sock, void *arg),
		       void *arg)
{
	char path[KCM_PIN_PATH + 64];
	_cleanup_fd_ int fd = -1;
	struct sock_refreshed r;
	int err = sock_iter_refresh(dir, &r);

	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/" SOCK_ITER_SNAPSHOT, dir);
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : each_row(fd, fn, arg);
}
