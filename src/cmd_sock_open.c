// SPDX-License-Identifier: GPL-2.0
/* What `sock load` has pinned, opened; and what to do if it can't be. */
#include <errno.h>
#include "cmd_sock.h"
#include "lib/pin.h"

int sock_report(int err, const char *what)
{
	switch (-abs(err)) {
	case -ENOENT:
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .where = SOCK_PIN_DIR,
				      .err = err, .next = "kcmtool sock load"),
			      "sock is not loaded");
	case -ESTALE:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = SOCK_PIN_DIR,
				      .why = "another version of kcmtool loaded it",
				      .next = "kcmtool sock load, which goes on with this version"),
			      "%s", what);
	case -EBUSY:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = KCM_BPFFS,
				      .why = "another process holds the lock",
				      .next = "again when it is done; lslocks names it"),
			      "%s", what);
	case -EPERM:
	case -EACCES:
		return report(PROBLEM(.code = KCM_EXIT_PRIVILEGE, .where = SOCK_PIN_DIR, .err = err,
				      .next = "the same with sudo; kcmtool doctor"),
			      "%s", what);
	default:
		return report(PROBLEM(.where = SOCK_PIN_DIR, .err = err, .next = "kcmtool doctor"),
			      "%s", what);
	}
}

int sock_open(struct sock_view *v, bool write)
{
	int err = sock_view_open(v, write);

	return err ? sock_report(err, "cannot open sock") : 0;
}

void sock_warn_losses(const struct kcm_sk_ctl *ctl)
{
	if (ctl->no_storage)
		warn("%llu times the kernel refused sk_storage: those sockets are not seen "
		     "(net.core.optmem_max or memory); try: sysctl -w net.core.optmem_max=1048576",
		     (unsigned long long)ctl->no_storage);
	if (ctl->beyond)
		warn("%llu connections found no free slot: their state is in sk_storage, which is "
		     "slower; try: kcmtool sock load --sockets %u, after unload",
		     (unsigned long long)ctl->beyond, 2 * ctl->cfg.slots);
}
