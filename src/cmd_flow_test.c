// SPDX-License-Identifier: GPL-2.0
/* flow test-packet: which policy would decide, by the program's own trees; nothing is sent. */
#include <errno.h>
#include "cmd_flow.h"
#include "lib/flow_packet.h"
#include "lib/flow_pcap.h"
#include "lib/flow_try.h"

struct test {
	const struct cmd_args *args;
	struct flow_inst *f;
	struct flow_try *t;
	struct flow_labels *labels;
	__u32 ifindex;
	__u64 n, malformed;
};

static const struct out_column columns[] = {
	{ "packet", NULL },
	{ "bytes", NULL },
	{ "policy", NULL },
	{ "why", NULL },
};

static void show(struct test *t, size_t len, __u32 slot, bool malformed)
{
	_cleanup_free_ char *text = NULL;
	struct out *o = t->args->out;
	__u32 at = slot < t->f->conf.slots ? t->labels->line[slot] : 0;

	if (at)
		text = flow_line_text(t->f, at - 1);
	out_row(o);
	out_u64(o, "packet", t->n);
	out_u64(o, "bytes", len);
	out_str(o, "policy", flow_label(t->labels, slot));
	out_str(o, "why",
		malformed ? "it is malformed, so no policy matches"
		: at	  ? text
			  : "no policy matches");
}

static int one(struct test *t, const void *frame, size_t len)
{
	__u32 slot = t->f->conf.default_slot;
	int err = len < 14 ? -EBADMSG : flow_try_packet(t->t, frame, len, t->ifindex, &slot);

	t->n++;
	if (err && err != -EBADMSG)
		return flow_failed("cannot ask the program", t->args->pos[0], err, "");
	show(t, len, slot, err == -EBADMSG);
	return 0;
}

/* ---- from words ---- */

static int from_spec(struct test *t, const char *spec)
{
	uint8_t frame[FLOW_PACKET_MAX];
	struct flow_packet p;
	char why[512];
	size_t len;

	if (flow_packet_spec(spec, &p, why, sizeof(why)))
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--spec", .why = why,
				      .next = "ip src 10.0.0.1 dst 10.0.0.2 proto tcp dport 80"),
			      "this is no packet");
	if (p.in[0] && !(t->ifindex = if_nametoindex(p.in)))
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--spec", .next = "ip link"),
			      "there is no interface '%s'", p.in);
	len = flow_packet_build(&p, frame, sizeof(frame));
	if (!len)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--spec",
				      .next = "ip src 10.0.0.1 dst 10.0.0.2 proto tcp dport 80"),
			      "there is no such packet, or it is longer than %d bytes",
			      FLOW_PACKET_MAX);
	return one(t, frame, len);
}

/* ---- from a capture ---- */

static int capture_failed(const char *path, int err, const char *why)
{
	return report(PROBLEM(.code = err == -ENOSYS ? KCM_EXIT_FAILED : KCM_EXIT_CONFIG,
			      .where = path, .why = why,
			      .next = err == -ENOSYS ? "apt install libpcap0.8"
						     : "tcpdump -i IFACE -w FILE"),
		      "cannot read the capture");
}

static int from_pcap(struct test *t, const char *path)
{
	struct flow_pcap *p = NULL;
	struct flow_frame frame;
	char why[512] = "";
	int ret, code = 0;

	ret = flow_pcap_open(&p, path, why, sizeof(why));
	if (ret)
		return capture_failed(path, ret, why);
	while (!code && (ret = flow_pcap_next(p, &frame, why, sizeof(why))) == 1)
		code = one(t, frame.data, frame.have);
	if (!code && ret < 0)
		code = capture_failed(path, ret, why);
	flow_pcap_close(p);
	return code;
}

int flow_test(const struct cmd_args *args)
{
	const char *pcap = args_str(args, "pcap", NULL), *spec = args_str(args, "spec", NULL);
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	_cleanup_labels_ struct flow_labels labels = { .f = &f };
	struct test t = { .args = args, .f = &f, .labels = &labels };
	int code, err;

	if (!pcap == !spec)
		return report(
			PROBLEM(.code = KCM_EXIT_USAGE, .next = "kcmtool flow test-packet --help"),
			"a packet is given by --pcap or by --spec");
	code = flow_open(&f, args->pos[0], FLOW_READ);
	code = code ?: flow_labels_make(&labels, &f);
	if (code)
		return code;
	t.ifindex = if_nametoindex(args->pos[0]);
	err = flow_try_open(&t.t, &f);
	if (err)
		return flow_failed("cannot ask the program", args->pos[0], err, "");
	out_table(args->out, "packets", columns, ARRAY_LEN(columns));
	code = spec ? from_spec(&t, spec) : from_pcap(&t, pcap);
	out_end(args->out);
	flow_try_close(t.t);
	return code;
}
