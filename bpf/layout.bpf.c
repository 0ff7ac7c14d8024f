// SPDX-License-Identifier: GPL-2.0
/* No program: the map `layout` of every pinned instance, made here to be typed by BTF. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "layout.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kcm_pin_info);
} kcm_layout SEC(".maps");
