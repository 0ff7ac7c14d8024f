/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which sockets: words of the command line as conditions that must all hold.
 *
 *	port 80,443  peer 10.0.0.0/8  comm nginx  state established  label tenant=gold
 *	"idle > 30s"  rtt>5ms  retrans gt 10  rx_bytes ge 1M  not adopted  12345 (a cookie)
 *
 * A condition may be one word or several. Values with commas between them: any of them.
 */
#ifndef KCM_CMD_SOCK_FILTER_H
#define KCM_CMD_SOCK_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sock.h"
#include "util.h"

#define SOCK_TERMS  16
#define SOCK_VALUES 16

enum sock_kind {
	SOCK_KIND_NUMBER,
	SOCK_KIND_BYTES, /* 1M */
	SOCK_KIND_RATE,	 /* 10Mbit, 1M: bytes a second */
	SOCK_KIND_TIME,	 /* 30s: ns */
	SOCK_KIND_PORT,
	SOCK_KIND_ADDR,	  /* 10.0.0.0/8, [::1]:80 */
	SOCK_KIND_WORD,	  /* of a list */
	SOCK_KIND_TEXT,	  /* with * and ? */
	SOCK_KIND_LABEL,  /* key, key=value */
	SOCK_KIND_CGROUP, /* path or id: and all below it */
	SOCK_KIND_NETNS,  /* name, path or cookie */
	SOCK_KIND_FLAG,	  /* has no value */
};

/*
 * Everything that filters and --sort know: name, other name, kind, what a value looks like, help.
 * The names are those of the JSON members where there is one.
 */
#define SOCK_FIELDS(F)                                                                             \
	F(COOKIE, "cookie", "id", NUMBER, "cookie 4711", "the socket's cookie")                    \
	F(PORT, "port", NULL, PORT, "port 80,443", "local or remote port")                         \
	F(LPORT, "lport", "sport", PORT, "lport 80", "local port")                                 \
	F(RPORT, "rport", "dport", PORT, "rport 5432", "remote port")                              \
	F(ADDR, "addr", "host", ADDR, "addr 10.0.0.0/8", "local or remote address")                \
	F(LADDR, "laddr", "local", ADDR, "laddr 10.0.0.1", "local address")                        \
	F(RADDR, "peer", "raddr", ADDR, "peer 10.0.0.0/8", "remote address")                       \
	F(CGROUP, "cgroup", NULL, CGROUP, "cgroup system.slice/nginx.service",                     \
	  "cgroup or one below it")                                                                \
	F(NETNS, "netns", NULL, NETNS, "netns blue", "network namespace")                          \
	F(PID, "pid", NULL, NUMBER, "pid 1234", "process that opened it")                          \
	F(UID, "uid", NULL, NUMBER, "uid 1000", "its user")                                        \
	F(COMM, "comm", "command", TEXT, "comm 'nginx*'", "its command")                           \
	F(STATE, "state", NULL, WORD, "state established", "state of the connection")              \
	F(ROLE, "role", NULL, WORD, "role server", "client, server or listener")                   \
	F(PROTO, "proto", NULL, WORD, "proto tcp", "tcp or udp")                                   \
	F(FAMILY, "family", NULL, WORD, "family inet6", "inet or inet6")                           \
	F(LABEL, "label", NULL, LABEL, "label tenant=gold", "a label, with any value or this one") \
	F(IDLE, "idle", NULL, TIME, "\"idle > 30s\"", "time since the last segment")               \
	F(AGE, "age", NULL, TIME, "\"age > 1h\"", "time since it was opened")                      \
	F(RX_BYTES, "rx_bytes", NULL, BYTES, "\"rx_bytes > 1M\"", "payload received")              \
	F(TX_BYTES, "tx_bytes", NULL, BYTES, "\"tx_bytes > 1M\"", "payload sent")                  \
	F(BYTES, "bytes", NULL, BYTES, "\"bytes > 1M\"", "both")                                   \
	F(RX_MSGS, "rx_msgs", NULL, NUMBER, "\"rx_msgs > 1000\"", "messages received")             \
	F(TX_MSGS, "tx_msgs", NULL, NUMBER, "\"tx_msgs > 1000\"", "messages sent")                 \
	F(MSGS, "msgs", NULL, NUMBER, "\"msgs > 1000\"", "both")                                   \
	F(RX_SEGS, "rx_segs", NULL, NUMBER, "\"rx_segs > 1000\"", "segments received")             \
	F(TX_SEGS, "tx_segs", NULL, NUMBER, "\"tx_segs > 1000\"", "segments sent")                 \
	F(RTT, "srtt", "rtt", TIME, "\"rtt > 5ms\"", "smoothed round-trip time")                   \
	F(MIN_RTT, "min_rtt", "minrtt", TIME, "\"min_rtt > 5ms\"", "least round-trip time")        \
	F(RETRANS, "retrans", NULL, NUMBER, "\"retrans > 10\"", "segments sent again")             \
	F(CWND, "cwnd", NULL, NUMBER, "\"cwnd < 4\"", "congestion window, segments")               \
	F(MSS, "mss", NULL, NUMBER, "\"mss < 1000\"", "segment size")                              \
	F(RATE, "rate", "delivery_rate", RATE, "\"rate > 10Mbit\"", "the kernel's delivery rate")  \
	F(CONNECT, "connect", NULL, TIME, "\"connect > 100ms\"", "SYN to established")             \
	F(LAT_AVG, "latency", "avg", TIME, "\"latency > 5ms\"", "average time to an answer")       \
	F(LAT_P50, "p50", NULL, TIME, "\"p50 > 5ms\"", "median of it")                             \
	F(LAT_P99, "p99", NULL, TIME, "\"p99 > 50ms\"", "99th percentile of it")                   \
	F(LAT_MAX, "lat_max", "max", TIME, "\"lat_max > 1s\"", "longest of it")                    \
	F(LIMIT_HITS, "limit_hits", "hits", NUMBER, "\"limit_hits > 0\"",                          \
	  "segments that a limit held back")                                                       \
	F(GENERATION, "generation", NULL, NUMBER, "generation 3", "of the server process")         \
	F(MIGRATIONS, "migrations", NULL, NUMBER, "\"migrations > 0\"",                            \
	  "moves to another server process")                                                       \
	F(ADOPTED, "adopted", NULL, FLAG, "adopted", "older than the programs")                    \
	F(BEYOND, "beyond", NULL, FLAG, "beyond", "state is in sk_storage, not in a slot")         \
	F(FRAMED, "framed", NULL, FLAG, "framed", "messages are counted")                          \
	F(UNFRAMED, "unframed", NULL, FLAG, "unframed", "the framing was lost")                    \
	F(LIMITED, "limited", NULL, FLAG, "limited", "has a limit")

enum sock_field_id {
#define SOCK_F(id, ...) SOCK_F_##id,
	SOCK_FIELDS(SOCK_F)
#undef SOCK_F
		SOCK_F_COUNT
};

struct sock_field {
	enum sock_field_id id;
	const char *name;
	const char *alias;
	enum sock_kind kind;
	const char *example;
	const char *help;
};

extern const struct sock_field sock_fields[SOCK_F_COUNT];

enum sock_op {
	SOCK_EQ,
	SOCK_NE,
	SOCK_LT,
	SOCK_LE,
	SOCK_GT,
	SOCK_GE,
};

struct sock_value {
	uint64_t num;	  /* number, bytes, ns, port, enum; id of a cgroup; cookie of a netns */
	char text[128];	  /* glob; label's key; path of a cgroup from the mount point, "/a/b" */
	char value[32];	  /* of a label; "" = any */
	uint8_t addr[16]; /* network order */
	uint8_t bits;	  /* of the prefix */
	uint16_t family;
	uint16_t port; /* behind an address; 0 = any */
};

struct sock_term {
	const struct sock_field *field;
	enum sock_op op;
	bool negate;
	unsigned int n;
	struct sock_value value[SOCK_VALUES]; /* any of them */
};

struct sock_filter {
	unsigned int n;
	struct sock_term term[SOCK_TERMS]; /* all of them */
	uint64_t now_ns;		   /* what idle and age are measured by: CLOCK_MONOTONIC */
};

/**
 * sock_filter_parse() - conditions of @n words
 * Sets @f->now_ns; who keeps the filter for long sets it anew.
 * Return: 0, or the exit code after an error line.
 */
int sock_filter_parse(struct sock_filter *f, char *const *words, int n);

/* The same, but the error is given to the caller, who has a screen. Return: 0 or -EINVAL. */
int sock_filter_parse_quiet(struct sock_filter *f, char *const *words, int n, char *err,
			    size_t size);

bool sock_filter_match(const struct sock_filter *f, const struct kcm_sock *s);

/* By name or other name; NULL if there is none. */
const struct sock_field *sock_field_find(const char *name, size_t len);

/**
 * sock_field_num() - a field as a number: what it is compared and sorted by
 * Times in ns, rates in bytes a second.
 * Return: false if the field has no number, or it is not known of this socket.
 */
bool sock_field_num(const struct sock_field *field, const struct kcm_sock *s, uint64_t now_ns,
		    uint64_t *num);

/* Order of two sockets by a field, ascending; not known is least. */
int sock_field_cmp(const struct sock_field *field, const struct kcm_sock *a,
		   const struct kcm_sock *b, uint64_t now_ns);

/* Time below which @share of the answers came, estimated inside a bucket; 0 = no answers. */
uint64_t sock_hist_quantile(const __u32 hist[KCM_SK_HIST], double share, uint64_t max_ns);

/* "30s", "1.5ms"; "10Mbit", "1M"; "64K". Return: false if it is none. */
bool sock_text_time(const char *text, uint64_t *ns);
bool sock_text_rate(const char *text, uint64_t *bytes);
bool sock_text_bytes(const char *text, uint64_t *bytes);

#endif
