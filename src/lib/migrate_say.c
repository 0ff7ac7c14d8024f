// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_say.c - a server's own listeners: generation, readiness, drain. */
#include <errno.h>
#include <sys/socket.h>

#include "kcm_migrate.h"

static int say(int fd, int option, uint32_t value)
{
	if (!setsockopt(fd, KCM_SOL_KCM, option, &value, sizeof(value)))
		return 0;
	/* Without our program the kernel knows no such option. */
	return errno == ENOPROTOOPT || errno == ENOTSUP ? -EOPNOTSUPP : -errno;
}

int kcm_listener_generation(int fd, uint32_t generation)
{
	return generation ? say(fd, KCM_SO_LISTENER_GENERATION, generation) : -EINVAL;
}

int kcm_listener_register(int fd, uint32_t generation)
{
	return say(fd, KCM_SO_LISTENER_REGISTER, generation);
}

int kcm_listener_drain(int fd)
{
	return say(fd, KCM_SO_LISTENER_DRAIN, 1);
}
