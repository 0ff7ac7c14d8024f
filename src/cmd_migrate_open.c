// SPDX-License-Identifier: GPL-2.0
/* Instances of migrate, opened; and what to do if they can't be. */
#include <arpa/inet.h>
#include <errno.h>
#include "cmd_migrate.h"

int migrate_open(struct mg_view *v, const char *name, bool write)
{
	int err = mg_view_open(v, name, write);

	switch (err) {
	case 0:
		return 0;
	case -ENOENT:
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED,
				      .next = "kcmtool migrate show; kcmtool migrate attach"),
			      "'%s' is not attached", name);
	case -EINVAL:
	case -ENAMETOOLONG:
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = "kcmtool migrate show"),
			      "'%s' is no name of an instance", name);
	case -ESTALE:
	case -ENODATA:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = name,
				      .why = "another version of kcmtool attached it",
				      .next = "that kcmtool, or detach and attach anew"),
			      "cannot open it");
	case -EPERM:
	case -EACCES:
		return report(PROBLEM(.code = KCM_EXIT_PRIVILEGE, .where = name, .err = err,
				      .next = "the same with sudo; kcmtool doctor"),
			      "cannot open it");
	default:
		return report(PROBLEM(.where = name, .err = err, .next = "kcmtool doctor"),
			      "cannot open it");
	}
}

bool migrate_group_used(const struct kcm_mg *mg, int group)
{
	return mg->group[group].flags & KCM_MG_GROUP_USED;
}

const char *migrate_addr(const struct kcm_mg *mg, int group, char *text)
{
	const struct kcm_mg_group *g = &mg->group[group];
	char addr[INET6_ADDRSTRLEN], dev[24] = "";

	if (g->ifindex)
		snprintf(dev, sizeof(dev), " dev %u", g->ifindex);
	inet_ntop(g->family, g->addr, addr, sizeof(addr));
	snprintf(text, MIGRATE_ADDR, g->family == AF_INET ? "%s:%u%s%s" : "[%s]:%u%s%s", addr,
		 mg->ctl.port, g->v6only ? " v6only" : "", dev);
	return text;
}
