// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_unload.c - leave everything as it was before sock was loaded. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "pin.h"
#include "sock_attach.h"
#include "sock_iter.h"
#include "sock_load.h"
#include "sock_optmem.h"
#include "sock_sweep.h"
#include "sock_view.h"

/* Limits would stay for as long as the connections live. */
static int take_limits_away(void)
{
	struct sock_view v;
	bool used;
	int err = sock_view_open(&v, true);

	if (err)
		return err == -ESTALE || err == -ENODATA ? 0 : err;
	for (int i = 0; i < KCM_SK_RULES; i++)
		__atomic_store_n(&v.rules[i].used, 0, __ATOMIC_SEQ_CST);
	used = v.ctl->rules || v.ctl->limit_paced;
	v.ctl->rules = 0;
	sock_view_close(&v);
	return used ? kcm_sock_each_netns(SOCK_ITER_UNLIMIT) : 0;
}

int kcm_sock_unload(char *note, size_t size)
{
	char path[KCM_PIN_PATH];
	struct sock_links *links;
	int err = kcm_pin_path(path, sizeof(path), "sock", SOCK_INSTANCE, NULL);

	*note = '\0';
	if (err)
		return err;
	if (access(path, F_OK)) {
		kcm_pin_tidy(); /* what a killed process left */
		return -ENOENT;
	}
	links = sock_links_new();
	if (!links)
		return -ENOMEM;
	err = sock_optmem_restore();
	if (err)
		snprintf(note, size, SOCK_OPTMEM " stays raised: %s", strerror(-err));
	err = take_limits_away();
	if (err)
		snprintf(note, size, "limits of some connections stay: %s", strerror(-err));
	sock_links_open(links, path); /* what can't be opened is detached by its removal, later */
	err = kcm_pin_remove("sock", SOCK_INSTANCE);
	if (!err)
		sock_links_detach(links);
	sock_links_free(links);
	return err;
}

int kcm_sock_cgroups(struct sock_cgroup *list, size_t n)
{
	char path[KCM_PIN_PATH];
	int err = kcm_pin_path(path, sizeof(path), "sock", SOCK_INSTANCE, NULL);

	return err ? err : sock_links_cgroups(path, list, n);
}
