// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Drops one packet in twenty, at random: netem's loss, on kernels that are built without it. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define ONE_IN 20

SEC("xdp")
int loss_xdp(struct xdp_md *ctx)
{
	return bpf_get_prandom_u32() % ONE_IN ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
