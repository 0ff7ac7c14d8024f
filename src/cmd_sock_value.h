/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the filter share. */
#ifndef KCM_CMD_SOCK_VALUE_H
#define KCM_CMD_SOCK_VALUE_H

#include "cmd_sock_filter.h"

struct sock_wrong {
	char what[96], why[96], next[96];
};

/* Say in @w what is wrong. Return: -EINVAL. */
int sock_wrong(struct sock_wrong *w, const char *why, const char *next, const char *what, ...)
	_printf_(4, 5);

/* One value of @field. Return: 0, or -EINVAL and @w. */
int sock_value_read(const struct sock_field *field, const char *text, struct sock_value *v,
		    struct sock_wrong *w);

#endif
