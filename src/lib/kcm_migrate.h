/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * kcm_migrate - a server that tells `kcmtool migrate attach` itself what its listeners are.
 *
 *	bind(fd, ...); listen(fd, ...);
 *	kcm_listener_register(fd, 7);	generation 7 accepts: new connections come here
 *	...
 *	kcm_listener_drain(fd);		no more: accept what is in the queue, close(fd)
 *
 * Nobody has to: without a word generations are told by process, and one takes over when it has
 * accepted a connection. Who says it decides it: generations within one process or over several,
 * the moment at which one takes over, and an end at which no handshake is under way.
 *
 * No privilege is needed. In other languages: setsockopt() with what is in kcm_sockopt.h. What was
 * said is gone with `migrate detach`; accepted connections do not inherit it.
 *
 * All functions return 0 on success and -errno on failure, and print nothing. Any thread may call
 * them, for the same listener too. A socket is for the instance of its port. Errors of all:
 *
 *	-EOPNOTSUPP	no `migrate attach` for its port and cgroup, or --no-setsockopt, or no TCP
 *			socket. One that is not bound yet may be for any port
 *	-EINVAL		a connected socket
 *	-ESRCH		it listens and is not registered, for lack of SO_REUSEPORT or of room;
 *			`kcmtool migrate watch` says why
 *	-EPERM		a number, where numbers are the operator's: `attach --generation manual`,
 *			`generation new`. Before bind() it is not refused, but ignored
 *	-ENOSPC		its group has 8 generations, or the generation 1,024 listeners
 *	-ENOMEM		before listen(): net.core.optmem_max
 *	-EBADF, -ENOTSOCK
 */
#ifndef KCM_MIGRATE_API_H
#define KCM_MIGRATE_API_H

#include <stdint.h>

#include "kcm_sockopt.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/**
 * kcm_listener_generation() - the listener is of generation number so and so
 * @generation: 1 to 4294967295, any number that other generations do not have; listeners of several
 *	processes may have the same. It need not count up: newer is what has come later, and a
 *	number whose listeners have all closed is a new generation when it comes again.
 *
 * Before listen() or after it. If it is newer than the one that works, it works when it has
 * accepted a connection that is sent to it as a probe.
 * Return: 0; -EINVAL @generation is 0; others above.
 */
int kcm_listener_generation(int fd, uint32_t generation);

/**
 * kcm_listener_register() - the listener's generation accepts connections
 * @generation: as above; 0: the one that it is of
 *
 * New connections go to the generation at once, without a probe, unless a newer one works already
 * or an operator has said which one does (`promote`, `rollback`, `weight`, `drain`). So say it when
 * it is ready; before listen() it counts from listen() on. For a listener that drains: it takes
 * connections again.
 * Return: 0, or above.
 */
int kcm_listener_register(int fd, uint32_t generation);

/**
 * kcm_listener_drain() - no more connections for this listener
 *
 * Others of its generation get them; after its last one another generation's; where there is none,
 * the anchor keeps them (`attach --anchor`). What is in its accept queue stays, and handshakes that
 * are under way end there: accept for some round trips, then close; what is left migrates.
 * If all others close and there is no anchor, it gets connections again, as nobody else would.
 * Return: 0, also if it drains already; -ENOENT nobody else would take the connections; -EINVAL it
 *	does not listen; others above.
 */
int kcm_listener_drain(int fd);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
