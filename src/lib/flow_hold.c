// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_hold.c - policies as they were at one moment, for those who look without the lock. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "../util.h"
#include "flow_inst.h"

/* Policies of a set die once another program is in force: then this one would not be any more. */
static int still_in_force(const struct flow_inst *f)
{
	for (__u32 i = 0; i < f->links; i++) {
		struct bpf_link_info info = { 0 };
		__u32 len = sizeof(info);

		if (bpf_obj_get_info_by_fd(f->link[i].fd, &info, &len))
			return -errno;
		if (info.prog_id != f->link[i].prog_id)
			return -EAGAIN;
	}
	return 0;
}

int flow_inst_hold(struct flow_inst *f)
{
	size_t bytes = f->conf.slots * sizeof(*f->pol);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	memcpy(p, f->pol, bytes);
	munmap(f->pol, bytes);
	f->pol = p;
	return still_in_force(f);
}
