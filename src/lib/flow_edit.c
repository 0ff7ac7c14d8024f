// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_edit.c - one set of policies in the place of another. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "../util.h"
#include "flow_edit.h"
#include "flow_plan.h"
#include "flow_resolve.h"
#include "flow_text.h"
#include "flow.skel.h"

struct edit {
	struct flow_inst *f;
	struct flow_plan plan;
	bool *old_kept; /* of f->line */
	char *why;
	size_t why_size;
};

_printf_(3, 4) static int fail(struct edit *e, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->why, e->why_size, fmt, ap);
	va_end(ap);
	return ret;
}

/* ---- slots ---- */

static void kill_slot(struct flow_inst *f, __u32 slot, __u64 gen)
{
	__atomic_store_n(&f->pol[slot].gen, gen + 1, __ATOMIC_RELEASE);
}

int flow_fill_slot(struct flow_inst *f, const struct kcm_fl_line *l, const struct flow_policy *p)
{
	struct kcm_fl_pol *pol = &f->pol[l->slot];
	__u64 zero = 0;

	for (__u32 cpu = 0; cpu < f->cpus; cpu++)
		memset(&f->cnt[(size_t)cpu * f->conf.slots + l->slot], 0, sizeof(*f->cnt));
	/* A system call for each of 100,000 policies would be most of the time. */
	if (p->action == FLOW_LIMIT &&
	    bpf_map_update_elem(f->map_fd[FLOW_LIM], &l->slot, &zero, BPF_ANY))
		return -errno;
	flow_pol_fill(pol, p);
	__atomic_store_n(&pol->gen, l->gen, __ATOMIC_RELEASE);
	return 0;
}

static int fill_slots(struct edit *e)
{
	for (size_t i = 0; i < e->plan.set->n; i++) {
		int err = e->plan.kept[i]
				  ? 0
				  : flow_fill_slot(e->f, &e->plan.line[i], &e->plan.set->policy[i]);

		if (err)
			return fail(e, err, "slot %u: %s", e->plan.line[i].slot, strerror(-err));
	}
	return 0;
}

/* Those that were filled for a program that did not come. */
static void empty_slots(struct edit *e)
{
	for (size_t i = 0; e->plan.line && e->plan.kept && i < e->plan.set->n; i++) {
		const struct kcm_fl_line *l = &e->plan.line[i];

		if (!e->plan.kept[i] && l->slot && e->f->pol[l->slot].gen == l->gen)
			kill_slot(e->f, l->slot, l->gen);
	}
}

static void kill_old_slots(struct edit *e)
{
	for (__u32 i = 0; i < e->f->conf.policies; i++)
		if (!e->old_kept[i] && flow_line_lives(e->f, i))
			kill_slot(e->f, e->f->line[i].slot, e->f->line[i].gen);
}

/* ---- links ---- */

static int put_in_force(struct flow_inst *f, int prog_fd)
{
	bool any = false;

	for (__u32 i = 0; i < f->links; i++) {
		/* An interface that is gone has no packets. */
		if (!f->link[i].ifindex)
			continue;
		if (!bpf_link_update(f->link[i].fd, prog_fd, NULL))
			any = true;
		else if (errno != ENOLINK)
			return -errno;
	}
	return any ? 0 : -ENODEV;
}

/* The new program everywhere, and no other one under way. On failure, the old one is so. */
static int change_links(struct edit *e, struct flow_inst *new, bool *clean)
{
	int err;

	/* Before it judges a packet, so that no other program ever has its genid. */
	__atomic_store_n(&e->f->pol[KCM_FL_SLOT_PASS].genid, new->conf.genid, __ATOMIC_RELEASE);
	err = put_in_force(e->f, new->prog_fd);
	if (err == -ENODEV)
		return fail(e, err, "all interfaces that it was loaded for are gone");
	if (err)
		fail(e, err, "bpf_link_update: %s", strerror(-err));
	else if ((err = flow_grace()))
		fail(e, err, "waiting for programs that run: %s", strerror(-err));
	if (err)
		*clean = !put_in_force(e->f, e->f->prog_fd) && !flow_grace();
	return err;
}

/* What they have counted, who take over from others. These count no more. */
static void carry_counters(struct edit *e, const struct kcm_fl_count *had)
{
	for (size_t i = 0; i < e->plan.set->n; i++) {
		__s32 was = e->plan.was[i];

		if (e->plan.kept[i] || was < 0)
			continue;
		e->f->line[i].packets = had[was].packets;
		e->f->line[i].bytes = had[was].bytes;
	}
}

/* The program of @f and its memory are the last members. Those of @new take their place. */
static void exchange_programs(struct flow_inst *f, struct flow_inst *new)
{
	size_t at = offsetof(struct flow_inst, prog_fd), bytes = sizeof(*f) - at;
	struct flow_inst was = *f;

	memcpy((char *)f + at, (char *)new + at, bytes);
	memcpy((char *)new + at, (char *)&was + at, bytes);
}

/*
 * All that may fail comes before the new program is in force.
 * @clean: on failure, does no packet meet the new program any more?
 */
static int swap(struct edit *e, struct flow *skel, bool *clean)
{
	_cleanup_free_ struct kcm_fl_count *had = calloc(e->f->conf.policies + 1, sizeof(*had));
	struct flow_inst new = FLOW_INST_NONE;
	int prog_fd = dup(bpf_program__fd(skel->progs.kcm_fl_xdp)), err;

	new.writes = true;
	if (prog_fd < 0 || !had) {
		err = fail(e, -ENOMEM, "no memory, or no descriptor");
		goto out;
	}
	err = flow_inst_program(&new, prog_fd);
	prog_fd = -1;
	if (err) {
		fail(e, err, "maps of the new program: %s", strerror(-err));
		goto out;
	}
	err = change_links(e, &new, clean);
	if (err)
		goto out;
	for (__u32 i = 0; i < e->f->conf.policies; i++)
		if (!e->old_kept[i])
			had[i] = flow_line_count(e->f, i);
	kill_old_slots(e);
	exchange_programs(e->f, &new);
	carry_counters(e, had);
out:
	flow_inst_close(&new);
	if (prog_fd >= 0)
		close(prog_fd);
	return err;
}

/* ---- a whole set ---- */

static int plan(struct edit *e)
{
	int err = flow_plan_text(&e->plan);

	/* With a number that was given before, verdicts of long ago would be true again. */
	if (e->f->conf.genid == UINT32_MAX || e->f->pol[KCM_FL_SLOT_PASS].genid == UINT32_MAX)
		return fail(e, -EOVERFLOW,
			    "it was changed 2^32 times, and can't be again: unload it, and load");
	e->old_kept = calloc(e->f->conf.policies + 1, sizeof(*e->old_kept));
	if (err || !e->old_kept)
		return fail(e, -ENOMEM, "no memory for %zu policies", e->plan.set->n);
	err = flow_plan_match(&e->plan, e->f, e->old_kept);
	if (err)
		return fail(e, err, "no memory for %zu policies", e->plan.set->n);
	err = flow_plan_slots(&e->plan, e->f);
	if (err == -ENOSPC)
		return fail(e, err, "%zu policies, and room for %u with those they replace",
			    e->plan.set->n, e->f->conf.slots - KCM_FL_SLOT_FIRST);
	if (err)
		return fail(e, err, "%s", strerror(-err));
	flow_plan_changes(&e->plan, e->f, e->old_kept);
	return 0;
}

static int replace(struct edit *e, struct flow_done *done)
{
	struct flow *skel = NULL;
	bool clean = true;
	int err = plan(e);

	err = err ?: flow_prog_load(&e->plan, e->f, &skel, e->why, e->why_size);
	if (err)
		return err;
	for (size_t i = 0; i < e->plan.set->n; i++)
		done->kept += e->plan.kept[i];
	done->put_in = (__u32)e->plan.set->n - done->kept;
	for (__u32 i = 0; i < e->f->conf.policies; i++)
		done->taken_out += flow_line_lives(e->f, i) && !e->old_kept[i];
	err = fill_slots(e);
	err = err ?: swap(e, skel, &clean);
	/* Else flow_finish() does it, once nobody meets them. */
	if (err && clean)
		empty_slots(e);
	flow__destroy(skel);
	return err;
}

int flow_replace_count(struct flow_inst *f, struct flow_set *set, bool lists_kept,
		       struct flow_done *done, char *why, size_t size)
{
	struct edit e = { .f = f, .why = why, .why_size = size };
	int err;

	e.plan.set = set;
	e.plan.conf = f->conf;
	e.plan.lists_kept = lists_kept;
	*done = (struct flow_done){ 0 };
	err = replace(&e, done);
	flow_plan_free(&e.plan);
	free(e.old_kept);
	return err;
}

int flow_replace(struct flow_inst *f, struct flow_set *set, bool lists_kept, char *why, size_t size)
{
	struct flow_done done;

	return flow_replace_count(f, set, lists_kept, &done, why, size);
}

/* ---- one policy ---- */

int flow_take_out(struct flow_inst *f, __u32 at, char *why, size_t size)
{
	int err;

	if (at >= f->conf.policies || !flow_line_lives(f, at)) {
		snprintf(why, size, "it is not there");
		return -ENOENT;
	}
	kill_slot(f, f->line[at].slot, f->line[at].gen);
	err = flow_grace();
	if (err)
		snprintf(why, size, "waiting for programs that run: %s", strerror(-err));
	return err;
}

int flow_put_in(struct flow_inst *f, struct flow_set *set, const struct flow_policy *p, char *why,
		size_t size)
{
	struct flow_policy *policy = realloc(set->policy, (set->n + 1) * sizeof(*policy));
	size_t at = 0;
	int err;

	if (!policy) {
		snprintf(why, size, "no memory for %zu policies", set->n + 1);
		return -ENOMEM;
	}
	set->policy = policy;
	while (at < set->n && policy[at].prio <= p->prio)
		at++;
	memmove(&policy[at + 1], &policy[at], (set->n - at) * sizeof(*policy));
	policy[at] = *p;
	set->n++;
	err = flow_replace(f, set, true, why, size);
	if (err != -ENOSPC)
		return err;
	/* The slots of what was taken out are free once a program without them is in force. */
	memmove(&policy[at], &policy[at + 1], (set->n - at - 1) * sizeof(*policy));
	set->n--;
	err = flow_replace(f, set, true, why, size);
	if (err)
		return err;
	memmove(&policy[at + 1], &policy[at], (set->n - at) * sizeof(*policy));
	policy[at] = *p;
	set->n++;
	return flow_replace(f, set, true, why, size);
}

/* ---- what is in force ---- */

int flow_set_of(const struct flow_inst *f, struct flow_set *set, char *why, size_t size)
{
	char *text = NULL;
	size_t bytes = 0, bad;
	__u32 from;
	FILE *out = open_memstream(&text, &bytes);
	int err;

	if (!out)
		return -errno;
	/* What is before the first policy: lists, and the default action. */
	from = f->conf.policies ? f->line[0].at : f->conf.text_bytes;
	fwrite(f->text, 1, from, out);
	for (__u32 i = 0; i < f->conf.policies; i++) {
		if (!flow_line_lives(f, i))
			continue;
		fwrite(f->text + f->line[i].at, 1, f->line[i].len, out);
		fputc('\n', out);
	}
	if (fclose(out)) {
		free(text);
		return -ENOMEM;
	}
	err = flow_text_read(text, bytes, set, why, size);
	free(text);
	return err ?: flow_resolve(set, f, &bad, why, size);
}

/* ---- after a kill ---- */

static int finish_links(struct flow_inst *f)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	bool any = false;

	if (bpf_obj_get_info_by_fd(f->prog_fd, &info, &len))
		return -errno;
	for (__u32 i = 0; i < f->links; i++) {
		if (!f->link[i].ifindex || f->link[i].prog_id == info.id)
			continue;
		if (bpf_link_update(f->link[i].fd, f->prog_fd, NULL) && errno != ENOLINK)
			return -errno;
		f->link[i].prog_id = info.id;
		any = true;
	}
	return any;
}

int flow_finish(struct flow_inst *f)
{
	_cleanup_free_ bool *known = calloc(f->conf.slots, sizeof(*known));
	int err = finish_links(f);
	bool waited = err > 0;

	if (err < 0 || !known)
		return err ?: -ENOMEM;
	if (waited && (err = flow_grace()))
		return err;
	err = flow_finish_pins(f);
	if (err)
		return err;
	for (__u32 i = 0; i < f->conf.policies; i++)
		if (flow_line_lives(f, i))
			known[f->line[i].slot] = true;
	for (__u32 slot = KCM_FL_SLOT_FIRST; slot < f->conf.slots; slot++) {
		__u64 gen = f->pol[slot].gen;

		if (!(gen & 1) || known[slot])
			continue;
		if (!waited && (err = flow_grace()))
			return err;
		waited = true;
		kill_slot(f, slot, gen);
	}
	return 0;
}
