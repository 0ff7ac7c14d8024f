// SPDX-License-Identifier: GPL-2.0
/* Sockets one by one, or all of them in order. */
#include <bpf/bpf.h>
#include <errno.h>
#include "cmd_sock_list.h"
#include "lib/sock_iter.h"

struct each {
	const struct sock_view *v;
	const struct sock_filter *f;
	unsigned int which;
	sock_fn fn;
	void *arg;
};

static enum sock_which kind_of(const struct kcm_sock *s)
{
	if (s->role == KCM_ROLE_LISTENER || s->state == KCM_SK_LISTEN)
		return SOCK_LISTENERS;
	return s->state == KCM_SK_NEW ? SOCK_FRESH : SOCK_CONNS;
}

/* @s is ours, to be completed. */
static int one(const struct each *e, struct kcm_sock *s)
{
	const struct sock_mux *m;

	if (!(kind_of(s) & e->which))
		return 0;
	if (s->proto == KCM_SK_UDP) { /* a datagram is a message */
		s->rx_msgs = s->rx_segs;
		s->tx_msgs = s->tx_segs;
	}
	m = sock_mux_of(s->cookie);
	if (m && !s->frame)
		s->rx_msgs = m->msgs;
	return sock_filter_match(e->f, s) ? e->fn(s, e->arg) : 0;
}

/* The snapshot has the sockets in slots too: those were shown. */
static int rest(const struct kcm_sock *s, void *arg)
{
	const struct each *e = arg;
	struct kcm_sock copy = *s;

	if (s->slot != KCM_SK_SLOT_NONE ||
	    sock_view_find(e->v, s->cookie) != KCM_SK_SLOT_NONE) /* it was given one meanwhile */
		return 0;
	return one(e, &copy);
}

/* Did a sweep leave connections in sk_storage? */
static bool swept_beyond(void)
{
	_cleanup_fd_ int fd = bpf_obj_get(SOCK_PIN_DIR "/kcm_sk_sweep");
	struct kcm_sk_sweep sweep;
	__u32 zero = 0;

	return fd >= 0 && !bpf_map_lookup_elem(fd, &zero, &sweep) && sweep.unslotted;
}

int sock_each(const struct sock_view *v, const struct sock_filter *f, unsigned int which,
	      sock_fn fn, void *arg)
{
	struct each e = { v, f, which, fn, arg };
	struct kcm_sock s;
	int ret;

	for (__u32 slot = 0; slot < v->ctl->cfg.slots; slot++) {
		if (!v->hot[slot].tag || !sock_view_read(v, slot, &s))
			continue;
		ret = one(&e, &s);
		if (ret)
			return ret;
	}
	if (which == SOCK_CONNS && !v->ctl->beyond && !swept_beyond())
		return 0;
	return sock_iter_snapshot(SOCK_PIN_DIR, rest, &e);
}

unsigned int sock_which(const struct sock_filter *f)
{
	unsigned int which = SOCK_CONNS;

	for (unsigned int t = 0; t < f->n; t++) {
		const struct sock_term *term = &f->term[t];

		for (unsigned int i = 0; i < term->n; i++) {
			uint64_t num = term->value[i].num;

			if (term->field->id == SOCK_F_ROLE && num == KCM_ROLE_LISTENER)
				which |= SOCK_LISTENERS;
			if (term->field->id == SOCK_F_STATE && num == KCM_SK_LISTEN)
				which |= SOCK_LISTENERS;
			if (term->field->id == SOCK_F_STATE && num == KCM_SK_NEW)
				which |= SOCK_FRESH;
			if (term->field->id == SOCK_F_COOKIE)
				which = SOCK_ALL;
		}
	}
	return which;
}

static int append(const struct kcm_sock *s, void *arg)
{
	struct sock_list *l = arg;

	if (l->n == l->size) {
		size_t size = l->size ? 2 * l->size : 256;
		struct kcm_sock *bigger = reallocarray(l->sock, size, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		l->sock = bigger;
		l->size = size;
	}
	l->sock[l->n++] = *s;
	return 0;
}

int sock_list_take(struct sock_list *l, const struct sock_view *v, const struct sock_filter *f,
		   unsigned int which)
{
	l->n = 0;
	return sock_each(v, f, which, append, l);
}

void sock_list_free(struct sock_list *l)
{
	free(l->sock);
	*l = (struct sock_list){ 0 };
}

/* ---- order ---- */

int sock_sort_parse(struct sock_sort *s, const char *text)
{
	size_t n = text ? strcspn(text, ":") : 0;
	const char *way = text && text[n] ? text + n + 1 : NULL;

	*s = (struct sock_sort){ 0 };
	if (!text)
		return 0;
	s->field = sock_field_find(text, n);
	if (!s->field)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "sort",
				      .why = "no such field", .next = "kcmtool sock fields"),
			      "bad value '%s'", text);
	s->descending = s->field->kind <= SOCK_KIND_TIME && s->field->id != SOCK_F_COOKIE &&
			s->field->id != SOCK_F_PID && s->field->id != SOCK_F_UID;
	if (way && !streq(way, "asc") && !streq(way, "desc"))
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "sort",
				      .why = "behind the colon is asc or desc",
				      .next = "--sort rtt:desc"),
			      "bad value '%s'", text);
	if (way)
		s->descending = streq(way, "desc");
	return 0;
}

struct order {
	const struct sock_sort *sort;
	uint64_t now_ns;
};

static int by_field(const void *a, const void *b, void *arg)
{
	const struct kcm_sock *x = *(struct kcm_sock *const *)a, *y = *(struct kcm_sock *const *)b;
	const struct order *o = arg;
	int cmp = sock_field_cmp(o->sort->field, x, y, o->now_ns);

	if (cmp)
		return o->sort->descending ? -cmp : cmp;
	return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

void sock_list_sort(struct sock_list *l, const struct sock_sort *s, uint64_t now_ns)
{
	_cleanup_free_ struct kcm_sock **at = calloc(l->n, sizeof(*at));
	struct kcm_sock *sorted = calloc(l->n, sizeof(*sorted));
	struct order order = { s, now_ns };

	if (!s->field || !l->n || !at || !sorted) {
		free(sorted);
		return;
	}
	for (size_t i = 0; i < l->n; i++)
		at[i] = &l->sock[i];
	qsort_r(at, l->n, sizeof(*at), by_field, &order);
	for (size_t i = 0; i < l->n; i++)
		sorted[i] = *at[i];
	free(l->sock);
	l->sock = sorted;
	l->size = l->n;
}
