/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flowhist_policies.h - policies that are put in and taken out, and what they say of the flows.
 *
 * Policy p of the first SINGLE drops flow p, each of the others four flows that have ports in a
 * row. No flow is two policies'. Behind them are others that no flow meets.
 */
#ifndef KCM_FLOWHIST_POLICIES_H
#define KCM_FLOWHIST_POLICIES_H

#include "flowhist_run.h"

#define SINGLE	   32
#define POLICIES   40
#define BACKGROUND 100

struct hist_set {
	bool on[POLICIES];
	uint32_t version[POLICIES]; /* the same policy, at another place */
	bool drop;		    /* the default */
};

static inline void policy_text(FILE *f, const struct hist_set *s, int p)
{
	unsigned int prio = 1000 + 2 * (unsigned int)p + (s->version[p] & 1);

	fprintf(f, "%u name p%d ", prio, p);
	if (p >= SINGLE) {
		int port = 20000 + SINGLE + (p - SINGLE) * 4;

		fprintf(f, "proto 17 dport %d-%d drop", port, port + 3);
		return;
	}
	if (p % 3 != 2 && (p & 3) == 3)
		fprintf(f, "ip6 src fd01::%x ", (unsigned int)p);
	else if (p % 3 != 2)
		fprintf(f, "ip src 10.1.0.%d ", p);
	if (p % 3)
		fprintf(f, "proto 17 dport %d ", 20000 + p);
	fprintf(f, "drop");
}

static inline void verdicts(const struct hist_set *s, bool *drop)
{
	for (int i = 0; i < HIST_FLOWS; i++) {
		int p = i < SINGLE ? i : SINGLE + (i - SINGLE) / 4;

		drop[i] = s->on[p] || s->drop;
	}
}

static inline void read_set(const struct hist_set *s, struct flow_set *set)
{
	char *text = NULL, why[256] = "";
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);

	MUST(f);
	fprintf(f, "default %s\n", s->drop ? "drop" : "pass");
	for (int p = 0; p < POLICIES; p++)
		if (s->on[p]) {
			policy_text(f, s, p);
			fputc('\n', f);
		}
	for (int i = 0; i < BACKGROUND; i++)
		fprintf(f, "%d ip src 172.16.%d.0/24 proto 6 dport %d pass\n", 5000 + i, i, i + 1);
	MUST(!fclose(f));
	if (flow_text_read(text, bytes, set, why, sizeof(why))) {
		fprintf(stderr, "%s\n", why);
		exit(1);
	}
	free(text);
}

static inline void failed_op(const char *op, int err, const char *why)
{
	fprintf(stderr, "%s: %s (%d)\n", op, why, err);
	exit(1);
}

static inline void done_op(struct hist *h, const struct hist_set *s)
{
	bool drop[HIST_FLOWS];

	verdicts(s, drop);
	hist_return(h, drop);
}

/* Return: 0 or -errno: then nothing has changed. */
static inline int try_replace(struct hist *h, const struct hist_set *s, char *why, size_t size)
{
	struct flow_set set = { 0 };
	int err;

	read_set(s, &set);
	err = flow_replace(&h->inst, &set, false, why, size);
	flow_set_free(&set);
	return err;
}

static inline void replace(struct hist *h, const struct hist_set *s)
{
	char why[256] = "";
	int err;

	hist_call(h);
	err = try_replace(h, s, why, sizeof(why));
	if (err)
		failed_op("replace", err, why);
	done_op(h, s);
}

static inline void put_in(struct hist *h, struct hist_set *s, int p)
{
	struct flow_set set = { 0 };
	struct flow_policy policy;
	char *text = NULL, why[256] = "";
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);
	int err;

	MUST(f);
	policy_text(f, s, p);
	MUST(!fclose(f));
	hist_call(h);
	err = flow_set_of(&h->inst, &set, why, sizeof(why));
	err = err ?: flow_parse_policy(text, &set, &policy, why, sizeof(why));
	err = err ?: flow_put_in(&h->inst, &set, &policy, why, sizeof(why));
	if (err)
		failed_op(text, err, why);
	s->on[p] = true;
	done_op(h, s);
	flow_set_free(&set);
	free(text);
}

static inline void take_out(struct hist *h, struct hist_set *s, int p)
{
	char name[16], why[256] = "";
	int err = -ENOENT, n = snprintf(name, sizeof(name), " name p%d ", p);
	__u32 at;

	for (at = 0; at < h->inst.conf.policies; at++) {
		const char *text = h->inst.text + h->inst.line[at].at;
		const char *space = memchr(text, ' ', h->inst.line[at].len);

		if (flow_line_lives(&h->inst, at) && space && !memcmp(space, name, (size_t)n))
			break;
	}
	hist_call(h);
	err = flow_take_out(&h->inst, at, why, sizeof(why));
	if (err)
		failed_op(name, err, why);
	s->on[p] = false;
	done_op(h, s);
}

#endif
