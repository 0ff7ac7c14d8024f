// SPDX-License-Identifier: GPL-2.0
/* sock stats: every counter of the programs, and what it counts. */
#include <stddef.h>
#include "cmd_sock_list.h"

struct counter {
	const char *key;
	size_t offset;
	const char *help;
};

#define COUNTER(member, help)                                      \
	{                                                          \
#member, offsetof(struct kcm_sk_ctl, member), help \
	}

static const struct counter counters[] = {
	COUNTER(opened, "connections established, and UDP sockets connected"),
	COUNTER(closed, "of those, closed again"),
	COUNTER(failed, "connections that were never established"),
	COUNTER(adopted, "sockets that were there before the programs"),
	COUNTER(beyond, "connections that found no free slot: kept in sk_storage, which is slower"),
	COUNTER(no_storage, "times the kernel refused sk_storage: sockets that are not seen"),
	COUNTER(unparsed, "segments whose headers could not be read: not counted"),
	COUNTER(unframed, "streams whose framing was lost: messages are not counted from there"),
	COUNTER(stash_full, "segments that came too early and found no place to wait"),
	COUNTER(limit_drops, "segments that a limit dropped"),
	COUNTER(limit_paced, "connections that were given a pacing rate"),
	COUNTER(limit_refused, "pacing rates that the kernel refused"),
	COUNTER(swept, "slots of sockets that had gone without a word"),
	COUNTER(events, "events sent to sock watch"),
	COUNTER(event_drops, "events that were lost because a watcher was too slow"),
};

static void put_row(struct out *o, const char *key, uint64_t value, const char *help)
{
	out_row(o);
	out_str(o, "counter", key);
	out_u64(o, "value", value);
	out_str(o, "help", help);
}

static uint32_t slots_used(const struct sock_view *v)
{
	uint32_t used = 0;

	for (__u32 i = 0; i < v->ctl->cfg.slots; i++)
		used += v->hot[i].tag != 0;
	return used;
}

static uint32_t frames_used(const struct sock_view *v)
{
	uint32_t used = 0;

	for (int i = 0; i < KCM_SK_FRAMES; i++)
		used += v->framing[i].used != 0;
	return used;
}

static uint32_t rules_used(const struct sock_view *v)
{
	uint32_t used = 0;

	for (int i = 0; i < KCM_SK_RULES; i++)
		used += v->rules[i].used != 0;
	return used;
}

static uint32_t watchers(const struct sock_view *v, uint64_t now_ns)
{
	uint32_t used = 0;

	for (int i = 0; i < KCM_SK_WATCHERS; i++)
		used += v->ctl->watch_until_ns[i] > now_ns;
	return used;
}

int sock_stats(const struct cmd_args *args)
{
	static const struct out_column columns[] = { { "counter", NULL },
						     { "value", NULL },
						     { "help", "MEANING" } };
	_cleanup_sock_ struct sock_view v = SOCK_VIEW_NONE;
	struct out *o = args->out;
	bool json = out_format(o) != OUT_TEXT;
	struct sock_filter none;
	int code = sock_open(&v, false);

	code = code ?: sock_filter_parse(&none, NULL, 0); /* takes the time */
	if (code)
		return code;
	out_u64(o, "slots", v.ctl->cfg.slots);
	out_u64(o, "slots_used", slots_used(&v));
	out_u64(o, "framings", frames_used(&v));
	out_u64(o, "limits", rules_used(&v));
	out_u64(o, "watchers", watchers(&v, none.now_ns));
	if (json)
		out_group(o, "counters");
	else
		out_table(o, "counters", columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
		uint64_t value = *(const __u64 *)((const char *)v.ctl + counters[i].offset);

		if (json)
			out_u64(o, counters[i].key, value);
		else
			put_row(o, counters[i].key, value, counters[i].help);
	}
	out_end(o);
	sock_warn_losses(v.ctl);
	return 0;
}
