/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sockiter_text.bpf.h - sockets as text and as JSON, in files to `cat`.
 *
 * Each row is copied before it is printed, see sockiter_row.bpf.h. comm and labels are anybody's
 * bytes: as text unprintable ones are `?`; as JSON they are escaped, and what is no UTF-8 is taken
 * for Latin-1, so that every line is valid.
 */
#ifndef KCM_SOCKITER_TEXT_BPF_H
#define KCM_SOCKITER_TEXT_BPF_H

#define TEXT_MASK (KCM_SK_TEXT - 1)
#define TEXT_ROOM 8 /* the longest thing put at a time, and the end */
#define IDLE_ROUND \
	524288 /* the kernel ends a read that met 1,000,000 elements and printed nothing */

static const char text_states[16][16] = {
	"new",		"established", "syn-sent",   "syn-recv", "fin-wait-1", "fin-wait-2",
	"time-wait",	"closed",      "close-wait", "last-ack", "listen",     "closing",
	"new-syn-recv", "?",	       "?",	     "?",
};
static const char text_roles[4][16] = { "unknown", "client", "server", "listener" };
static const char text_unframed[8][16] = { "no",      "protocol", "size", "missed",
					   "reorder", "opaque",	  "?",	  "?" };

/* How many bytes behind @lead belong to its character; 0: not UTF-8, or ASCII. */
static __always_inline __u32 utf8_more(__u32 lead)
{
	if (lead >= 0xc2 && lead <= 0xdf)
		return 1;
	if (lead >= 0xe0 && lead <= 0xef)
		return 2;
	return lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
}

/* Neither overlong, nor a surrogate, nor above U+10FFFF. */
static __always_inline int utf8_second_ok(__u32 lead, __u32 c)
{
	return c >= (lead == 0xe0   ? 0xa0
		     : lead == 0xf0 ? 0x90
				    : 0x80) &&
	       c <= (lead == 0xed   ? 0x9f
		     : lead == 0xf4 ? 0x8f
				    : 0xbf);
}

static __always_inline char hex_digit(__u32 v)
{
	v &= 15;
	return v < 10 ? '0' + v : 'a' + v - 10;
}

static __always_inline __u32 byte_at(const struct kcm_sk_row *r, __u32 which, __u32 i)
{
	__u32 label = ((which - 1) >> 1) & (KCM_SK_LABELS - 1);

	if (!which)
		return i < sizeof(r->sock.info.comm) ? (__u8)r->sock.info.comm[i] : 0;
	if (which & 1)
		return i < KCM_SK_KEY ? (__u8)r->sock.info.label[label].key[i] : 0;
	return i < KCM_SK_VALUE ? (__u8)r->sock.info.label[label].value[i] : 0;
}

/* Is the character that begins at @i whole and valid? Return: bytes behind the first, 0: no. */
static __always_inline __u32 utf8_here(const volatile __u8 *from)
{
	__u32 c = from[0], more = utf8_more(c);

	if (!more || !utf8_second_ok(c, from[1]))
		return 0;
	if (more >= 2 && (from[2] & 0xc0) != 0x80)
		return 0;
	if (more == 3 && (from[3] & 0xc0) != 0x80)
		return 0;
	return more;
}

struct text_run {
	struct kcm_sk_scratch *s;
	char *to;
	int json;
};

/* One byte of s->from. Its state is in the scratch: one look of the verifier is enough. */
static long text_byte(__u32 i, struct text_run *r)
{
	struct kcm_sk_scratch *s = r->s;
	__u32 c, here = s->at, rest = s->whole;
	char *to = r->to;

	if (i >= KCM_SK_VALUE)
		return 1;
	c = s->from[i];
	if (!c || here > KCM_SK_TEXT - TEXT_ROOM)
		return 1;
	if (!rest && c >= 0x80) {
		rest = utf8_here(s->from + i);
		rest += !!rest; /* and this byte */
	}
	if (rest || (c >= 0x20 && c < 0x7f && !(r->json && (c == '"' || c == '\\')))) {
		to[here] = c;
		s->at = here + 1;
		s->whole = rest ? rest - 1 : 0;
	} else if (!r->json) {
		to[here] = '?';
		s->at = here + 1;
	} else if (c == '"' || c == '\\') {
		to[here] = '\\';
		to[here + 1] = c;
		s->at = here + 2;
	} else {
		to[here] = '\\';
		to[here + 1] = 'u';
		to[here + 2] = '0';
		to[here + 3] = '0';
		to[here + 4] = hex_digit(c >> 4);
		to[here + 5] = hex_digit(c);
		s->at = here + 6;
	}
	return 0;
}

/*
 * text[which] = comm (0), key (odd) or value (even) of a label, without what would break the
 * output. A function: verified once.
 */
__noinline int kcm_row_text(struct kcm_sk_scratch *s, __u32 which, int json)
{
	struct text_run r = { .s = s, .json = json };

	if (!s || which >= KCM_SK_TEXTS)
		return -1;
	r.to = s->text[which];
	s->at = 0;
	s->whole = 0;
	for (__u32 i = 0; i < KCM_SK_VALUE; i++)
		s->from[i] = byte_at(&s->row, which, i);
	bpf_loop(KCM_SK_VALUE, text_byte, &r, 0);
	r.to[s->at & TEXT_MASK] = '\0';
	return 0;
}

static __always_inline void row_texts(struct kcm_sk_scratch *s, int json)
{
	for (__u32 i = 0; i < KCM_SK_TEXTS; i++)
		kcm_row_text(s, i, json);
}

static __always_inline const char *proto_text(const struct kcm_sock *k)
{
	return k->proto == KCM_SK_UDP ? "udp" : "tcp";
}

static __always_inline void show_head(struct seq_file *seq)
{
	BPF_SEQ_PRINTF(seq, "PROTO STATE        %14s %14s %12s %12s ", "RECV", "SENT", "MSGS-IN",
		       "MSGS-OUT");
	BPF_SEQ_PRINTF(seq, "%-22s %-22s %10s  PROCESS LABELS\n", "LOCAL", "PEER", "RTT(ms)");
}

static __always_inline void show_row(struct seq_file *seq, struct kcm_sk_scratch *s)
{
	struct kcm_sk_row *r = &s->row;
	struct kcm_sock *k = &r->sock;
	struct kcm_sk_info *i = &k->info;

	row_texts(s, 0);
	BPF_SEQ_PRINTF(seq, "%-5s %-12s %14llu %14llu %12llu %12llu %-22s %-22s %6u.%03u  ",
		       proto_text(k), text_states[k->state & 15], k->rx_bytes, k->tx_bytes,
		       k->rx_msgs, k->tx_msgs, r->local, r->peer, i->srtt_us / 1000,
		       i->srtt_us % 1000);
	BPF_SEQ_PRINTF(seq, "%u/%s", i->pid, s->text[0]);
	for (int l = 0; l < KCM_SK_LABELS; l++)
		if (i->label[l].key[0])
			BPF_SEQ_PRINTF(seq, " %s=%s", s->text[1 + 2 * l], s->text[2 + 2 * l]);
	BPF_SEQ_PRINTF(seq, "\n");
}

static __always_inline void json_hist(struct seq_file *seq, const struct kcm_sk_info *i)
{
	const __u32 *h = i->hist;

	BPF_SEQ_PRINTF(seq, "\"latency\":{\"n\":%llu,\"sum_ns\":%llu,\"max_ns\":%llu,\"hist\":[",
		       i->lat_n, i->lat_ns_sum, i->lat_ns_max);
	for (int n = KCM_SK_HIST / 8; n > 0; n--, h += 8)
		BPF_SEQ_PRINTF(seq, "%u,%u,%u,%u,%u,%u,%u,%u%s", h[0], h[1], h[2], h[3], h[4], h[5],
			       h[6], h[7], n > 1 ? "," : "");
	BPF_SEQ_PRINTF(seq, "]},");
}

static __always_inline void json_labels(struct seq_file *seq, const struct kcm_sk_scratch *s)
{
	int some = 0;

	BPF_SEQ_PRINTF(seq, "\"labels\":{");
	for (int l = 0; l < KCM_SK_LABELS; l++) {
		if (!s->row.sock.info.label[l].key[0])
			continue;
		BPF_SEQ_PRINTF(seq, "%s\"%s\":\"%s\"", some ? "," : "", s->text[1 + 2 * l],
			       s->text[2 + 2 * l]);
		some = 1;
	}
	BPF_SEQ_PRINTF(seq, "},");
}

/* Keys as in `kcmtool sock show -j`. */
static __always_inline void json_row(struct seq_file *seq, struct kcm_sk_scratch *s)
{
	struct kcm_sk_row *r = &s->row;
	struct kcm_sock *k = &r->sock;
	struct kcm_sk_info *i = &k->info;
	__u64 now = bpf_ktime_get_ns();

	row_texts(s, 1);
	BPF_SEQ_PRINTF(seq,
		       "{\"cookie\":%llu,\"proto\":\"%s\",\"state\":\"%s\",\"role\":\"%s\","
		       "\"family\":\"%s\",\"local\":\"%s\",\"peer\":\"%s\",\"lport\":%u,"
		       "\"rport\":%u,",
		       k->cookie, proto_text(k), text_states[k->state & 15],
		       text_roles[k->role & 3], i->family == KCM_AF_INET6 ? "inet6" : "inet",
		       r->local, r->peer, i->lport, i->rport);
	BPF_SEQ_PRINTF(seq,
		       "\"netns_cookie\":%llu,\"cgroup_id\":%llu,\"pid\":%u,\"uid\":%u,"
		       "\"comm\":\"%s\",",
		       i->netns_cookie, i->cgroup_id, i->pid, i->uid, s->text[0]);
	if (i->start_ns)
		BPF_SEQ_PRINTF(seq, "\"age_ns\":%llu,", now > i->start_ns ? now - i->start_ns : 0);
	else
		BPF_SEQ_PRINTF(seq, "\"age_ns\":null,");
	BPF_SEQ_PRINTF(seq,
		       "\"idle_ns\":%llu,\"rx_bytes\":%llu,\"tx_bytes\":%llu,\"rx_segs\":%u,"
		       "\"tx_segs\":%u,\"rx_msgs\":%llu,\"tx_msgs\":%llu,\"frame_number\":%u,",
		       now > k->last_ns ? now - k->last_ns : 0, k->rx_bytes, k->tx_bytes,
		       k->rx_segs, k->tx_segs, k->rx_msgs, k->tx_msgs, k->frame);
	BPF_SEQ_PRINTF(seq,
		       "\"unframed\":\"%s\",\"srtt_us\":%u,\"min_rtt_us\":%u,\"retrans\":%u,"
		       "\"cwnd\":%u,\"mss\":%u,\"rate\":%llu,\"connect_us\":%u,\"err\":%u,",
		       text_unframed[i->unframed & 7], i->srtt_us, i->min_rtt_us, i->retrans,
		       i->cwnd, i->mss, i->rate_bytes, i->connect_us, i->err);
	json_hist(seq, i);
	json_labels(seq, s);
	BPF_SEQ_PRINTF(seq,
		       "\"limit_bytes\":%llu,\"limit_msgs\":%u,\"limit_drop\":%s,"
		       "\"limit_hits\":%llu,\"generation\":%u,\"migrations\":%u,\"adopted\":%s,"
		       "\"stored\":\"%s\"}\n",
		       i->limit_bytes, i->limit_msgs, r->dropping ? "true" : "false", i->limit_hits,
		       i->generation, i->migrations, r->adopted ? "true" : "false",
		       k->slot == KCM_SK_SLOT_NONE ? "sk_storage" : "slot");
}

/* One slot in a call. */
static __always_inline int text_slot(struct bpf_iter__bpf_map_elem *ctx, int json)
{
	const struct kcm_sk_hot *hot = ctx->value;
	struct seq_file *seq = ctx->meta->seq;
	struct kcm_sk_scratch *s;
	__u32 *key = ctx->key, slot, index;

	if (!hot || !key)
		return 0;
	slot = *key;
	if (!json && !ctx->meta->seq_num)
		show_head(seq);
	else if (slot % IDLE_ROUND == IDLE_ROUND - 1)
		BPF_SEQ_PRINTF(seq, "\n");
	if (!hot->tag || slot >= kcm_sk_cfg.slots)
		return 0;
	s = scratch_get(ctx->meta->session_id, &index);
	if (!s)
		return 0;
	if (row_slot(s, slot)) {
		if (json)
			json_row(seq, s);
		else
			show_row(seq, s);
	}
	scratch_put(s);
	return 0;
}

static __always_inline int text_store(struct bpf_iter__bpf_sk_storage_map *ctx, int json)
{
	struct kcm_sk_store *store = ctx->value;
	struct seq_file *seq = ctx->meta->seq;
	struct sock *sk = ctx->sk;
	struct kcm_sk_scratch *s;
	__u32 index;

	if (!sk || !store || store->hot.state == KCM_SK_NEW)
		return 0;
	s = scratch_get(ctx->meta->session_id, &index);
	if (!s)
		return 0;
	if (row_store(s, sk, store)) {
		if (json)
			json_row(seq, s);
		else
			show_row(seq, s);
	}
	scratch_put(s);
	return 0;
}

SEC("iter/bpf_map_elem")
int kcm_sk_show(struct bpf_iter__bpf_map_elem *ctx)
{
	return text_slot(ctx, 0);
}

SEC("iter/bpf_sk_storage_map")
int kcm_sk_show_rest(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return text_store(ctx, 0);
}

SEC("iter/bpf_map_elem")
int kcm_sk_json(struct bpf_iter__bpf_map_elem *ctx)
{
	return text_slot(ctx, 1);
}

SEC("iter/bpf_sk_storage_map")
int kcm_sk_json_rest(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return text_store(ctx, 1);
}

#endif
