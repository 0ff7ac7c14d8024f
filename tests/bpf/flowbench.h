/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flowbench.h - what flowbench.bpf.c and its benchmark share. */
#ifndef KCM_TEST_FLOWBENCH_H
#define KCM_TEST_FLOWBENCH_H

#define FLOWBENCH_PACKETS 16384

/* The key of IPv4 is at its beginning, if it is one. */
struct flowbench_pk {
	struct kcm_fl_key6 key;
	__u32 family;
};

#endif
