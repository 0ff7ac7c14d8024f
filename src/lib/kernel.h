/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * Is the sockmap of this kernel known to lose data? One answer for kcm_mux_create(), doctor and
 * load. Internal to libkcm and kcmtool.
 */
#ifndef KCM_KERNEL_H
#define KCM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

/* In the environment, with any value but "" and "0": use this kernel whatever is known of it. */
#define KCM_UNSAFE_ENV "KCM_UNSAFE_KERNEL"

enum kcm_kernel_state {
	KCM_KERNEL_GOOD,
	KCM_KERNEL_DOUBTFUL, /* not known, or a fault that an ordinary program does not meet */
	KCM_KERNEL_BAD,	     /* older than 6.1, or loses or repeats data */
};

/**
 * kcm_kernel_judge() - what is known of a kernel
 * @release, @version: as of uname()
 * @why: one line, also if all is good
 */
enum kcm_kernel_state kcm_kernel_judge(const char *release, const char *version, char *why,
				       size_t size);

/* The same of the running kernel. -errno of uname() counts as doubtful. */
enum kcm_kernel_state kcm_kernel_here(char *why, size_t size);

/* Was it ordered to use a bad kernel, by the environment or by kcm_kernel_accept()? */
bool kcm_kernel_accepted(void);

/* For this process, from now on: what `--force` means. */
void kcm_kernel_accept(void);

#endif
