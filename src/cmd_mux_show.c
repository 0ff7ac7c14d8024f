// SPDX-License-Identifier: GPL-2.0
/* mux show: what muxes there are, what they were made like, who works there. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include "cmd_mux.h"

/* The kernel says per map what it takes, in fdinfo. */
uint64_t mux_map_bytes(const char *name)
{
	char path[KCM_PIN_PATH];
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;
	uint64_t total = 0;

	if (kcm_pin_path(path, sizeof(path), "mux", name, NULL))
		return 0;
	d = opendir(path);
	while (d && (e = readdir(d))) {
		_cleanup_fd_ int fd = -1;
		_cleanup_file_ FILE *f = NULL;
		char info[48], line[96];
		unsigned long long bytes;

		if (e->d_type != DT_REG || kcm_pin_path(path, sizeof(path), "mux", name, e->d_name))
			continue;
		fd = bpf_obj_get(path);
		snprintf(info, sizeof(info), "/proc/self/fdinfo/%d", fd);
		f = fd < 0 ? NULL : fopen(info, "re");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "memlock: %llu", &bytes) == 1)
				total += bytes;
	}
	return total;
}

static void put_owner(struct out *o, const struct mux_view *mv)
{
	if (!mv->owner_pid) {
		out_str(o, "owner_pid", NULL);
		out_str(o, "owner", NULL);
		return;
	}
	out_i64(o, "owner_pid", mv->owner_pid);
	out_str(o, "owner", mv->owner);
}

static void put_dispatch(struct out *o, const struct kcm_mux_cfg *cfg)
{
	if (cfg->policy == KCM_POLICY_KEY)
		out_fmt(o, "dispatch", "key:%u:%u", cfg->key_off, cfg->key_bytes);
	else
		out_str(o, "dispatch", mux_policy_name(cfg->policy));
}

static void put_frame(struct out *o, const struct kcm_frame *frame)
{
	char text[KCM_FRAME_TEXT_BYTES];

	out_str(o, "frame", kcm_frame_format(frame, text, sizeof(text)) ? "?" : text);
}

static int show_row(const char *name, void *arg)
{
	struct out *o = arg;
	_cleanup_view_ struct mux_view mv;
	struct mux_sum s;

	if (mux_view_open(&mv, name)) {
		mux_view_close(&mv);
		return 0; /* said on stderr; the others are still of interest */
	}
	mux_sum(&mv.v, mv.tx, &s);
	out_row(o);
	out_str(o, "name", name);
	put_frame(o, &mv.v.conf->frame);
	put_dispatch(o, &mv.v.cfg);
	out_str(o, "mode", mux_mode_name(mv.v.cfg.mode));
	put_owner(o, &mv);
	out_u64(o, "conns", s.conns);
	out_u64(o, "workers", s.workers);
	out_u64(o, "messages", s.rx_msgs);
	out_fmt(o, "arena_used", "%llu%%",
		s.arena_bytes ? (unsigned long long)(s.used_bytes * 100 / s.arena_bytes) : 0);
	return 0;
}

static int show_all(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "name", NULL },	{ "frame", NULL },	{ "dispatch", NULL },
		{ "mode", NULL },	{ "owner_pid", "PID" }, { "owner", NULL },
		{ "conns", NULL },	{ "workers", NULL },	{ "messages", NULL },
		{ "arena_used", NULL },
	};
	int err;

	out_table(args->out, "muxes", columns, ARRAY_LEN(columns));
	err = kcm_pin_each("mux", show_row, args->out);
	out_end(args->out);
	if (err && err != -ENOENT)
		return report(PROBLEM(.err = err, .where = KCM_PIN_ROOT "/mux"),
			      "cannot list the muxes");
	return 0;
}

static void put_limits(struct out *o, const struct mux_view *mv)
{
	const struct kcm_mux_conf *c = mv->v.conf;
	char ports[160], text[MUX_TIME];

	out_group(o, "limits");
	out_u64(o, "conns", c->cfg.n_conns);
	out_u64(o, "workers", c->n_workers);
	out_u64(o, "message_bytes", c->cfg.max_bytes);
	out_u64(o, "tx_bytes", c->tx_limit_bytes);
	if (c->asm_timeout_ms)
		mux_time_text((uint64_t)c->asm_timeout_ms * 1000000, text, sizeof(text));
	out_str(o, "timeout", c->asm_timeout_ms ? text : "none");
	mux_time_text(c->cfg.grace_ns, text, sizeof(text));
	out_str(o, "grace", text);
	out_end(o);
	out_str(o, "delivery", c->at_least_once ? "at least once" : "at most once");
	out_str(o, "on_error", c->keep_on_error ? "keep" : "close");
	mux_ports_text(mv->name, ports, sizeof(ports));
	out_str(o, "attached_ports", *ports ? ports : NULL);
}

static void put_memory(struct out *o, const struct mux_view *mv, const struct mux_sum *s)
{
	static const struct out_column columns[] = {
		{ "chunk_bytes", NULL },
		{ "chunks", NULL },
		{ "used", NULL },
	};

	out_group(o, "memory");
	out_u64(o, "maps_bytes", mux_map_bytes(mv->name));
	out_u64(o, "arena_bytes", s->arena_bytes);
	out_u64(o, "arena_used", s->used_bytes);
	out_u64(o, "big_bytes", mv->v.conf->big_bytes);
	out_u64(o, "big_used", mv->big_mem_bytes);
	out_u64(o, "reply_state", mv->tx_mem_bytes);
	out_end(o);
	out_table(o, "chunks", columns, ARRAY_LEN(columns));
	for (int i = 0; i < KCM_CLASSES; i++) {
		out_row(o);
		out_u64(o, "chunk_bytes", s->class_bytes[i]);
		out_u64(o, "chunks", s->chunks[i]);
		out_u64(o, "used", s->used[i]);
	}
	out_end(o);
}

static int show_one(const struct cmd_args *args, const char *name)
{
	_cleanup_view_ struct mux_view mv;
	struct out *o = args->out;
	struct mux_sum s;
	int code = mux_view_open(&mv, name);

	if (code)
		return code;
	mux_sum(&mv.v, mv.tx, &s);
	out_str(o, "name", name);
	put_frame(o, &mv.v.conf->frame);
	put_dispatch(o, &mv.v.cfg);
	out_str(o, "mode", mux_mode_name(mv.v.cfg.mode));
	put_owner(o, &mv);
	out_u64(o, "conns", s.conns);
	out_u64(o, "conns_held", s.held);
	out_u64(o, "workers", s.workers);
	out_u64(o, "messages", s.rx_msgs);
	out_u64(o, "bytes", s.rx_bytes);
	out_u64(o, "waiting", s.waiting);
	out_u64(o, "in_hand", s.in_hand);
	put_limits(o, &mv);
	put_memory(o, &mv, &s);
	return 0;
}

int mux_show(const struct cmd_args *args)
{
	return args->npos ? show_one(args, args->pos[0]) : show_all(args);
}
