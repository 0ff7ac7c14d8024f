// SPDX-License-Identifier: GPL-2.0
/* The list of systems. A new one: its files, and a line here. */
#include "system.h"
#include "util.h"

extern const struct kcm_system flow_system;
extern const struct kcm_system migrate_system;
extern const struct kcm_system mux_system;
extern const struct kcm_system rx_system;
extern const struct kcm_system sock_system;

const struct kcm_system *const kcm_systems[] = {
	&mux_system, &sock_system, &migrate_system, &flow_system, &rx_system, NULL,
};

_Static_assert(ARRAY_LEN(kcm_systems) <= KCM_SYSTEMS_MAX, "raise KCM_SYSTEMS_MAX");

const struct kcm_system *kcm_system_find(const char *name)
{
	for (const struct kcm_system *const *s = kcm_systems; *s; s++)
		if (streq((*s)->name, name))
			return *s;
	return NULL;
}
