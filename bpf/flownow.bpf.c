// SPDX-License-Identifier: GPL-2.0
/*
 * flownow.bpf.c - the time as flow's programs see it, in jiffies. An object of its own, for a list
 * of flows is not to wait for all of flow's program to be read.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

/* kcm_fl_time - jiffies64. Key: 0. Written by kcm_fl_now, read by user space. */
__u64 kcm_fl_time;

SEC("syscall")
int kcm_fl_now(void *ctx)
{
	kcm_fl_time = bpf_jiffies64();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
