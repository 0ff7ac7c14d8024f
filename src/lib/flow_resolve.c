// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_resolve.c - names of interfaces to their numbers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include "../util.h"
#include "flow_resolve.h"

/* Where a policy that is in force sends to, if its interface is gone: nowhere. */
#define NOWHERE 0x7fffffffu

/* An interface of the instance that is gone: its packets are, and its policies stay. */
static __u32 gone_interface(const struct flow_inst *f, const char *name)
{
	bool gone = false;

	for (__u32 i = 0; f && i < f->links; i++)
		gone = gone || (!f->link[i].ifindex && streq(f->link[i].ifname, name));
	for (__u32 i = 0; gone && i < f->conf.n_if; i++) {
		bool lives = false;

		for (__u32 k = 0; k < f->links; k++)
			lives = lives || f->link[k].ifindex == f->conf.ifindex[i];
		if (!lives)
			return f->conf.ifindex[i];
	}
	return 0;
}

static int resolve(struct flow_policy *p, const struct flow_inst *f, __u32 cpus, char *why,
		   size_t size)
{
	if (p->in[0]) {
		p->ifindex = if_nametoindex(p->in) ?: gone_interface(f, p->in);
		if (!p->ifindex) {
			snprintf(why, size, "there is no interface '%s'", p->in);
			return -ENODEV;
		}
	}
	if (p->action == FLOW_REDIRECT) {
		p->out_ifindex = if_nametoindex(p->out) ?: (f ? NOWHERE : 0);
		if (!p->out_ifindex) {
			snprintf(why, size, "there is no interface '%s'", p->out);
			return -ENODEV;
		}
	}
	if (p->action == FLOW_CPU && p->cpu >= cpus) {
		snprintf(why, size, "there is no CPU %u, but 0 to %u", p->cpu, cpus - 1);
		return -ENXIO;
	}
	return 0;
}

int flow_resolve(struct flow_set *set, const struct flow_inst *f, size_t *bad, char *why,
		 size_t size)
{
	__u32 cpus = (__u32)get_nprocs_conf();

	for (*bad = 0; *bad < set->n; ++*bad) {
		int err = resolve(&set->policy[*bad], f, cpus, why, size);

		if (err)
			return err;
	}
	return 0;
}
