/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * frame_text.h - parsers for protocols no descriptor can express. Included by frame.h only.
 */
#ifndef KCM_FRAME_TEXT_H
#define KCM_FRAME_TEXT_H

KCM_FINLINE int kcm_frame_dedicated(const struct kcm_frame *f, struct kcm_fstate *s,
				    const void *base, __u32 pos, __u32 avail)
{
	(void)f;
	(void)s;
	(void)base;
	(void)pos;
	(void)avail;
	return -EPROTO;
}

#endif /* KCM_FRAME_TEXT_H */
