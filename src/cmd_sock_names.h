/* SPDX-License-Identifier: GPL-2.0 */
/* Names of what a socket's state has as numbers. What costs a system call is kept. */
#ifndef KCM_CMD_SOCK_NAMES_H
#define KCM_CMD_SOCK_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sock.h"

/* NULL-terminated lists in the order of the enum; an empty name: none of this number. */
extern const char *const sock_state_names[];
extern const char *const sock_role_names[];
extern const char *const sock_unframed_names[];

const char *sock_state_name(uint32_t state);
const char *sock_role_name(uint32_t role);
const char *sock_proto_name(uint32_t proto);
const char *sock_unframed_name(uint32_t unframed);

/* Anybody's bytes, to be shown: what a terminal would obey becomes '?'. */
void sock_text_clean(char *text);

#define SOCK_ADDR 64
/* "10.0.0.1:80", "[::1]:80", "*:80". */
void sock_addr_text(uint16_t family, const uint8_t addr[16], uint16_t port, char text[SOCK_ADDR]);

/* Path of a cgroup from the mount point, "/system.slice"; NULL: removed, or not seen from here. */
const char *sock_cgroup_path(uint64_t id);
/**
 * sock_cgroup_find() - the cgroup called @name: a path from the mount point, or with it
 * Return: 0; -ENOENT; -EOPNOTSUPP without cgroup2; or -errno.
 */
int sock_cgroup_find(const char *name, uint64_t *id, char *path, size_t size);

/* Cookie of our own network namespace, 0 if the kernel does not tell. */
uint64_t sock_netns_own(void);
/* "blue" (of ip netns), "pid 123"; NULL: nobody we see is in it. */
const char *sock_netns_name(uint64_t cookie);
/* Cookie of the namespace @name: of ip netns, or a path. Return: 0 or -errno. */
int sock_netns_find(const char *name, uint64_t *cookie);

#define SOCK_TEXT 16
/* For people, three digits: "1.25M", "350us", "10.2Mbit"; "-" for 0 of a time. */
void sock_time_text(uint64_t ns, char text[SOCK_TEXT]);
void sock_bytes_text(uint64_t bytes, char text[SOCK_TEXT]);
void sock_count_text(uint64_t n, char text[SOCK_TEXT]);
void sock_rate_text(uint64_t bytes_per_s, char text[SOCK_TEXT]);

#endif
