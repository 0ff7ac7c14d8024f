// SPDX-License-Identifier: GPL-2.0
/* Every field of a socket. */
#include <netinet/in.h>
#include "cmd_sock_list.h"
#include "cmd_sock_names.h"

static void put_num(struct out *o, const char *key, enum sock_field_id id, const struct kcm_sock *s,
		    uint64_t now_ns)
{
	uint64_t num;

	if (sock_field_num(&sock_fields[id], s, now_ns, &num))
		out_u64(o, key, num);
	else
		out_str(o, key, NULL);
}

static void put_who(struct out *o, const struct kcm_sk_info *i)
{
	char comm[sizeof(i->comm) + 1] = "";

	memcpy(comm, i->comm, sizeof(i->comm));
	out_u64(o, "netns_cookie", i->netns_cookie);
	out_bool(o, "netns_own", i->netns_cookie == sock_netns_own());
	out_str(o, "netns", sock_netns_name(i->netns_cookie));
	out_u64(o, "cgroup_id", i->cgroup_id);
	out_str(o, "cgroup", sock_cgroup_path(i->cgroup_id));
	out_u64(o, "pid", i->pid);
	out_u64(o, "uid", i->uid);
	out_str(o, "comm", *comm ? comm : NULL);
}

static void put_messages(struct out *o, const struct sock_view *v, const struct kcm_sock *s)
{
	const struct sock_mux *m = sock_mux_of(s->cookie);
	const struct kcm_sk_framing *f =
		s->frame && s->frame < KCM_SK_FRAMES ? &v->framing[s->frame] : NULL;

	out_u64(o, "rx_msgs", s->rx_msgs);
	out_u64(o, "tx_msgs", s->tx_msgs);
	out_str(o, "frame", f && f->used ? f->text : NULL);
	out_str(o, "unframed", s->info.unframed ? sock_unframed_name(s->info.unframed) : NULL);
	out_str(o, "mux", m ? m->mux : NULL);
	if (m) {
		out_u64(o, "mux_msgs", m->msgs);
		out_u64(o, "mux_bytes", m->bytes);
	}
}

static void put_latency(struct out *o, const struct kcm_sk_info *i)
{
	out_group(o, "latency");
	out_u64(o, "n", i->lat_n);
	if (i->lat_n) {
		out_u64(o, "avg_ns", i->lat_ns_sum / i->lat_n);
		out_u64(o, "p50_ns", sock_hist_quantile(i->hist, 0.5, i->lat_ns_max));
		out_u64(o, "p99_ns", sock_hist_quantile(i->hist, 0.99, i->lat_ns_max));
		out_u64(o, "max_ns", i->lat_ns_max);
		out_u32s(o, "hist", i->hist, KCM_SK_HIST);
	}
	out_end(o);
}

static void put_labels(struct out *o, const struct kcm_sk_info *i)
{
	out_group(o, "labels");
	for (int l = 0; l < KCM_SK_LABELS; l++) {
		char key[KCM_SK_KEY + 1], value[KCM_SK_VALUE + 1];

		if (!*i->label[l].key)
			continue;
		snprintf(key, sizeof(key), "%.*s", KCM_SK_KEY, i->label[l].key);
		snprintf(value, sizeof(value), "%.*s", KCM_SK_VALUE, i->label[l].value);
		out_str(o, key, value);
	}
	out_end(o);
}

static void put_limit(struct out *o, const struct sock_view *v, const struct kcm_sock *s)
{
	const struct kcm_sk_info *i = &s->info;

	if (!i->limit_bytes && !i->limit_msgs && !i->limit_hits) {
		out_str(o, "limit", NULL);
		return;
	}
	out_group(o, "limit");
	out_u64(o, "rate_bytes", i->limit_bytes);
	out_u64(o, "msgs", i->limit_msgs);
	out_bool(o, "drop", s->flags & KCM_SKF_LIMIT_DROP);
	if (i->limit_rule && i->limit_rule <= KCM_SK_RULES)
		out_u64(o, "rule", v->rules[i->limit_rule - 1].used);
	else
		out_str(o, "rule", NULL);
	out_u64(o, "hits", i->limit_hits);
	out_end(o);
}

void sock_json(struct out *o, const struct sock_view *v, const struct kcm_sock *s, uint64_t now_ns)
{
	const struct kcm_sk_info *i = &s->info;
	char local[SOCK_ADDR], peer[SOCK_ADDR];

	sock_addr_text(i->family, i->laddr, i->lport, local);
	sock_addr_text(i->family, i->raddr, i->rport, peer);
	out_u64(o, "cookie", s->cookie);
	out_str(o, "proto", sock_proto_name(s->proto));
	out_str(o, "state", sock_state_name(s->state));
	out_str(o, "role", sock_role_name(s->role));
	out_str(o, "family", i->family == AF_INET6 ? "inet6" : "inet");
	out_str(o, "local", local);
	out_str(o, "peer", peer);
	out_u64(o, "lport", i->lport);
	out_u64(o, "rport", i->rport);
	put_who(o, i);
	put_num(o, "age_ns", SOCK_F_AGE, s, now_ns);
	put_num(o, "idle_ns", SOCK_F_IDLE, s, now_ns);
	out_u64(o, "rx_bytes", s->rx_bytes);
	out_u64(o, "tx_bytes", s->tx_bytes);
	out_u64(o, "rx_segs", s->rx_segs);
	out_u64(o, "tx_segs", s->tx_segs);
	put_messages(o, v, s);
	out_u64(o, "srtt_us", i->srtt_us);
	out_u64(o, "min_rtt_us", i->min_rtt_us);
	out_u64(o, "retrans", i->retrans);
	out_u64(o, "cwnd", i->cwnd);
	out_u64(o, "mss", i->mss);
	out_u64(o, "rate", i->rate_bytes);
	out_u64(o, "connect_us", i->connect_us);
	out_u64(o, "err", i->err);
	put_latency(o, i);
	put_labels(o, i);
	put_limit(o, v, s);
	out_u64(o, "generation", i->generation);
	out_u64(o, "migrations", i->migrations);
	out_bool(o, "adopted", s->flags & KCM_SKF_ADOPTED);
	if (s->slot == KCM_SK_SLOT_NONE)
		out_str(o, "slot", NULL);
	else
		out_u64(o, "slot", s->slot);
	out_str(o, "stored", s->slot == KCM_SK_SLOT_NONE ? "sk_storage" : "slot");
}
