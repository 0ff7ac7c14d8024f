// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_pins.c - the maps that are pinned are those in use. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include "../util.h"
#include "flow_edit.h"

static __u32 id_of(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

int flow_finish_pins(const struct flow_inst *f)
{
	for (int m = 0; m < FLOW_SHARED; m++) {
		char path[KCM_PIN_PATH + 64];
		_cleanup_fd_ int fd = -1;

		snprintf(path, sizeof(path), "%s/%s", f->dir, flow_map_name[m]);
		fd = bpf_obj_get(path);
		if (fd >= 0 && id_of(fd) == id_of(f->map_fd[m]))
			continue;
		if (fd >= 0 && unlink(path))
			return -errno;
		if (bpf_obj_pin(f->map_fd[m], path))
			return -errno;
	}
	return 0;
}
