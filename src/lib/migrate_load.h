/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * migrate_load.h - the BPF side of migrate: load, attach, find what listens already, remove.
 * Internal to libkcm and kcmtool.
 *
 * Pinned in migrate/NAME: the maps and kcm_mg_select by their names, and a link for each program
 * on the cgroup, link_<program without kcm_mg_>.
 */
#ifndef KCM_MIGRATE_LOAD_H
#define KCM_MIGRATE_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

struct migrate_opts {
	__u16 port;	     /* host order */
	const char *cgroup;  /* as for cgroup_open(); NULL: the root */
	unsigned int policy; /* enum kcm_mg_policy */
	bool manual;	     /* generations only by `generation new` */
	bool reuseport;	     /* set SO_REUSEPORT as servers bind the port */
	bool no_mptcp;	     /* refuse MPTCP sockets in the cgroup */
	bool no_setsockopt;  /* servers say nothing themselves, see kcm_migrate.h */
	bool anchor;	     /* somebody will hold anchors: no listener need be there */
	__u32 anchor_backlog;
	__u32 anchor_time_ms;
	bool udp; /* UDP's port, not TCP's; somebody will keep it: no socket need be there */
	bool quic;
	__u32 flows_max;
	__u32 flow_timeout_ms;
};

/* What an attach found. */
struct migrate_found {
	unsigned int listeners; /* registered, that were there before */
	unsigned int groups;
	unsigned int selectors; /* groups that have the selector now */
	unsigned int refused;	/* listeners that could not be registered */
	bool was_there;		/* the instance: it was looked through again */
	int selector_err;	/* why a group has none: -errno; -EPERM: no ptrace right */
};

/**
 * kcm_migrate_attach() - begin to steer a port
 * Over an instance of the same port: whoever is not registered yet is, groups that have lost their
 * selector get it again, the rest stays as it is.
 * @err: one line
 * Return: 0; -EEXIST @name is there for another port; -EADDRINUSE another instance has the port in
 * this cgroup; -ESRCH nobody listens, and neither @anchor nor @reuseport is asked for; -ESTALE
 * another version's instance is there; or -errno. On failure nothing is left.
 */
int kcm_migrate_attach(const char *name, const struct migrate_opts *o, struct migrate_found *f,
		       char *err, size_t size);

/* Do the programs load here? Nothing is kept. Return: 0, or -errno and one line in @err. */
int kcm_migrate_trial(char *err, size_t size);

/**
 * kcm_migrate_detach() - give all groups back to the kernel's hash, and unpin
 * @note: one line about a group whose selector could not be taken away, or ""
 * Return: 0 or -errno; -ENOENT: it is not there.
 */
int kcm_migrate_detach(const char *name, char *note, size_t size);

/*
 * For an instance pinned in @dir. migrate_owners() notes in kcm_mg_seed who has which listener, of
 * all processes; migrate_adopt() does, and registers those that are not yet, in all network
 * namespaces. migrate_dup_slot() looks there, until migrate_forget_owners(). Return: 0 or -errno.
 */
int migrate_owners(const char *dir);
int migrate_adopt(const char *dir);
void migrate_forget_owners(const char *dir);

/* The selector of instance @v onto the groups that have none. For attach and keepers. */
struct mg_view;
void migrate_select_all(struct mg_view *v, struct migrate_found *f);

/* A descriptor of process @pid's socket with this cookie. Return: it, or -errno. */
int migrate_dup(__u32 pid, __u64 cookie);
/* The same of a registered listener, whoever has it by now. */
struct kcm_mg_slot;
int migrate_dup_slot(const struct mg_view *v, const struct kcm_mg_slot *slot);

#endif
