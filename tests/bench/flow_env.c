// SPDX-License-Identifier: GPL-2.0
/* flow_env.c - the network under the flow benchmark: pairs of devices, and what judges there. */
#include "flow_bench.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <math.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "flow_load.h"
#include "flow_parse.h"
#include "flowsend.skel.h"
#include "flowpeer.skel.h"

int fb_sh(struct fb *b, const char *fmt, ...)
{
	char line[2048], all[2100];
	size_t n;
	va_list ap;
	FILE *out;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	snprintf(all, sizeof(all), "{ %s ; } 2>&1", line);
	out = popen(all, "re");
	if (!out)
		return 127;
	n = fread(b->why, 1, sizeof(b->why) - 1, out);
	while (n && b->why[n - 1] == '\n')
		n--;
	b->why[n] = 0;
	while (fread(all, 1, sizeof(all), out))
		;
	return pclose(out) ? 1 : 0;
}

/* 1M draws of a Zipf distribution with exponent 1 over as many flows, by its inverse. */
static int draw(struct fb *b)
{
	__u32 *to = mmap(NULL, FG_DRAWS * sizeof(*to), PROT_READ | PROT_WRITE, MAP_SHARED,
			 bpf_map__fd(b->gen->maps.fg_draw), 0);
	uint64_t seed = 1;

	if (to == MAP_FAILED)
		return -errno;
	for (__u32 i = 0; i < FG_DRAWS; i++) {
		double u = (double)(sb_rand(&seed) >> 11) / (double)(1ull << 53);

		/* Which flow has which rank is no matter, but not neighbours. */
		to[i] = ((__u32)exp(u * log(FG_DRAWS)) - 1) * 2654435761u >> 12;
	}
	munmap(to, FG_DRAWS * sizeof(*to));
	return 0;
}

int fb_begin(struct fb *b)
{
	int err = sb_namespaces();

	if (err)
		return err;
	snprintf(b->dir, sizeof(b->dir), "/tmp/kcm-bench-flow-XXXXXX");
	if (!mkdtemp(b->dir))
		return -errno;
	if (fb_sh(b, "mount -t sysfs sysfs /sys && mount -t bpf bpf /sys/fs/bpf &&"
		     "cd /proc/sys/net && echo 1 > ipv6/conf/all/disable_ipv6 &&"
		     "echo 1 > ipv6/conf/default/disable_ipv6 && echo 1 > ipv4/ip_forward &&"
		     "echo 0 > ipv4/conf/all/rp_filter && echo 0 > ipv4/conf/default/rp_filter &&"
		     "ip route add local 10.100.0.0/16 dev lo")) {
		fprintf(stderr, "bench_flow: %s\n", b->why);
		return -EIO;
	}
	b->gen = flowsend__open_and_load();
	if (!b->gen)
		return -errno;
	b->gen->bss->fg_at.random = 88172645463325252ull;
	return draw(b);
}

void fb_end(struct fb *b)
{
	flowsend__destroy(b->gen);
	b->gen = NULL;
	if (b->dir[0])
		fb_sh(b, "rm -rf %s", b->dir);
}

int fb_side(struct fb *b, struct fb_side *s, const char *name)
{
	__u32 place = b->pairs++ % FG_DEVS, ifindex;

	*s = (struct fb_side){ .place = place, .link_fd = -1, .inst = FLOW_INST_NONE };
	snprintf(s->name, sizeof(s->name), "%s", name);
	snprintf(s->tx, sizeof(s->tx), "g%u", b->pairs);
	snprintf(s->rx, sizeof(s->rx), "r%u", b->pairs);
	if (fb_sh(b,
		  "ip link add %s type veth peer name %s &&"
		  "ip link set %s up && ip link set %s address 02:00:00:00:00:01 up",
		  s->tx, s->rx, s->tx, s->rx))
		goto fail;
	ifindex = if_nametoindex(s->tx);
	if (!bpf_map_update_elem(bpf_map__fd(b->gen->maps.fg_dev), &place, &ifindex, BPF_ANY))
		return 0;
fail:
	fprintf(stderr, "bench_flow: %s: %s\n", name, b->why);
	s->off = true;
	return -EIO;
}

void fb_side_end(struct fb *b, struct fb_side *s)
{
	if (s->inst.name[0]) {
		kcm_flow_unload(s->inst.name);
		flow_inst_close(&s->inst);
	}
	flowpeer__destroy(s->peer);
	if (s->link_fd >= 0)
		close(s->link_fd);
	if (s->tx[0])
		fb_sh(b, "ip link del %s", s->tx);
	*s = (struct fb_side){ .link_fd = -1, .inst = FLOW_INST_NONE };
}

static int off(struct fb *b, struct fb_side *s, int err)
{
	fprintf(stderr, "bench_flow: %s: not measured: %s\n", s->name,
		b->why[0] ? b->why : strerror(-err));
	s->off = true;
	return err;
}

int fb_attach(struct fb *b, struct fb_side *s, int prog_fd)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);

	b->why[0] = 0;
	s->link_fd = bpf_link_create(prog_fd, (int)if_nametoindex(s->rx), BPF_XDP, &opts);
	return s->link_fd < 0 ? off(b, s, -errno) : 0;
}

int fb_stack(struct fb *b, struct fb_side *s)
{
	return fb_sh(b, "ethtool -K %s gro on", s->rx) ? off(b, s, -EIO) : 0;
}

int fb_flow(struct fb *b, struct fb_side *s, const struct fb_flow *how)
{
	const char *ifname[] = { s->rx };
	struct flow_load_opts o = { .ifname = ifname,
				    .n_if = 1,
				    .mode = FLOW_NATIVE,
				    .cache_entries = how->cache,
				    .policies = how->rules * 2 + 16,
				    .idle_s = FLOW_IDLE_S,
				    .closed_s = FLOW_CLOSED_S,
				    .no_bypass = how->no_bypass };
	struct fb_text text = { FB_POLICIES, how->rules, 0, s->rx, how->action, how->mixed };
	struct flow_loaded done;
	struct flow_set set = {};
	char path[FB_DIR + 32], *errors = NULL;
	int err;

	snprintf(path, sizeof(path), "%s/policies", b->dir);
	err = fb_rules(path, &text);
	err = err ?: flow_parse_file(path, &set, &errors);
	snprintf(b->why, sizeof(b->why), "%s", errors ?: "");
	free(errors);
	o.set = &set;
	if (!err)
		err = kcm_flow_load(&o, &done, b->why, sizeof(b->why));
	flow_set_free(&set);
	err = err ?: flow_inst_open(&s->inst, s->rx, FLOW_READ);
	return err ? off(b, s, err) : 0;
}

int fb_peer(struct fb *b, struct fb_side *s, const struct fb_side *of, __u32 lru)
{
	struct flowpeer *p = flowpeer__open();
	int err = p ? 0 : -errno;

	b->why[0] = 0;
	for (int i = 0; !err && i < FLOW_RODATA; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(p->obj, flow_map_name[i]);

		if (m)
			err = bpf_map__reuse_fd(m, of->inst.map_fd[i]);
	}
	if (!err) {
		p->rodata->kcm_fl_conf = of->inst.conf;
		bpf_map__set_max_entries(p->maps.fp_lru_map, lru ?: 1);
		err = flowpeer__load(p);
	}
	s->peer = p;
	return err ? off(b, s, err) : 0;
}
