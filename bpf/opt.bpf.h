/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * opt.bpf.h - the private level of setsockopt() and getsockopt(), see kcm_sockopt.h: what all
 * programs have in common that handle options of it.
 *
 * Several may be attached to a socket's cgroup and those above it, and the kernel runs all of them.
 * Each handles options of its own and lets everything else pass as it came: what another one has
 * said already stays (optlen is -1 then, or an error is set).
 *
 * Other levels pass at once. The kernel hands programs a page of an option's value at most; what
 * is longer it takes from the caller itself where optlen is 0 (and before 6.5 only there).
 */
#ifndef KCM_OPT_BPF_H
#define KCM_OPT_BPF_H

#include "errno.bpf.h"
#include "../src/lib/kcm_sockopt.h"

#define KCM_OPT_PAGE 4096

static __always_inline void opt_pass(struct bpf_sockopt *ctx)
{
	if (ctx->optlen > KCM_OPT_PAGE)
		ctx->optlen = 0;
}

/*
 * Newer verifiers want to see that it is an errno, in 64 bits: the helper is called by its number,
 * because its declaration takes an int, and an int is passed without its sign.
 */
static __always_inline void opt_result(long err)
{
	asm volatile("" : "+r"(err));
	if (err > 0 || err < -4095)
		err = -KCM_EINVAL;
	((long (*)(long))187)(err);
}

#endif
