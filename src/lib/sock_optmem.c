// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_optmem.c - memory for storage on sockets. */
#include <errno.h>
#include <stdio.h>
#include "../util.h"
#include "sock_optmem.h"
#include "sock_view.h"

#define OPTMEM_PATH  "/proc/sys/net/core/optmem_max"
#define WANTED_BYTES 131072U /* the kernel's own choice since 6.7; it was 20 KiB */

static int read_bytes(unsigned int *bytes)
{
	_cleanup_file_ FILE *f = fopen(OPTMEM_PATH, "re");

	if (!f)
		return -errno;
	return fscanf(f, "%u", bytes) == 1 ? 0 : -EIO;
}

static int write_bytes(unsigned int bytes)
{
	FILE *f = fopen(OPTMEM_PATH, "we");
	int err = 0;

	if (!f)
		return -errno;
	if (fprintf(f, "%u\n", bytes) < 0)
		err = -errno;
	if (fclose(f) && !err)
		err = -errno;
	return err;
}

int sock_optmem_raise(void)
{
	unsigned int bytes;
	struct sock_view v;
	int err = read_bytes(&bytes);

	if (err || bytes >= WANTED_BYTES)
		return err;
	err = sock_view_open(&v, true);
	if (err)
		return err;
	err = write_bytes(WANTED_BYTES);
	if (!err && !v.ctl->cfg.optmem_before)
		v.ctl->cfg.optmem_before = bytes;
	sock_view_close(&v);
	return err;
}

int sock_optmem_restore(void)
{
	unsigned int bytes, before;
	struct sock_view v;

	if (sock_view_open(&v, true))
		return 0; /* of another layout, or broken: nothing is known of it */
	before = v.ctl->cfg.optmem_before;
	v.ctl->cfg.optmem_before = 0;
	sock_view_close(&v);
	if (!before || read_bytes(&bytes) || bytes != WANTED_BYTES)
		return 0;
	return write_bytes(before);
}
