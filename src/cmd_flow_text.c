// SPDX-License-Identifier: GPL-2.0
/* Flows and policies in words. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include "cmd_flow.h"

/* "10.0.0.1:80", "[::1]:80", "10.0.0.1" where there are no ports. */
static void text_end(const struct flow_flow *f, bool source, char *text)
{
	char addr[INET6_ADDRSTRLEN] = "";
	__u16 port = source ? f->sport : f->dport;

	if (f->family)
		inet_ntop(f->family == 6 ? AF_INET6 : AF_INET, source ? f->saddr : f->daddr, addr,
			  sizeof(addr));
	if (f->class & KCM_FL_C_PORTS)
		snprintf(text, FLOW_ADDR, f->family == 6 ? "[%s]:%u" : "%s:%u", addr, port);
	else
		snprintf(text, FLOW_ADDR, "%s", f->family ? addr : "-");
}

/* /etc/protocols is read once for each number. */
static const char *proto_name(__u8 proto)
{
	static char *name[256];
	const struct protoent *p;
	char number[8];

	if (name[proto])
		return name[proto];
	p = getprotobynumber(proto);
	snprintf(number, sizeof(number), "%u", proto);
	name[proto] = strdup(p ? p->p_name : number);
	return name[proto] ?: "-";
}

static void text_proto(const struct flow_flow *f, char *text, size_t size)
{

	if (!f->family)
		snprintf(text, size, "not-ip");
	else if (f->class & KCM_FL_C_LATER)
		snprintf(text, size, "%s frag", proto_name(f->proto));
	else if (f->class & KCM_FL_C_ICMP)
		snprintf(text, size, "%s %u/%u", f->family == 6 ? "icmp6" : "icmp", f->sport,
			 f->dport);
	else
		snprintf(text, size, "%s", proto_name(f->proto));
}

void flow_put_name(struct out *o, const struct flow_flow *f)
{
	char text[FLOW_ADDR];

	out_row(o);
	text_proto(f, text, sizeof(text));
	out_str(o, "proto", text);
	text_end(f, true, text);
	out_str(o, "source", text);
	text_end(f, false, text);
	out_str(o, "destination", text);
}

void flow_text_flags(__u8 flags, char *text, size_t size)
{
	static const char letters[] = "FSRPAUEC";
	size_t n = 0;

	for (int i = 0; i < 8 && n + 1 < size; i++)
		if (flags >> i & 1)
			text[n++] = letters[i];
	if (!n && size > 1)
		text[n++] = '-';
	text[n] = 0;
}

void flow_text_age(__u64 ms, char *text, size_t size)
{
	__u64 s = ms / 1000;

	if (s < 10)
		snprintf(text, size, "%llu.%llus", s, ms % 1000 / 100);
	else if (s < 600)
		snprintf(text, size, "%llus", s);
	else if (s < 36000)
		snprintf(text, size, "%llum", s / 60);
	else
		snprintf(text, size, "%lluh", s / 3600);
}

char *flow_line_text(const struct flow_inst *f, __u32 at)
{
	const struct kcm_fl_line *l = &f->line[at];

	if (l->at > f->conf.text_bytes || l->len > f->conf.text_bytes - l->at)
		return strdup("");
	return strndup(f->text + l->at, l->len);
}

const char *flow_line_name(const struct flow_inst *f, __u32 at, char *name)
{
	_cleanup_free_ char *text = flow_line_text(f, at);
	unsigned int prio;

	name[0] = 0;
	if (text && sscanf(text, "%u name %15s", &prio, name) != 2)
		name[0] = 0;
	return name;
}

/* ---- labels ---- */

int flow_labels_make(struct flow_labels *l, const struct flow_inst *f)
{
	l->f = f;
	l->line = calloc(f->conf.slots, sizeof(*l->line));
	l->text = calloc(f->conf.slots, sizeof(*l->text));
	if (!l->line || !l->text)
		return report(PROBLEM(.err = ENOMEM), "cannot name policies");
	for (__u32 i = 0; i < f->conf.policies; i++)
		if (flow_line_lives(f, i))
			l->line[f->line[i].slot] = i + 1;
	return 0;
}

const char *flow_label(struct flow_labels *l, __u32 slot)
{
	char name[FLOW_NAME], text[FLOW_NAME + 16] = "-";
	__u32 at;

	if (slot < KCM_FL_SLOT_FIRST)
		return slot == KCM_FL_SLOT_DROP ? "default drop" : "default pass";
	if (slot >= l->f->conf.slots)
		return "-";
	if (l->text[slot])
		return l->text[slot];
	at = l->line[slot];
	if (at && *flow_line_name(l->f, at - 1, name))
		snprintf(text, sizeof(text), "%u %s", l->f->line[at - 1].prio, name);
	else if (at)
		snprintf(text, sizeof(text), "%u", l->f->line[at - 1].prio);
	l->text[slot] = strdup(text);
	return l->text[slot] ?: "-";
}

void flow_labels_free(struct flow_labels *l)
{
	for (__u32 i = 0; l->text && i < l->f->conf.slots; i++)
		free(l->text[i]);
	free(l->text);
	free(l->line);
	l->text = NULL;
	l->line = NULL;
}
