/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* frame_test.h - shared by frame_test.bpf.c and test_frame_lockstep.c */
#ifndef KCM_FRAME_TEST_H
#define KCM_FRAME_TEST_H

#include "kcm_frame.h"

#define TEST_POS_MASK	 (2U * 1024 * 1024 - 1)
#define TEST_ARENA_BYTES (TEST_POS_MASK + 1 + 64)
#define TEST_MSGS	 4096
#define TEST_STEPS	 (1U << 16)

struct test_arena {
	__u8 bytes[TEST_ARENA_BYTES];
};

/* The place of a caller in a stream: what the verdict program keeps for a connection. */
struct test_ctl {
	struct kcm_fstate state;
	__u32 pos;	 /* of the current message */
	__u32 end;	 /* of the bytes that are here */
	__s32 whole;	 /* of the current message, 0 = not known yet, < 0 = error */
	__u32 n;	 /* messages so far */
	__u32 exhausted; /* bpf_loop() ran out of iterations: never */
	__u32 len[TEST_MSGS];
};

#endif
