/* SPDX-License-Identifier: GPL-2.0 */
/* sock_pairs.h - very many TCP connections over loopback, both ends ours. */
#ifndef KCM_TESTS_SOCK_PAIRS_H
#define KCM_TESTS_SOCK_PAIRS_H

#include <stddef.h>

struct sb_pairs;

/* @n connections: 2 * n sockets, established. NULL: errno says why. */
struct sb_pairs *sb_pairs_make(size_t n);

/* Call @fn for each socket, in the thread that has it open. */
int sb_pairs_each(struct sb_pairs *p, int (*fn)(int fd, void *arg), void *arg);

void sb_pairs_free(struct sb_pairs *p);

#endif
