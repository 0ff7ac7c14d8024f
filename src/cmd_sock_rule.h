/* SPDX-License-Identifier: GPL-2.0 */
/* Rules of `sock limit`: from conditions, to text, and applied. */
#ifndef KCM_CMD_SOCK_RULE_H
#define KCM_CMD_SOCK_RULE_H

#include "cmd_sock_filter.h"
#include "lib/sock_view.h"

/**
 * sock_rule_from() - what of a rule says which sockets
 * The programs compare when a connection is established, so a condition must be what a socket is
 * then and stays: not "idle > 30s".
 * Return: 0, or the exit code after an error line.
 */
int sock_rule_from(struct kcm_sk_rule *rule, const struct sock_filter *f);

/* Are they for the same sockets? */
bool sock_rule_same(const struct kcm_sk_rule *a, const struct kcm_sk_rule *b);

/* "port 80 peer 10.0.0.0/8" */
#define SOCK_RULE_TEXT 512
void sock_rule_text(const struct kcm_sk_rule *rule, char text[SOCK_RULE_TEXT]);

/**
 * sock_rules_apply() - bring live sockets under the rules of now
 * Return: 0, or -errno and one line in @err, or "".
 */
int sock_rules_apply(const struct sock_view *v, char *err, size_t size);

#endif
