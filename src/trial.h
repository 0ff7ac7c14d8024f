/* SPDX-License-Identifier: GPL-2.0 */
/* Whether a system would load here, found out by loading it where nobody sees it. */
#ifndef KCM_TRIAL_H
#define KCM_TRIAL_H

#include "system.h"

enum trial_result {
	TRIAL_WORKS,
	TRIAL_FAILED,
	TRIAL_NOT_TRIED, /* takes CAP_SYS_ADMIN */
};

/**
 * trial_load() - load @s in a mount namespace with a bpffs of its own, which ends with the trial
 * @why: what the failed load said
 */
enum trial_result trial_load(const struct kcm_system *s, char *why, size_t size);

#endif
