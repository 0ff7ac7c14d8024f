/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* socktag.h - types shared by socktag.bpf.c and user space. */
#ifndef KCM_SOCKTAG_H
#define KCM_SOCKTAG_H

#include "sock.h"

/* Context of kcm_tag_slot. */
struct kcm_tag {
	__u64 cookie;
	struct kcm_sk_label label; /* an empty value removes it */
};

/* Value of kcm_tag_want, by cookie: a socket whose state is in sk_storage. */
struct kcm_tag_want {
	struct kcm_sk_label label;
	__s32 result; /* of kcm_label_set() */
	__u32 met;
};

#endif
