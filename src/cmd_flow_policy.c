// SPDX-License-Identifier: GPL-2.0
/* flow policy: change the policies in force, or look at them. */
#include <errno.h>
#include <time.h>
#include "cmd_flow.h"
#include "lib/flow_edit.h"
#include "lib/flow_parse.h"
#include "lib/flow_prog.h"
#include "lib/flow_text.h"
#include "lib/flow_tree.h"

#define TRY	   "man 8 kcmtool-flow"
#define LONG_LEAF  256
#define HOLD_TRIES 50

static int usage(const char *what)
{
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = TRY), "%s", what);
}

/* The words of a policy as one line. */
static char *join(char **words)
{
	size_t n = 1;
	char *text;

	for (char **w = words; *w; w++)
		n += strlen(*w) + 1;
	text = calloc(1, n);
	for (char **w = words; text && *w; w++) {
		strcat(text, *w);
		if (w[1])
			strcat(text, " ");
	}
	return text;
}

static __u64 now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (__u64)t.tv_sec * 1000000 + (__u64)t.tv_nsec / 1000;
}

static void show_done(struct out *o, const struct flow_done *d, __u64 since_us)
{
	out_u64(o, "kept", d->kept);
	out_u64(o, "put_in", d->put_in);
	out_u64(o, "taken_out", d->taken_out);
	out_double(o, "took_ms", (double)(now_us() - since_us) / 1000);
}

/* ---- add, del, default ---- */

static int add(const struct cmd_args *args, struct flow_inst *f)
{
	_cleanup_free_ char *text = join(args->pos + 2);
	_cleanup_set_ struct flow_set set = { 0 };
	struct flow_policy p;
	struct flow_set one = { .policy = &p, .n = 1 };
	char why[512] = "";
	__u64 begin = now_us();
	int err, code = flow_set_open(f, args->pos[1], &set);

	if (code)
		return code;
	if (!text || !*text)
		return usage("no policy is given: PRIO MATCH... ACTION");
	err = flow_parse_policy(text, &set, &p, why, sizeof(why));
	if (err)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .why = why, .next = TRY),
			      "this is no policy");
	if (p.name[0] && flow_find_policy(f, p.name) >= 0)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = args->pos[1],
				      .next = "another name, or: kcmtool flow policy del"),
			      "there is a policy '%s' already", p.name);
	code = flow_set_resolve(&one, NULL);
	if (code)
		return code;
	err = flow_put_in(f, &set, &p, why, sizeof(why));
	if (err)
		return flow_failed("cannot put the policy in", args->pos[1], err, why);
	out_str(args->out, "result", "put in");
	out_double(args->out, "took_ms", (double)(now_us() - begin) / 1000);
	return 0;
}

static int del(const struct cmd_args *args, struct flow_inst *f)
{
	char why[256] = "";
	__u64 begin = now_us();
	__s64 at;
	int err;

	if (args->npos != 3)
		return usage("which policy is not said: PRIO or its name");
	at = flow_find_policy(f, args->pos[2]);
	if (at < 0)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = args->pos[1],
				      .next = "kcmtool flow policy show IFACE"),
			      "there is no policy '%s'", args->pos[2]);
	err = flow_take_out(f, (__u32)at, why, sizeof(why));
	if (err)
		return flow_failed("cannot take the policy out", args->pos[1], err, why);
	out_str(args->out, "result", "taken out");
	out_double(args->out, "took_ms", (double)(now_us() - begin) / 1000);
	return 0;
}

static int set_default(const struct cmd_args *args, struct flow_inst *f)
{
	_cleanup_set_ struct flow_set set = { 0 };
	const char *word = args->npos == 3 ? args->pos[2] : "";
	struct flow_done done;
	char why[256] = "";
	__u64 begin = now_us();
	int err, code;

	if (!streq(word, "pass") && !streq(word, "drop"))
		return usage("the default action is pass or drop");
	code = flow_set_open(f, args->pos[1], &set);
	if (code)
		return code;
	set.default_action = streq(word, "drop") ? FLOW_DROP : FLOW_PASS;
	err = flow_replace_count(f, &set, true, &done, why, sizeof(why));
	if (err)
		return flow_failed("cannot change the default", args->pos[1], err, why);
	out_str(args->out, "default", word);
	show_done(args->out, &done, begin);
	return 0;
}

/* ---- replace, check ---- */

int flow_set_read(const char *file, struct flow_set *set)
{
	_cleanup_free_ char *errors = NULL;
	int err = flow_parse_file(file, set, &errors);
	bool scarce = log_scarce(err);

	if (!err)
		return flow_set_resolve(set, file);
	if (errors && *errors)
		fputs(errors, stderr);
	return report(PROBLEM(.code = scarce ? KCM_EXIT_FAILED : KCM_EXIT_CONFIG, .where = file,
			      .err = err == -EINVAL ? 0 : err,
			      .next = err == -EINVAL ? "see above; man kcmtool-flow" : NULL),
		      "these policies can't be read, and nothing was changed");
}

static int read_file(const struct cmd_args *args, struct flow_set *set, const char **file)
{
	*file = args_str(args, "file", NULL);
	return *file ? flow_set_read(*file, set) : usage("no file is given: -f FILE");
}

static int replace(const struct cmd_args *args, struct flow_inst *f)
{
	_cleanup_set_ struct flow_set set = { 0 };
	struct flow_done done;
	const char *file;
	char why[512] = "";
	__u64 begin = now_us();
	int err, code = read_file(args, &set, &file);

	if (code)
		return code;
	err = flow_replace_count(f, &set, false, &done, why, sizeof(why));
	if (err)
		return flow_failed("cannot replace the policies, those in force stay", args->pos[1],
				   err, why);
	show_done(args->out, &done, begin);
	return 0;
}

static int check(const struct cmd_args *args)
{
	_cleanup_set_ struct flow_set set = { 0 };
	_cleanup_free_ __u32 *slot = NULL;
	struct flow_image img = { 0 };
	__u32 ifindex[KCM_FL_IFS] = { 0 }, n_if = 0;
	const char *file;
	char why[512] = "";
	__u64 begin = now_us();
	int err, code = read_file(args, &set, &file);

	if (code)
		return code;
	slot = calloc(set.n + 1, sizeof(*slot));
	if (!slot)
		return report(PROBLEM(.err = ENOMEM), "cannot check");
	for (size_t i = 0; i < set.n; i++) {
		const struct flow_policy *p = &set.policy[i];
		__u32 k = 0;

		slot[i] = KCM_FL_SLOT_FIRST + (__u32)i;
		while (k < n_if && ifindex[k] != p->ifindex)
			k++;
		if (p->ifindex && k == n_if && n_if < KCM_FL_IFS)
			ifindex[n_if++] = p->ifindex;
	}
	err = flow_compile(&set, slot, ifindex, n_if, false, FLOW_TREE_BYTES, &img, why,
			   sizeof(why));
	if (err)
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = file, .why = why,
				      .next = "fewer policies, or lists in their place"),
			      "these policies can't be compiled");
	out_u64(args->out, "policies", set.n);
	out_u64(args->out, "lists", set.lists);
	out_str(args->out, "default", set.default_action == FLOW_DROP ? "drop" : "pass");
	out_u64(args->out, "nodes", img.nodes);
	out_u64(args->out, "rules_ip4", img.n_r4);
	out_u64(args->out, "rules_ip6", img.n_r6);
	out_u64(args->out, "intervals_ip4", img.n_iv4);
	out_u64(args->out, "intervals_ip6", img.n_iv6);
	out_u64(args->out, "memory_bytes", img.bytes);
	out_u64(args->out, "worst_depth", img.depth);
	out_u64(args->out, "worst_leaf", img.leaf_max);
	if (img.leaf_max > LONG_LEAF)
		warn("%s: %u policies are alike in addresses, ports, protocol, VLAN, interface: "
		     "a packet that comes that far is compared with one after the other",
		     file, img.leaf_max);
	out_double(args->out, "took_ms", (double)(now_us() - begin) / 1000);
	flow_image_free(&img);
	return 0;
}

/* ---- show, save ---- */

static const struct out_column columns[] = {
	{ "prio", NULL },  { "name", NULL },   { "packets", NULL },
	{ "bytes", NULL }, { "policy", NULL },
};

/* What is behind the priority and the name. */
static const char *rest_of(const char *text, const char *name)
{
	const char *p = strchr(text, ' ');

	p = p ? p + 1 : text;
	return *name ? p + strlen("name ") + strlen(name) + 1 : p;
}

static int show(const struct cmd_args *args, const struct flow_inst *f)
{
	struct kcm_fl_count c = flow_slot_count(f, f->conf.default_slot);
	struct out *o = args->out;

	out_str(o, "default", f->conf.default_slot == KCM_FL_SLOT_DROP ? "drop" : "pass");
	out_u64(o, "default_packets", c.packets);
	out_u64(o, "default_bytes", c.bytes);
	out_table(o, "policies", columns, ARRAY_LEN(columns));
	out_sparse(o);
	for (__u32 i = 0; i < f->conf.policies; i++) {
		_cleanup_free_ char *text = NULL;
		char name[FLOW_NAME];

		if (!flow_line_lives(f, i))
			continue;
		text = flow_line_text(f, i);
		flow_line_name(f, i, name);
		c = flow_line_count(f, i);
		out_row(o);
		out_u64(o, "prio", f->line[i].prio);
		out_str(o, "name", *name ? name : NULL);
		out_u64(o, "packets", c.packets);
		out_u64(o, "bytes", c.bytes);
		out_str(o, "policy", text ? rest_of(text, name) : "");
	}
	out_end(o);
	return 0;
}

static int save(const struct cmd_args *args, const struct flow_inst *f)
{
	FILE *to = out_raw(args->out);
	__u32 head = f->conf.policies ? f->line[0].at : f->conf.text_bytes;

	fwrite(f->text, 1, head, to);
	for (__u32 i = 0; i < f->conf.policies; i++) {
		_cleanup_free_ char *text = NULL;

		if (!flow_line_lives(f, i))
			continue;
		text = flow_line_text(f, i);
		fprintf(to, "%s\n", text ?: "");
	}
	return 0;
}

/* ---- all ---- */

static int may(const char *verb, uint64_t needs)
{
	const struct cmd c = { .object = "flow", .verb = verb, .needs = needs };

	return feature_check_caps(&c);
}

/* A whole set, also while somebody puts another one in its place. */
static int open_held(struct flow_inst *f, const char *ifname)
{
	int err = -EAGAIN;

	for (int tries = 0; tries < HOLD_TRIES && err == -EAGAIN; tries++) {
		int code = flow_open(f, ifname, FLOW_READ);

		if (code)
			return code;
		err = flow_inst_hold(f);
		if (err)
			flow_inst_close(f);
	}
	return err ? flow_failed("cannot look at the policies", ifname, err, "") : 0;
}

int flow_policy(const struct cmd_args *args)
{
	static const struct {
		const char *name;
		enum flow_open how;
		int (*run)(const struct cmd_args *args, struct flow_inst *f);
		int (*look)(const struct cmd_args *args, const struct flow_inst *f);
	} verbs[] = {
		{ "add", FLOW_WRITE, add, NULL },
		{ "del", FLOW_WRITE, del, NULL },
		{ "default", FLOW_WRITE, set_default, NULL },
		{ "replace", FLOW_WRITE, replace, NULL },
		{ "show", FLOW_READ, NULL, show },
		{ "save", FLOW_READ, NULL, save },
	};
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	int code;

	if (streq(args->pos[0], "check"))
		return check(args);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (!streq(verbs[i].name, args->pos[0]))
			continue;
		if (args->npos < 2)
			return usage("no interface is given");
		code = may("policy",
			   verbs[i].how == FLOW_READ ? FLOW_NEEDS_READ : FLOW_NEEDS_WRITE);
		code = code
			       ?: verbs[i].run ? flow_open(&f, args->pos[1], verbs[i].how)
					       : open_held(&f, args->pos[1]);
		if (code)
			return code;
		return verbs[i].run ? verbs[i].run(args, &f) : verbs[i].look(args, &f);
	}
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = args->pos[0],
			      .next = "add, del, default, replace, check, show or save"),
		      "there is nothing of this name to do with policies");
}
