// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_detach.c - an instance of migrate is removed: its groups are the kernel's hash's again.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include "../util.h"
#include "migrate_load.h"
#include "migrate_view.h"
#include "pin.h"

#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

/*
 * The flag first: if we are killed in between, the group counts as one that has lost its selector,
 * and attach gives it another.
 */
static bool selector_off(struct mg_view *v, unsigned int i)
{
	int one = 1;

	__atomic_fetch_and(&v->mg->group[i].flags, ~(__u32)KCM_MG_GROUP_SELECTOR, __ATOMIC_ACQ_REL);
	for (__u32 s = 0; s < v->mg->ctl.slots && s < KCM_MG_SLOTS; s++) {
		const struct kcm_mg_slot *slot = &v->mg->slot[s];
		_cleanup_fd_ int fd = -1;

		if (slot->group != i || !(slot->flags & KCM_MG_SLOT_USED) ||
		    (slot->flags & KCM_MG_SLOT_CLOSED))
			continue;
		fd = migrate_dup_slot(v, slot);
		if (fd >= 0 &&
		    (!setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &one, sizeof(one)) ||
		     errno == ENOENT))
			return true;
	}
	return false;
}

int kcm_migrate_detach(const char *name, char *note, size_t size)
{
	struct mg_view v = MG_VIEW_NONE;
	int err = mg_view_open(&v, name, true);

	if (size)
		note[0] = '\0';
	/* Who has the listeners by now: in kcm_mg_seed. */
	if (!err)
		migrate_owners(v.dir);
	for (unsigned int i = 0; !err && i < KCM_MG_GROUPS; i++) {
		struct kcm_mg_group *g = &v.mg->group[i];

		if ((g->flags & KCM_MG_GROUP_SELECTOR) && g->n && !selector_off(&v, i))
			snprintf(note, size,
				 "a group of %u listeners keeps the selector, which from now on "
				 "does as the kernel's hash: no right to its processes",
				 g->n);
	}
	mg_view_close(&v);
	err = kcm_pin_remove(MG_SYSTEM, name);
	return err;
}
