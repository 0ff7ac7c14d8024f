// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_tree_pool.c - what trees are made of: nodes, and the lists of their leaves. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "flow_tree_part.h"

static uint32_t hash_of(const uint32_t *id, uint32_t n)
{
	uint32_t h = n;

	for (uint32_t i = 0; i < n; i++) {
		h = (h ^ id[i]) * 0x9e3779b1u;
		h ^= h >> 15;
	}
	return h;
}

static int more_leaves(struct flow_pool *p)
{
	size_t room = p->leaf_room ? p->leaf_room * 2 : 1024;
	struct flow_pool_leaf *leaf;

	if (p->leaves * 2 < p->leaf_room)
		return 0;
	leaf = calloc(room, sizeof(*leaf));
	if (!leaf)
		return -ENOMEM;
	for (size_t i = 0; i < p->leaf_room; i++) {
		size_t at = p->leaf[i].hash & (room - 1);

		if (!p->leaf[i].n)
			continue;
		while (leaf[at].n)
			at = (at + 1) & (room - 1);
		leaf[at] = p->leaf[i];
	}
	free(p->leaf);
	p->leaf = leaf;
	p->leaf_room = room;
	return 0;
}

static int more_ids(struct flow_pool *p, uint32_t n)
{
	size_t room = p->room ? p->room : 4096;
	uint32_t *id;

	while (room < p->n + n)
		room *= 2;
	if (room == p->room)
		return 0;
	if (room > UINT32_MAX)
		return -ENOMEM;
	id = realloc(p->id, room * sizeof(*id));
	if (!id)
		return -ENOMEM;
	p->id = id;
	p->room = room;
	return 0;
}

static bool is_at(const struct flow_pool *p, size_t base, const uint32_t *id, uint32_t n)
{
	return base + n <= p->n && !memcmp(p->id + base, id, n * sizeof(*id));
}

int flow_pool_put(struct flow_pool *p, const uint32_t *id, uint32_t n, uint32_t *base)
{
	uint32_t hash = hash_of(id, n);
	size_t at;

	*base = 0;
	if (!n)
		return 0;
	/* It may be a part of a longer one: leaves have no end of their own. */
	if (p->last[id[0]] && is_at(p, p->last[id[0]] - 1, id, n)) {
		*base = p->last[id[0]] - 1;
		return 0;
	}
	if (more_leaves(p) || more_ids(p, n))
		return -ENOMEM;
	for (at = hash & (p->leaf_room - 1); p->leaf[at].n; at = (at + 1) & (p->leaf_room - 1)) {
		const struct flow_pool_leaf *leaf = &p->leaf[at];

		if (leaf->hash == hash && leaf->n == n && is_at(p, leaf->base, id, n)) {
			*base = leaf->base;
			return 0;
		}
	}
	*base = p->n;
	p->leaf[at] = (struct flow_pool_leaf){ hash, p->n, n };
	p->leaves++;
	memcpy(p->id + p->n, id, n * sizeof(*id));
	for (uint32_t i = 0; i < n; i++)
		p->last[id[i]] = p->n + i + 1;
	p->n += n;
	return 0;
}

void flow_pool_free(struct flow_pool *p)
{
	free(p->id);
	free(p->last);
	free(p->leaf);
	memset(p, 0, sizeof(*p));
}

uint32_t flow_nodes_add(struct flow_nodes *nodes, uint32_t n)
{
	size_t room = nodes->room ? nodes->room : 1024, first = nodes->n ? nodes->n : 1;
	uint64_t *v;

	while (room < first + n)
		room *= 2;
	if (room > UINT32_MAX)
		return 0;
	if (room != nodes->room) {
		v = realloc(nodes->v, room * sizeof(*v));
		if (!v)
			return 0;
		nodes->v = v;
		nodes->room = room;
	}
	if (!nodes->n)
		nodes->v[0] = KCM_FL_N_LEAF;
	for (size_t i = 0; i < n; i++)
		nodes->v[first + i] = KCM_FL_N_LEAF;
	nodes->n = first + n;
	return first;
}
