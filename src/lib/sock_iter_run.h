/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* sock_iter_run.h - where an iterator is, pinned or loaded. Internal to libkcm. */
#ifndef KCM_SOCK_ITER_RUN_H
#define KCM_SOCK_ITER_RUN_H

#include <stddef.h>

struct sock_iter_at {
	const char *path; /* NULL: @link_fd */
	int link_fd;
};

/* As sock_iter_run(). */
int sock_iter_read(const struct sock_iter_at *at, int netns_fd, char *text, size_t size);

#endif
