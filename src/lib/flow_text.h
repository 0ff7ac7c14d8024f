/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_text.h - policies as text: what `flow policy save` writes, and what a program's set is kept
 * as. flow_parse.h reads it again. Internal to libkcm and kcmtool.
 */
#ifndef KCM_FLOW_TEXT_H
#define KCM_FLOW_TEXT_H

#include <stdio.h>
#include "flow_rule.h"

/* What comes before the policies: a line for each list, and the default action. */
void flow_text_head(FILE *f, const struct flow_set *set);

/*
 * A policy, without the end of the line. The same policy is the same text, always: conditions come
 * in one order, numbers and addresses in one form. It begins with "PRIO " or "PRIO name NAME ".
 */
void flow_text_policy(FILE *f, const struct flow_set *set, const struct flow_policy *p);

/**
 * flow_text_read() - text that the two above wrote
 * Lists have names and paths, but no addresses.
 * @why: one line
 * Return: 0 or -errno. Free with flow_set_free() in any case.
 */
int flow_text_read(const char *text, size_t bytes, struct flow_set *set, char *why, size_t size);

#endif
