/* SPDX-License-Identifier: GPL-2.0 */
/* cmd_migrate_show.h - between cmd_migrate_show.c and cmd_migrate_udp.c. */
#ifndef KCM_CMD_MIGRATE_SHOW_H
#define KCM_CMD_MIGRATE_SHOW_H

#include "cmd_migrate.h"
#include "lib/listener.h"

struct migrate_show {
	const struct kcm_mg *mg;
	const struct mg_view *v;
	struct out *o;
	struct kcm_listener *l; /* what the kernel says of the port's listeners now */
	size_t n;
	uint64_t now_ns;
	bool listeners, flows; /* each of them, too */
};

/* The listener with that cookie, or NULL. */
const struct kcm_listener *migrate_live(const struct migrate_show *s, __u64 cookie);
/* The row of a group, of a generation, up to how many listeners: what TCP and UDP have alike. */
void migrate_put_group(const struct migrate_show *s, int i);
void migrate_put_generation(const struct migrate_show *s, int i, int gi);
/* What there is of an instance of UDP. Return: 0, or the exit code after an error line. */
int migrate_show_udp(struct migrate_show *s, const char *name);

#endif
