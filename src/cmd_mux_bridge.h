/* SPDX-License-Identifier: GPL-2.0 */
/* Inside of `mux bridge`: cmd_mux_bridge.c listens, cmd_mux_client.c serves one client. */
#ifndef KCM_CMD_MUX_BRIDGE_H
#define KCM_CMD_MUX_BRIDGE_H

#include "cmd_mux.h"

struct bridge {
	const char *name;
	unsigned int window;
	struct kcm_worker *inherited; /* from `mux run`: there is one, for one client at a time */
	bool stopping;
	bool owner_gone;
	int wake; /* eventfd: owner_gone, or a client left */
	unsigned int clients;
};

/* Serve a client with a worker of its own until either end is gone. Closes both. */
void client_serve(struct bridge *b, int fd, struct kcm_worker *w);

#endif
