// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_load_begin.c - is an instance there, and the lock on all of them. */
#include <errno.h>
#include <string.h>
#include "../util.h"
#include "flow_load_part.h"

#define LOAD_TRIES 5

static int is_others(struct flow_loading *l)
{
	char name[KCM_PIN_NAME];

	for (__u32 i = 0; i < l->o->n_if; i++)
		if (!flow_inst_find(l->o->ifname[i], name, sizeof(name)) &&
		    !streq(name, l->done->name))
			return flow_load_fail(l, -EXDEV, "%s is judged by the policies of %s",
					      l->o->ifname[i], name);
	return 0;
}

static int find_instance(struct flow_loading *l)
{
	int err = flow_pin_name(l->done->name, sizeof(l->done->name), l->o->ifname[0]);

	if (err)
		return flow_load_fail(l, err, "%s: %s", l->o->ifname[0], strerror(-err));
	l->done->was_there = !flow_inst_find(l->o->ifname[0], l->done->name, sizeof(l->done->name));
	return is_others(l);
}

/* What there was when the lock was waited for may not be there any more, or there now. */
int flow_load_begin(struct flow_loading *l)
{
	for (int tries = 0;; tries++) {
		int err = find_instance(l);
		struct flow_loaded seen;

		if (err)
			return err;
		seen = *l->done;
		err = kcm_pin_begin(&l->txn, FLOW_SYSTEM, seen.name, KCM_FLOW_LAYOUT,
				    seen.was_there);
		if (err && (err != -EEXIST || tries == LOAD_TRIES))
			return flow_load_fail(l, err, "%s/" FLOW_SYSTEM ": %s", KCM_PIN_ROOT,
					      strerror(-err));
		if (err)
			continue;
		err = find_instance(l);
		if (err ||
		    (l->done->was_there == seen.was_there && streq(l->done->name, seen.name)))
			return err;
		kcm_pin_abort(&l->txn);
		if (tries == LOAD_TRIES)
			return flow_load_fail(l, -EBUSY, "others load and unload it all the time");
	}
}
