/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is pinned beside every instance, so that a later kcmtool knows what it finds. */
#ifndef KCM_LAYOUT_H
#define KCM_LAYOUT_H

#define KCM_PIN_TOOL_BYTES 24

struct kcm_pin_info {
	__u32 layout; /* of the system's pinned maps */
	__u32 creator_pid;
	__u64 created_s;	       /* seconds since 1970 */
	char tool[KCM_PIN_TOOL_BYTES]; /* version of kcmtool or libkcm */
};

_Static_assert(sizeof(struct kcm_pin_info) == 40, "layout is read by other versions");

#endif
