// SPDX-License-Identifier: GPL-2.0
/* Connections that are in a mux, by their cookies. */
#include "cmd_sock_list.h"
#include "lib/mux_file.h"
#include "lib/pin.h"
#include "lib/queue.h"
#include "lib/view.h"

static struct {
	struct sock_mux *entry; /* open addressing, a power of two of them */
	size_t size, used;
	char *names[64];
	size_t n_names;
} found;

static struct sock_mux *slot_of(uint64_t cookie)
{
	size_t i = (size_t)((cookie * 0x9e3779b97f4a7c15ULL) >> 32) & (found.size - 1);

	while (found.entry[i].cookie && found.entry[i].cookie != cookie)
		i = (i + 1) & (found.size - 1);
	return &found.entry[i];
}

static bool grow(size_t more)
{
	struct sock_mux *old = found.entry;
	size_t old_size = found.size, size = old_size ? old_size : 64;

	while (size < 2 * (found.used + more))
		size *= 2;
	if (size == old_size)
		return true;
	found.entry = calloc(size, sizeof(*found.entry));
	if (!found.entry) {
		found.entry = old;
		return false;
	}
	found.size = size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].cookie)
			*slot_of(old[i].cookie) = old[i];
	free(old);
	return true;
}

static void take(const struct view *v, const char *name)
{
	for (uint32_t i = 0; i < v->cfg.n_conns; i++) {
		const struct kcm_conn *c = &v->conns[i];
		struct sock_mux *m;

		if (LOAD(&c->state) == KCM_CONN_FREE || !c->cookie)
			continue;
		if (!grow(1))
			return;
		m = slot_of(c->cookie);
		found.used += !m->cookie;
		*m = (struct sock_mux){ c->cookie, c->msgs, c->bytes, name };
	}
}

static int scan_one(const char *name, void *arg)
{
	int fds[VIEW_MAPS];
	struct view v = { 0 };

	(void)arg;
	if (found.n_names == ARRAY_LEN(found.names) || mux_open_maps(name, fds, VIEW_CONF))
		return 0; /* of another version, or just removed: its connections have no mux */
	if (!view_map(&v, fds, VIEW_MAPS)) {
		found.names[found.n_names] = strdup(name);
		if (found.names[found.n_names])
			take(&v, found.names[found.n_names++]);
		view_unmap(&v);
	}
	mux_close_maps(fds);
	return 0;
}

void sock_mux_scan(void)
{
	while (found.n_names)
		free(found.names[--found.n_names]);
	free(found.entry);
	found.entry = NULL;
	found.size = 0;
	found.used = 0;
	kcm_pin_each("mux", scan_one, NULL);
}

const struct sock_mux *sock_mux_of(uint64_t cookie)
{
	const struct sock_mux *m = found.used ? slot_of(cookie) : NULL;

	return m && m->cookie ? m : NULL;
}
