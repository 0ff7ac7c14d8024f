// SPDX-License-Identifier: GPL-2.0
/* What filters and --sort know of a socket. */
#include "cmd_sock_filter.h"
#include "cmd_sock_names.h"

#define NS_PER_US 1000ULL

const struct sock_field sock_fields[SOCK_F_COUNT] = {
#define SOCK_F(id, name, alias, kind, example, help) \
	{ SOCK_F_##id, name, alias, SOCK_KIND_##kind, example, help },
	SOCK_FIELDS(SOCK_F)
#undef SOCK_F
};

const struct sock_field *sock_field_find(const char *name, size_t len)
{
	for (size_t i = 0; i < SOCK_F_COUNT; i++) {
		const struct sock_field *f = &sock_fields[i];

		if ((strlen(f->name) == len && !strncmp(f->name, name, len)) ||
		    (f->alias && strlen(f->alias) == len && !strncmp(f->alias, name, len)))
			return f;
	}
	return NULL;
}

uint64_t sock_hist_quantile(const __u32 hist[KCM_SK_HIST], double share, uint64_t max_ns)
{
	uint64_t total = 0, below = 0;
	double want;

	for (unsigned int b = 0; b < KCM_SK_HIST; b++)
		total += hist[b];
	if (!total)
		return 0;
	want = share * (double)total;
	for (unsigned int b = 0; b + 1 < KCM_SK_HIST; b++) {
		uint64_t from = b ? NS_PER_US << (b - 1) : 0, to = NS_PER_US << b, ns;

		if (!hist[b] || (double)(below + hist[b]) < want) {
			below += hist[b];
			continue;
		}
		ns = from +
		     (uint64_t)((want - (double)below) / (double)hist[b] * (double)(to - from));
		return max_ns && ns > max_ns ? max_ns : ns;
	}
	return max_ns;
}

/* The programs take the time of day coarsely: it may be a little ahead of ours. */
static bool since(uint64_t then_ns, uint64_t now_ns, uint64_t *num)
{
	*num = now_ns > then_ns ? now_ns - then_ns : 0;
	return then_ns != 0;
}

static bool latency(enum sock_field_id id, const struct kcm_sk_info *info, uint64_t *num)
{
	if (!info->lat_n)
		return false;
	if (id == SOCK_F_LAT_AVG)
		*num = info->lat_ns_sum / info->lat_n;
	else if (id == SOCK_F_LAT_MAX)
		*num = info->lat_ns_max;
	else
		*num = sock_hist_quantile(info->hist, id == SOCK_F_LAT_P50 ? 0.5 : 0.99,
					  info->lat_ns_max);
	return true;
}

static bool known(uint64_t value, uint64_t *num)
{
	*num = value;
	return value != 0;
}

/* Of TCP only, and not before the kernel has measured it. */
static bool tcp_num(enum sock_field_id id, const struct kcm_sock *s, uint64_t *num)
{
	const struct kcm_sk_info *i = &s->info;

	*num = id == SOCK_F_RETRANS ? i->retrans : 0;
	if (s->proto != KCM_SK_TCP || s->state == KCM_SK_LISTEN)
		return false;
	switch ((int)id) {
	case SOCK_F_RTT:
		return known(i->srtt_us * NS_PER_US, num);
	case SOCK_F_MIN_RTT:
		return known(i->min_rtt_us * NS_PER_US, num);
	case SOCK_F_CWND:
		return known(i->cwnd, num);
	case SOCK_F_MSS:
		return known(i->mss, num);
	case SOCK_F_RATE:
		return known(i->rate_bytes, num);
	case SOCK_F_CONNECT:
		return known(i->connect_us * NS_PER_US, num);
	}
	return true;
}

static bool flag_num(enum sock_field_id id, const struct kcm_sock *s)
{
	switch ((int)id) {
	case SOCK_F_ADOPTED:
		return s->flags & KCM_SKF_ADOPTED;
	case SOCK_F_BEYOND:
		return s->slot == KCM_SK_SLOT_NONE && s->role != KCM_ROLE_LISTENER;
	case SOCK_F_FRAMED:
		return s->frame && !s->info.unframed;
	case SOCK_F_UNFRAMED:
		return s->info.unframed != KCM_UNFRAMED_NO;
	default:
		return s->info.limit_bytes || s->info.limit_msgs;
	}
}

bool sock_field_num(const struct sock_field *field, const struct kcm_sock *s, uint64_t now_ns,
		    uint64_t *num)
{
	const struct kcm_sk_info *i = &s->info;

	switch (field->id) {
	case SOCK_F_COOKIE:
		return known(s->cookie, num);
	case SOCK_F_LPORT:
	case SOCK_F_PORT:
		return known(i->lport, num);
	case SOCK_F_RPORT:
		return known(i->rport, num);
	case SOCK_F_CGROUP:
		return known(i->cgroup_id, num);
	case SOCK_F_NETNS:
		return known(i->netns_cookie, num);
	case SOCK_F_PID:
		return known(i->pid, num);
	case SOCK_F_STATE:
		*num = s->state;
		return true;
	case SOCK_F_ROLE:
		*num = s->role;
		return true;
	case SOCK_F_PROTO:
		return known(s->proto, num);
	case SOCK_F_FAMILY:
		return known(i->family, num);
	case SOCK_F_UID:
		*num = i->uid;
		return i->pid != 0;
	case SOCK_F_IDLE: /* the coarse clock may be behind that of the start */
		return since(s->last_ns > i->start_ns ? s->last_ns : i->start_ns, now_ns, num);
	case SOCK_F_AGE:
		return since(i->start_ns, now_ns, num);
	case SOCK_F_RX_BYTES:
		*num = s->rx_bytes;
		return true;
	case SOCK_F_TX_BYTES:
		*num = s->tx_bytes;
		return true;
	case SOCK_F_BYTES:
		*num = s->rx_bytes + s->tx_bytes;
		return true;
	case SOCK_F_RX_MSGS:
		*num = s->rx_msgs;
		return true;
	case SOCK_F_TX_MSGS:
		*num = s->tx_msgs;
		return true;
	case SOCK_F_MSGS:
		*num = s->rx_msgs + s->tx_msgs;
		return true;
	case SOCK_F_RX_SEGS:
		*num = s->rx_segs;
		return true;
	case SOCK_F_TX_SEGS:
		*num = s->tx_segs;
		return true;
	case SOCK_F_LIMIT_HITS:
		*num = i->limit_hits;
		return true;
	case SOCK_F_GENERATION:
		*num = i->generation;
		return true;
	case SOCK_F_MIGRATIONS:
		*num = i->migrations;
		return true;
	case SOCK_F_LAT_AVG:
	case SOCK_F_LAT_P50:
	case SOCK_F_LAT_P99:
	case SOCK_F_LAT_MAX:
		return latency(field->id, i, num);
	case SOCK_F_RTT:
	case SOCK_F_MIN_RTT:
	case SOCK_F_RETRANS:
	case SOCK_F_CWND:
	case SOCK_F_MSS:
	case SOCK_F_RATE:
	case SOCK_F_CONNECT:
		return tcp_num(field->id, s, num);
	case SOCK_F_ADOPTED:
	case SOCK_F_BEYOND:
	case SOCK_F_FRAMED:
	case SOCK_F_UNFRAMED:
	case SOCK_F_LIMITED:
		*num = flag_num(field->id, s);
		return true;
	case SOCK_F_ADDR:
	case SOCK_F_LADDR:
	case SOCK_F_RADDR:
	case SOCK_F_COMM:
	case SOCK_F_LABEL:
	case SOCK_F_COUNT:
		break;
	}
	*num = 0;
	return false;
}

static int addr_cmp(const struct kcm_sk_info *a, const struct kcm_sk_info *b, bool remote)
{
	int order = a->family < b->family ? -1 : a->family > b->family;

	order = order ?: memcmp(remote ? a->raddr : a->laddr, remote ? b->raddr : b->laddr, 16);
	return order ?: (remote ? a->rport - b->rport : a->lport - b->lport);
}

int sock_field_cmp(const struct sock_field *field, const struct kcm_sock *a,
		   const struct kcm_sock *b, uint64_t now_ns)
{
	const char *x, *y;
	uint64_t m, n;
	bool has_m, has_n;

	switch ((int)field->id) {
	case SOCK_F_COMM:
		return strncmp(a->info.comm, b->info.comm, sizeof(a->info.comm));
	case SOCK_F_LABEL:
		return memcmp(a->info.label, b->info.label, sizeof(a->info.label));
	case SOCK_F_RADDR:
		return addr_cmp(&a->info, &b->info, true);
	case SOCK_F_ADDR:
	case SOCK_F_LADDR:
		return addr_cmp(&a->info, &b->info, false);
	case SOCK_F_CGROUP:
		x = sock_cgroup_path(a->info.cgroup_id);
		y = sock_cgroup_path(b->info.cgroup_id);
		return strcmp(x ? x : "", y ? y : "");
	}
	has_m = sock_field_num(field, a, now_ns, &m);
	has_n = sock_field_num(field, b, now_ns, &n);
	if (has_m != has_n)
		return has_m ? 1 : -1;
	return !has_m || m == n ? 0 : m < n ? -1 : 1;
}
