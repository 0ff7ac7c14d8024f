/* SPDX-License-Identifier: GPL-2.0 */
/* sock_diag.h - all TCP sockets of the network namespace by netlink, as ss asks for them. */
#ifndef KCM_TESTS_SOCK_DIAG_H
#define KCM_TESTS_SOCK_DIAG_H

#include <stdbool.h>
#include <stddef.h>

/* @storages: with all sk_storage, else with tcp_info. Return: how many sockets, or -errno. */
long sb_diag_dump(bool storages, char *buf, size_t size);

#endif
