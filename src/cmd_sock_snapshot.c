// SPDX-License-Identifier: GPL-2.0
/* sock snapshot: what `cat /sys/fs/bpf/kcm/sock/refresh` does, with numbers. */
#include <errno.h>
#include <time.h>
#include "cmd_sock.h"
#include "lib/sock_iter.h"
#include "lib/sock_sweep.h"

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int sock_snapshot(const struct cmd_args *args)
{
	struct sock_sweep sweep;
	struct sock_refreshed r;
	char why[256];
	uint64_t began_ns;
	int err = kcm_sock_sweep(&sweep, why, sizeof(why));

	/* First, so that slots of sockets that have gone are not in it. */
	if (err && err != -ENOENT)
		warn("not swept: %s", why);
	began_ns = now_ns();
	err = sock_iter_refresh(SOCK_PIN_DIR, &r);
	if (err)
		return sock_report(err, "cannot make the snapshot");
	out_str(args->out, "snapshot", SOCK_PIN_DIR "/" SOCK_ITER_SNAPSHOT);
	out_u64(args->out, "sockets", r.sockets);
	out_u64(args->out, "removed", r.removed);
	out_u64(args->out, "missed", r.missed);
	out_u64(args->out, "adopted", sweep.adopted);
	out_u64(args->out, "swept", sweep.swept);
	out_double(args->out, "ms", (double)(now_ns() - began_ns) / 1e6);
	if (r.missed)
		warn("%llu times a socket did not fit into the snapshot since load; "
		     "try: kcmtool sock load --sockets with twice as many, after unload",
		     (unsigned long long)r.missed);
	return 0;
}
