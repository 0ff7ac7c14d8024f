/* SPDX-License-Identifier: GPL-2.0 */
/* sock_herd.h - more sockets than one process may have descriptors. */
#ifndef KCM_TESTS_SOCK_HERD_H
#define KCM_TESTS_SOCK_HERD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sb_herd;

/* Called in the thread that has the descriptors of socket @i. Return: 0 or -errno, which ends it.
 */
typedef int sb_herd_fn(int *fd, size_t i, void *arg);

/**
 * sb_herd_make() - room for @n sockets
 * @files_each: descriptors of each
 * @fifo: nobody else runs on the CPU while the threads do
 * The threads belong to the caller's cgroup and CPU. NULL: no threads or memory.
 */
struct sb_herd *sb_herd_make(size_t n, unsigned int files_each, bool fifo);

/* Call @fn for each socket, in order of their numbers. */
int sb_herd_each(struct sb_herd *h, sb_herd_fn *fn, void *arg);

/* Call @fn in the order @order of @n numbers (threads take turns: not exactly, but as random). */
int sb_herd_order(struct sb_herd *h, const uint32_t *order, size_t n, sb_herd_fn *fn, void *arg);

/* Closes what is open. */
void sb_herd_free(struct sb_herd *h);

#endif
