// SPDX-License-Identifier: GPL-2.0
/* Flows and policies in words. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include "cmd_flow.h"
#include "lib/flow_words.h"
#include "out_num.h"

/*
 * There may be 100,000 flows: printf() for each of their fields would be most of a command's time.
 * All of these write from @at on. Return: behind what they wrote, where no end is yet.
 */
static char *put_addr4(char *at, const __u8 *addr)
{
	for (int i = 0; i < 4; i++) {
		unsigned int v = addr[i];

		if (i)
			*at++ = '.';
		if (v > 99)
			*at++ = (char)('0' + v / 100);
		if (v > 9)
			*at++ = (char)('0' + v / 10 % 10);
		*at++ = (char)('0' + v % 10);
	}
	return at;
}

static char *put_hex(char *at, unsigned int v)
{
	static const char digits[] = "0123456789abcdef";

	for (int shift = v > 0xfff ? 12 : v > 0xff ? 8 : v > 0xf ? 4 : 0; shift >= 0; shift -= 4)
		*at++ = digits[v >> shift & 15];
	return at;
}

/* RFC 5952: the first of the longest runs of zeroes is left out, if it is of two words at least. */
static char *put_addr6(char *at, const __u8 *addr)
{
	int from = -1, most = 1, run = 0;
	unsigned int word[8];

	for (int i = 0; i < 8; i++) {
		word[i] = (unsigned int)addr[2 * i] << 8 | addr[2 * i + 1];
		run = word[i] ? 0 : run + 1;
		if (run > most) {
			most = run;
			from = i + 1 - run;
		}
	}
	/* With IPv4 at its end, maybe. */
	if (!from && most >= 5) {
		inet_ntop(AF_INET6, addr, at, INET6_ADDRSTRLEN);
		return at + strlen(at);
	}
	for (int i = 0; i < 8; i++) {
		if (i == from) {
			at = stpcpy(at, "::");
			i += most - 1;
			continue;
		}
		if (i && i != from + most)
			*at++ = ':';
		at = put_hex(at, word[i]);
	}
	return at;
}

/* "10.0.0.1:80", "[::1]:80", "10.0.0.1" where there are no ports. */
static void text_end(const struct flow_flow *f, bool source, char *text)
{
	const __u8 *addr = source ? f->saddr : f->daddr;
	bool ports = f->class & KCM_FL_C_PORTS, six = f->family == 6;

	if (!f->family) {
		strcpy(text, "-");
		return;
	}
	if (six && ports)
		*text++ = '[';
	text = six ? put_addr6(text, addr) : put_addr4(text, addr);
	if (ports) {
		text = stpcpy(text, six ? "]:" : ":");
		text = num_u64(text, source ? f->sport : f->dport);
	}
	*text = 0;
}

/* As rules call it; else /etc/protocols is read, once for each number. */
static const char *proto_name(__u8 proto)
{
	static const char *name[256];
	const struct protoent *p;
	char number[8];

	for (size_t i = 0; i < FLOW_PROTOS && !name[proto]; i++)
		if (flow_protos[i].number == proto)
			name[proto] = flow_protos[i].name;
	if (name[proto])
		return name[proto];
	p = getprotobynumber(proto);
	snprintf(number, sizeof(number), "%u", proto);
	name[proto] = strndup(p ? p->p_name : number, FLOW_ADDR / 2);
	return name[proto] ?: "-";
}

static void text_proto(const struct flow_flow *f, char *text)
{
	if (!f->family) {
		text = stpcpy(text, "not-ip");
	} else if (f->class & KCM_FL_C_ICMP && !(f->class & KCM_FL_C_LATER)) {
		text = stpcpy(text, f->family == 6 ? "icmp6 " : "icmp ");
		text = num_u64(text, f->sport);
		*text++ = '/';
		text = num_u64(text, f->dport);
	} else {
		text = stpcpy(text, proto_name(f->proto));
		if (f->class & KCM_FL_C_LATER)
			text = stpcpy(text, " frag");
	}
	*text = 0;
}

void flow_put_name(struct out *o, const struct flow_flow *f)
{
	char text[FLOW_ADDR];

	out_row(o);
	text_proto(f, text);
	out_str(o, "proto", text);
	text_end(f, true, text);
	out_str(o, "source", text);
	text_end(f, false, text);
	out_str(o, "destination", text);
}

void flow_text_flags(__u8 flags, char *text)
{
	char *at = text;

	for (const char *letter = "FSRPAUEC"; flags; letter++, flags >>= 1)
		if (flags & 1)
			*at++ = *letter;
	if (at == text)
		*at++ = '-';
	*at = 0;
}

void flow_text_age(__u64 ms, char *text)
{
	__u64 s = ms / 1000;
	__u64 unit = s < 600 ? 1 : s < 36000 ? 60 : 3600;

	text = num_u64(text, s / unit);
	if (s < 10) {
		*text++ = '.';
		*text++ = (char)('0' + ms % 1000 / 100);
	}
	*text++ = unit == 1 ? 's' : unit == 60 ? 'm' : 'h';
	*text = 0;
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
