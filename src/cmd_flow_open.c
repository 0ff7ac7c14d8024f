// SPDX-License-Identifier: GPL-2.0
/* Instances of flow, opened; and what to do if they can't be. */
#include <errno.h>
#include "cmd_flow.h"
#include "lib/flow_edit.h"
#include "lib/flow_resolve.h"

int flow_failed(const char *what, const char *ifname, int err, const char *why)
{
	switch (err) {
	case -ENOENT:
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .where = ifname,
				      .next = "kcmtool flow show; kcmtool flow load IFACE"),
			      "%s: flow is not loaded there", what);
	case -ESTALE:
	case -ENODATA:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = ifname,
				      .why = "another version of kcmtool loaded it",
				      .next = "that kcmtool, or unload and load anew"),
			      "%s", what);
	case -EBUSY:
		return report(
			PROBLEM(.code = KCM_EXIT_FAILED, .where = ifname,
				.why = *why ? why : "another process holds the lock",
				.next = *why ? "ip link set dev IFACE xdp off, or its own tool"
					     : "again when it is done; lslocks names it"),
			"%s", what);
	case -ENODEV:
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = ifname, .why = why,
				      .next = "kcmtool flow show IFACE"),
			      "%s", what);
	case -ENOSPC:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = ifname, .why = why,
				      .next = "kcmtool flow load IFACE --policies N"),
			      "%s", what);
	}
	return report(PROBLEM(.code = log_exit_code(err), .where = ifname,
			      .why = *why ? why : log_errno(err), .next = "kcmtool doctor"),
		      "%s", what);
}

int flow_open(struct flow_inst *f, const char *ifname, enum flow_open how)
{
	int err = flow_inst_open(f, ifname, how);

	if (err == -ENOENT && !if_nametoindex(ifname))
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .where = ifname,
				      .why = "there is no such interface", .next = "ip link"),
			      "cannot open it");
	return err ? flow_failed("cannot open it", ifname, err, "") : 0;
}

int flow_set_open(const struct flow_inst *f, const char *ifname, struct flow_set *set)
{
	char why[256] = "";
	int err = flow_set_of(f, set, why, sizeof(why));

	return err ? flow_failed("cannot read the policies in force", ifname, err, why) : 0;
}

int flow_set_resolve(struct flow_set *set, const char *file)
{
	char why[128] = "", where[300];
	size_t bad;

	if (!flow_resolve(set, NULL, &bad, why, sizeof(why)))
		return 0;
	if (file)
		snprintf(where, sizeof(where), "%s:%u", file, set->policy[bad].line);
	else
		snprintf(where, sizeof(where), "policy %u", set->policy[bad].prio);
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = where, .why = why,
			      .next = "ip link; lscpu"),
		      "this policy can't be had here");
}
