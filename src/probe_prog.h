/* SPDX-License-Identifier: GPL-2.0 */
/* What probes by programs have in common. */
#ifndef KCM_PROBE_PROG_H
#define KCM_PROBE_PROG_H

#include "feature.h"

struct probe;

/* Load the feature's program and maps only. NULL: @r says why. */
struct probe *probe_load(const struct feature *f, struct feature_result *r);

/* @step was refused with @err: fill @r and return its state. */
int probe_refused(const struct feature *f, struct feature_result *r, int err, const char *step);

#endif
