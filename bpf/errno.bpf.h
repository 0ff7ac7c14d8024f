/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* errno.bpf.h - what programs answer: vmlinux.h has no macros. */
#ifndef KCM_ERRNO_BPF_H
#define KCM_ERRNO_BPF_H

#define KCM_EPERM   1
#define KCM_ENOENT  2
#define KCM_ESRCH   3
#define KCM_EAGAIN  11
#define KCM_ENOMEM  12
#define KCM_EEXIST  17
#define KCM_EINVAL  22
#define KCM_ENOSPC  28
#define KCM_ENODATA 61

#endif
