// SPDX-License-Identifier: GPL-2.0
/* doctor: what works here, what is missing, why, and what to do about it. */
#include "doctor.h"
#include "feature.h"
#include "system.h"
#include "trial.h"

static void feature_text(uint64_t set, char *text, size_t size)
{
	FILE *f = fmemopen(text, size, "w");

	text[0] = '\0';
	if (!f)
		return;
	feature_list_print(f, set);
	fclose(f);
}

/* Which systems rely on feature @i. */
static void needed_by(int i, char *text, size_t size)
{
	text[0] = '\0';
	for (const struct kcm_system *const *s = kcm_systems; *s; s++) {
		size_t used = strlen(text);

		if ((*s)->needs & (1ULL << i))
			snprintf(text + used, size - used, "%s%s", used ? " " : "", (*s)->name);
	}
}

static void show_features(struct out *o)
{
	static const struct out_column columns[] = {
		{ "feature", NULL }, { "state", NULL },	 { "needed_by", NULL },
		{ "why", NULL },     { "remedy", NULL },
	};
	char systems[128];

	out_table(o, "features", columns, ARRAY_LEN(columns));
	for (int i = 0; i < FEAT_COUNT; i++) {
		const struct feature_result *r = feature_probe(i);

		needed_by(i, systems, sizeof(systems));
		out_row(o);
		out_str(o, "feature", features[i].name);
		out_str(o, "what", features[i].what);
		out_str(o, "state", feature_state_name(r->state));
		out_str(o, "needed_by", systems[0] ? systems : NULL);
		out_str(o, "why", r->why);
		out_str(o, "remedy", r->remedy[0] ? r->remedy : NULL);
		out_str(o, "kernel_config", features[i].config);
		out_str(o, "since", features[i].since);
	}
	out_end(o);
}

static void show_commands(struct out *o)
{
	static const struct out_column columns[] = { { "command", NULL }, { "needs", NULL } };
	char needs[512];

	out_table(o, "commands", columns, ARRAY_LEN(columns));
	cmd_for_each (c) {
		if (!c->needs)
			continue;
		feature_text(c->needs, needs, sizeof(needs));
		out_row(o);
		out_fmt(o, "command", "kcmtool %s%s%s", c->object ? c->object : "",
			c->object ? " " : "", c->verb);
		out_str(o, "needs", needs);
	}
	out_end(o);
}

/* What `load` will do. Return: the exit code it will have. */
static int verdict(const struct kcm_system *s, struct out *o)
{
	uint64_t missing = 0, unknown = 0;
	char text[512], why[256] = "";
	int code;

	for (int i = 0; i < FEAT_COUNT; i++) {
		const struct feature_result *r = feature_probe(i);

		if (!(s->needs & (1ULL << i)))
			continue;
		if (r->state == FEATURE_MISSING)
			*(i <= FEAT_CAP_SYS_ADMIN ? &unknown : &missing) |= 1ULL << i;
		else if (r->state == FEATURE_UNKNOWN)
			unknown |= 1ULL << i;
	}
	code = unknown ? KCM_EXIT_PRIVILEGE : missing ? KCM_EXIT_KERNEL : 0;
	/* Features are necessary; whether they are enough, the verifier of this kernel decides. */
	if (!code && trial_load(s, why, sizeof(why)) == TRIAL_FAILED)
		code = KCM_EXIT_KERNEL;
	feature_text(missing | unknown, text, sizeof(text));
	out_row(o);
	out_str(o, "system", s->name);
	out_str(o, "verdict",
		!code			     ? "can be loaded"
		: code == KCM_EXIT_PRIVILEGE ? "privilege is missing"
					     : "cannot be loaded");
	out_str(o, "missing", text[0] ? text : NULL);
	out_str(o, "why", why[0] ? why : NULL);
	return code;
}

int doctor_run(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "system", NULL },
		{ "verdict", NULL },
		{ "missing", NULL },
		{ "why", NULL },
	};
	struct out *o = args->out;
	int code = 0;

	show_features(o);
	out_note(o, "%s", "");
	show_commands(o);
	out_note(o, "%s", "");
	out_table(o, "systems", columns, ARRAY_LEN(columns));
	for (const struct kcm_system *const *s = kcm_systems; *s; s++) {
		int c = verdict(*s, o);

		code = code ? code : c;
	}
	out_end(o);
	return code;
}
