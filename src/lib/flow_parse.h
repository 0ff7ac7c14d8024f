/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_parse.h - from text to policies. Interfaces are kept as names: whoever uses them looks them
 * up. Internal to libkcm and kcmtool.
 */
#ifndef KCM_FLOW_PARSE_H
#define KCM_FLOW_PARSE_H

#include "flow_rule.h"

/* Priorities are from 0 to this; of two policies with the same one the earlier line comes first. */
#define FLOW_PRIO_MAX 0xffffffffu

#define FLOW_ERRORS 20 /* that are told of a file */

/**
 * flow_parse_file() - a file of policies, lists and the default action
 * @path: "-" is standard input
 * @errors: "FILE:LINE: what was wrong; what is allowed" and a newline for each of the first
 *	    FLOW_ERRORS errors, then a line that counts the others; NULL if there is none. Freed by
 *	    the caller.
 * Names of lists' files are relative to where @path is, and become absolute.
 * Return: 0; -EINVAL: @errors says why; or -errno of reading it, or -ENOMEM. Policies come sorted
 * by (prio, line). Free @set with flow_set_free() in any case.
 */
int flow_parse_file(const char *path, struct flow_set *set, char **errors);

/**
 * flow_parse_policy() - one policy, as a line of a file
 * @set: whose lists it may name
 * @why: one line
 * Return: 0 or -EINVAL.
 */
int flow_parse_policy(const char *text, const struct flow_set *set, struct flow_policy *p,
		      char *why, size_t size);

void flow_set_free(struct flow_set *set);
#define _cleanup_set_ __attribute__((cleanup(flow_set_free)))

#endif
