// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_iter_kind.c - which iterators the kernel permits, and which are pinned. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <bpf/bpf.h>
#include "../util.h"
#include "pin.h"
#include "sock_iter.h"

bool sock_iter_maps_permitted(void)
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, o, .expected_attach_type = BPF_TRACE_ITER);
	_cleanup_fd_ int fd = -1, other = -1;
	int id = libbpf_find_vmlinux_btf_id("bpf_map_elem", BPF_TRACE_ITER);

	if (id <= 0)
		return true;
	o.attach_btf_id = (__u32)id;
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "kcm_sk_walk", "GPL", nothing, ARRAY_LEN(nothing),
			   &o);
	if (fd >= 0 || errno != EPERM)
		return true;
	/* Without privilege all iterators are refused: that is another matter. */
	id = libbpf_find_vmlinux_btf_id("task_file", BPF_TRACE_ITER);
	o.attach_btf_id = id > 0 ? (__u32)id : 0;
	other = bpf_prog_load(BPF_PROG_TYPE_TRACING, "kcm_sk_walk", "GPL", nothing,
			      ARRAY_LEN(nothing), &o);
	return other < 0;
}

bool sock_iter_by_files(const char *dir)
{
	char path[KCM_PIN_PATH + 64], target[32] = "";
	struct bpf_link_info info = { .iter.target_name = (__u64)(uintptr_t)target,
				      .iter.target_name_len = sizeof(target) };
	__u32 len = sizeof(info);
	_cleanup_fd_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, sock_iter_names[SOCK_ITER_REFRESH]);
	fd = bpf_obj_get(path);
	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) && streq(target, "task_file");
}
