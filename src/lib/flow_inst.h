/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_inst.h - an instance of flow: up to KCM_FL_IFS interfaces that are judged by one set of
 * policies. Internal to libkcm and kcmtool.
 *
 * Pinned in flow/NAME: a link for each interface, link_<interface>, and the maps that programs have
 * in common, by their names. The links are what counts: behind a link is the program in force, and
 * behind that are its maps. So whoever is killed anywhere leaves one set or the other in force.
 *
 * All functions return 0 or -errno, and print nothing.
 */
#ifndef KCM_FLOW_INST_H
#define KCM_FLOW_INST_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
#include <net/if.h>
#include "../../bpf/flow.h"
#include "pin.h"

#define FLOW_SYSTEM "flow"
#define FLOW_LINK   "link_"

/* Maps of a program. Up to FLOW_SHARED they are the instance's. */
enum flow_map {
	FLOW_H4,
	FLOW_E4,
	FLOW_H6,
	FLOW_E6,
	FLOW_POL,
	FLOW_CNT,
	FLOW_STAT,
	FLOW_LIM,
	FLOW_FLIM,
	FLOW_RING,
	FLOW_BUN,
	FLOW_CPUS,
	FLOW_SHARED,
	FLOW_NODE = FLOW_SHARED,
	FLOW_R4,
	FLOW_R6,
	FLOW_IV4,
	FLOW_IV6,
	FLOW_SRC,
	FLOW_IDX,
	FLOW_RODATA,
	FLOW_MAPS,
};

extern const char *const flow_map_name[FLOW_MAPS];

struct flow_link {
	char ifname[IF_NAMESIZE];
	__u32 ifindex; /* 0: the interface is gone */
	__u32 prog_id;
	int fd;
};

struct flow_inst {
	char name[KCM_PIN_NAME];
	char dir[KCM_PIN_PATH];
	int lock_fd; /* -1: none is held by us */
	bool writes;
	struct flow_link link[KCM_FL_IFS];
	__u32 links;

	/* Of the program in force, from here to the end. */
	int prog_fd;
	int map_fd[FLOW_MAPS];
	struct kcm_fl_conf conf;
	struct kcm_fl_line *line; /* conf.policies of them */
	char *text;		  /* conf.text_bytes, no end */

	/* Memory that all programs share. */
	struct kcm_fl_pol *pol;	     /* conf.slots */
	struct kcm_fl_count *cnt;    /* cpus * conf.slots */
	struct kcm_fl_stat *stat;    /* cpus */
	struct kcm_fl_head *h4, *h6; /* from here on: see flow_inst_cache() */
	struct kcm_fl_ent4 *e4;
	struct kcm_fl_ent6 *e6;
	__u32 cpus; /* possible ones */
};

#define FLOW_INST_NONE                       \
	{                                    \
		.lock_fd = -1, .prog_fd = -1 \
	}
#define _cleanup_flow_ _cleanup_(flow_inst_close)

/*
 * What an instance and its links are called by names of interfaces: what pins can't have in their
 * names is written otherwise. Other network namespaces than init's come first in the name.
 */
int flow_pin_name(char *name, size_t size, const char *ifname);
int flow_link_name(char *name, size_t size, const char *ifname);
/* And back. @ifname has IF_NAMESIZE bytes. */
int flow_link_ifname(char *ifname, const char *link_name);
/* The inode of our network namespace. */
__u32 flow_netns(void);

/**
 * flow_inst_find() - the name of the instance that an interface belongs to
 * Return: 0, or -ENOENT.
 */
int flow_inst_find(const char *ifname, char *name, size_t size);

enum flow_open {
	FLOW_READ,
	FLOW_WRITE,  /* waits for whoever changes it, finishes what somebody who was killed began */
	FLOW_LOCKED, /* the same, and the caller has the lock */
};

/**
 * flow_inst_open() - the instance of an interface
 * Return: 0; -ENOENT it is not there; -ESTALE another version's; or -errno. Close in any case.
 */
int flow_inst_open(struct flow_inst *f, const char *ifname, enum flow_open how);
int flow_inst_open_name(struct flow_inst *f, const char *name, enum flow_open how);
void flow_inst_close(struct flow_inst *f);

/*
 * Map the cache, or what there is in it now: entries of a family that has none stay NULL. It is
 * most of an instance's memory, and who changes policies need not wait for its page tables.
 */
int flow_inst_cache(struct flow_inst *f);

/*
 * Keep the policies of an instance that was opened to be read as they are now, whatever somebody
 * changes. Return: 0; -EAGAIN: somebody has just changed them, open it again; or -errno.
 */
int flow_inst_hold(struct flow_inst *f);

/* The program in force and its maps, anew: after another one was put in its place. */
int flow_inst_program(struct flow_inst *f, int prog_fd);

/* Has the policy at this place not been taken out? */
static inline bool flow_line_lives(const struct flow_inst *f, __u32 at)
{
	const struct kcm_fl_line *l = &f->line[at];

	return l->slot < f->conf.slots &&
	       __atomic_load_n(&f->pol[l->slot].gen, __ATOMIC_RELAXED) == l->gen;
}

/* All packets and bytes of a slot, and of a policy: what it counted before, too. */
struct kcm_fl_count flow_slot_count(const struct flow_inst *f, __u32 slot);
struct kcm_fl_count flow_line_count(const struct flow_inst *f, __u32 at);

/* No program that began before the call runs any more, on any CPU. */
int flow_grace(void);

/* jiffies64, as programs see them. */
int flow_now(__u64 *jiffies);

#endif
