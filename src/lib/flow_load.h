/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_load.h - instances of flow: made, made anew, removed. Internal to libkcm and kcmtool. */
#ifndef KCM_FLOW_LOAD_H
#define KCM_FLOW_LOAD_H

#include "flow_inst.h"
#include "flow_rule.h"

#define FLOW_CACHE_ENTRIES 32768 /* of a CPU and a family */
#define FLOW_POLICIES	   16384
#define FLOW_IDLE_S	   300
#define FLOW_CLOSED_S	   10

enum flow_mode { FLOW_AUTO, FLOW_NATIVE, FLOW_GENERIC };

struct flow_load_opts {
	const char *const *ifname;
	__u32 n_if;
	enum flow_mode mode;
	__u32 cache_entries; /* rounded up to a power of two; 0: no cache */
	__u32 policies;	     /* that there is room for, with those that a change replaces */
	__u32 idle_s, closed_s;
	bool no_bypass;	      /* use the cache even where it costs more than it brings */
	struct flow_set *set; /* NULL: none but the default, pass; or what is in force */
};

struct flow_loaded {
	char name[KCM_PIN_NAME];
	bool was_there;
	bool anew; /* with maps of its own: flows are not known any more, counters of policies are
		    */
	bool frags;
	bool native[KCM_FL_IFS];
	char note[256]; /* why an interface is not in native mode, or "" */
};

/**
 * kcm_flow_load() - judge what comes in by these interfaces
 * Over an instance of the same interfaces: the program is replaced, no packet is missed, and
 * counters go on. @why: one line.
 * Return: 0; -EBUSY another XDP program is there; -ENODEV no such interface; -EXDEV an interface is
 * another instance's, or the instance has others; -EOPNOTSUPP not in this mode; or -errno. On
 * failure nothing is left, or what was there.
 */
int kcm_flow_load(const struct flow_load_opts *o, struct flow_loaded *done, char *why, size_t size);

/* Remove one by its name. Return: 0 or -errno; -ENOENT: it is not there. */
int kcm_flow_unload(const char *name);

/* Does the program load here? Nothing is kept. Return: 0, or -errno and one line in @why. */
int kcm_flow_trial(char *why, size_t size);

#endif
