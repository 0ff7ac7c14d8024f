/* SPDX-License-Identifier: GPL-2.0 */
/* The screen of sock top: cmd_sock_screen.c has keys and terminal, cmd_sock_draw.c what is seen. */
#ifndef KCM_CMD_SOCK_SCREEN_H
#define KCM_CMD_SOCK_SCREEN_H

#include "cmd_sock_top.h"

#define TOP_HEAD 4 /* lines above the rows */

struct top_view {
	struct top *t;
	bool paused, help, editing;
	size_t first; /* row at the top */
	char edit[256];
	char said[256]; /* an error, until the next key */
};

struct top_key {
	int key;
	const char *sort;
	const char *help;
};

extern const struct top_key top_keys[]; /* ends with an empty entry */

void top_draw(struct top_view *sc);

#endif
