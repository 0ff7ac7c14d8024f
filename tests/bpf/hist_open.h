/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hist_open.h - comes before each file of the library that the test of histories is linked with:
 * what they load is flowhist.bpf.c, wrong as the test asks for. See Makefile.
 */
#ifndef KCM_HIST_OPEN_H
#define KCM_HIST_OPEN_H

#include <linux/types.h>
#include "../../bpf/flow.h"
#include "flow.skel.h"

extern __u32 hist_wrong, hist_slow_ns, hist_slow_mask;

static inline struct flow *hist_open(void)
{
	struct flow *s = flow__open();

	if (s) {
		s->rodata_hist->hist_wrong = hist_wrong;
		s->rodata_hist->hist_slow_ns = hist_slow_ns;
		s->rodata_hist->hist_slow_mask = hist_slow_mask;
	}
	return s;
}

#define flow__open hist_open

#endif
