// SPDX-License-Identifier: GPL-2.0
/* migrate generation, weight, policy: what an operator tells. */
#include <errno.h>
#include "cmd_migrate.h"

struct steer {
	struct mg_view v;
	const char *name;
	uint64_t id;	/* of the generation, 0: none was given */
	uint64_t group; /* KCM_MG_GROUPS: all that have the generation */
	__u32 percent;
};

typedef int (*steer_fn)(struct steer *s, int group, int gen);

static int promote(struct steer *s, int group, int gen)
{
	return mg_promote(&s->v, group, gen);
}

static int drain(struct steer *s, int group, int gen)
{
	return mg_drain(&s->v, group, gen);
}

static int weight(struct steer *s, int group, int gen)
{
	return mg_weight(&s->v, group, gen, s->percent);
}

static int rollback(struct steer *s, int group, int gen)
{
	(void)gen;
	return mg_rollback(&s->v, group);
}

static int release(struct steer *s, int group, int gen)
{
	(void)gen;
	return mg_release(&s->v, group);
}

static int steer_failed(const struct steer *s, const char *what, int group, int err)
{
	const char *why = err == -ESRCH	   ? "it has no listener (any more)"
			  : err == -ENOENT ? "no other generation would take the connections"
			  : err == -EBUSY  ? "it works: it has what the others leave"
			  : err == -EINVAL ? "more than 100 percent in sum"
					   : log_errno(err);
	char addr[MIGRATE_ADDR];

	return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = migrate_addr(s->v.mg, group, addr),
			      .why = why, .next = "kcmtool migrate show NAME"),
		      "cannot %s", what);
}

/* Call @fn for each group that has the generation. */
static int steer_all(struct steer *s, const char *what, steer_fn fn, struct out *o)
{
	unsigned int n = 0;
	int none = -1;

	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		const struct kcm_mg_group *g = &s->v.mg->group[i];
		int gen = s->id ? mg_gen_find(g, (__u32)s->id) : 0, err;

		if (!migrate_group_used(s->v.mg, i) || gen < 0 ||
		    (s->group < KCM_MG_GROUPS && s->group != (uint64_t)i))
			continue;
		err = fn(s, i, gen);
		/* Where nobody listens there is nothing to say; unless it was asked for. */
		if (err == -ESRCH && !g->n && s->group == KCM_MG_GROUPS)
			continue;
		/* One of several may have had no other generation yet. */
		if (err == -ENOENT && fn == rollback && s->group == KCM_MG_GROUPS) {
			none = i;
			continue;
		}
		if (err)
			return steer_failed(s, what, i, err);
		n++;
	}
	if (n) {
		out_str(o, "done", what);
		out_u64(o, "groups", n);
		return 0;
	}
	if (none >= 0)
		return steer_failed(s, what, none, -ENOENT);
	if (s->id)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = s->name,
				      .next = "kcmtool migrate show NAME"),
			      "there is no generation %llu", (unsigned long long)s->id);
	return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = s->name,
			      .next = "kcmtool migrate show NAME"),
		      "there is no such group, or nobody listens");
}

static int take_id(struct steer *s, const char *text)
{
	if (text && str_to_u64(text, &s->id) && s->id && s->id <= UINT32_MAX)
		return 0;
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "GENERATION",
			      .next = "kcmtool migrate show NAME"),
		      text ? "'%s' is no number of a generation" : "which generation is not said",
		      text);
}

static int begin(struct steer *s, const struct cmd_args *args, const char *name)
{
	int code = args_u64(args, "group", 0, KCM_MG_GROUPS - 1, KCM_MG_GROUPS, &s->group);

	s->name = name;
	return code ?: migrate_open(&s->v, name, true);
}

static int generation_new(struct steer *s, struct out *o)
{
	int n = mg_generation_new(&s->v);

	out_str(o, "done", "new");
	out_i64(o, "number", n);
	out_note(o, "Listeners opened from now on are a generation of their own.\n");
	return 0;
}

int migrate_generation(const struct cmd_args *args)
{
	static const struct {
		const char *verb;
		steer_fn fn;
		bool id;
	} verbs[] = {
		{ "new", NULL, false },	       { "promote", promote, true },
		{ "drain", drain, true },      { "rollback", rollback, false },
		{ "release", release, false },
	};
	const char *verb = args->pos[0], *gen = args->npos > 2 ? args->pos[2] : NULL;
	struct steer s = { .v = MG_VIEW_NONE };
	size_t i = 0;
	int code;

	while (i < ARRAY_LEN(verbs) && !streq(verb, verbs[i].verb))
		i++;
	if (i == ARRAY_LEN(verbs))
		return report(PROBLEM(.code = KCM_EXIT_USAGE,
				      .why = "new, promote, drain, rollback, release are known",
				      .next = "kcmtool migrate generation --help"),
			      "nothing known as '%s'", verb);
	if (!verbs[i].id && gen)
		return report(PROBLEM(.code = KCM_EXIT_USAGE,
				      .next = "kcmtool migrate generation --help"),
			      "%s takes no generation", verb);
	code = verbs[i].id ? take_id(&s, gen) : 0;
	code = code ?: begin(&s, args, args->pos[1]);
	if (!code)
		code = verbs[i].fn ? steer_all(&s, verb, verbs[i].fn, args->out)
				   : generation_new(&s, args->out);
	mg_view_close(&s.v);
	return code;
}

int migrate_weight(const struct cmd_args *args)
{
	struct steer s = { .v = MG_VIEW_NONE };
	uint64_t percent;
	int code = take_id(&s, args->pos[1]);

	if (!code && (!str_to_u64(args->pos[2], &percent) || percent > 100))
		code = report(
			PROBLEM(.code = KCM_EXIT_USAGE, .where = "PERCENT", .why = "0 to 100"),
			"'%s' is no share", args->pos[2]);
	code = code ?: begin(&s, args, args->pos[0]);
	if (!code) {
		s.percent = (__u32)percent;
		code = steer_all(&s, "weight", weight, args->out);
	}
	mg_view_close(&s.v);
	return code;
}

int migrate_policy(const struct cmd_args *args)
{
	_cleanup_migrate_ struct mg_view v = MG_VIEW_NONE;
	int policy = mg_policy_parse(args->pos[1]), code;

	if (policy < 0)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "POLICY",
				      .why = "hash, robin, least, cpu, numa, client are known"),
			      "no policy '%s'", args->pos[1]);
	code = migrate_open(&v, args->pos[0], true);
	if (code)
		return code;
	if (policy == KCM_MG_CLIENT && mg_is_udp(v.mg))
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = args->pos[0],
				      .why = "flows of UDP stay where they are by themselves"),
			      "policy client is for TCP");
	if (policy == KCM_MG_CLIENT && v.mg->ctl.sticky < 2)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = args->pos[0],
				      .why = "the table of clients is made at attach",
				      .next = "detach, and attach --policy client"),
			      "cannot change to policy client");
	__atomic_store_n(&v.mg->ctl.policy, (__u32)policy, __ATOMIC_RELEASE);
	out_str(args->out, "name", args->pos[0]);
	out_str(args->out, "policy", mg_policy_name((unsigned int)policy));
	return 0;
}
