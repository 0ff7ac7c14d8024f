// SPDX-License-Identifier: GPL-2.0
/* flow watch: packets that policies sample, as they come. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <time.h>
#include "cmd_flow.h"

struct watch {
	const struct cmd_args *args;
	struct flow_labels labels;
	FILE *pcap;
	uint64_t left;
	uint64_t lost; /* that were told */
	__s64 wall_ns; /* wall clock - CLOCK_MONOTONIC */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* ---- pcap: the classic format, with nanoseconds ---- */

static int pcap_begin(struct watch *w, const char *path)
{
	static const __u32 head[6] = { 0xa1b23c4d, 2 | 4 << 16, 0, 0, KCM_FL_SNAP, 1 };

	w->pcap = fopen(path, "we");
	if (w->pcap && fwrite(head, sizeof(head), 1, w->pcap) == 1)
		return 0;
	return report(PROBLEM(.err = errno, .where = path), "cannot write a capture");
}

static void pcap_put(struct watch *w, const struct kcm_fl_sample *s)
{
	__u64 ns = (__u64)((__s64)s->time_ns + w->wall_ns);
	__u32 head[4] = { (__u32)(ns / 1000000000), (__u32)(ns % 1000000000), s->snap, s->len };

	fwrite(head, sizeof(head), 1, w->pcap);
	fwrite(s + 1, 1, s->snap, w->pcap);
	fflush(w->pcap);
}

/* ---- lines ---- */

static void hex(const struct kcm_fl_sample *s, char *text, size_t size)
{
	const __u8 *p = (const void *)(s + 1);
	size_t n = 0;

	text[0] = 0;
	for (__u32 i = 0; i < s->snap && n + 3 < size; i++)
		n += (size_t)snprintf(text + n, size - n, "%02x", p[i]);
}

static int sample(void *arg, void *data, size_t size)
{
	const struct kcm_fl_sample *s = data;
	struct watch *w = arg;
	char bytes[2 * KCM_FL_SNAP + 1], ifname[IF_NAMESIZE] = "-", when[32];
	__u64 ns;
	time_t t;

	if (size < sizeof(*s) || s->snap > KCM_FL_SNAP || !w->left)
		return 0;
	ns = (__u64)((__s64)s->time_ns + w->wall_ns);
	t = (time_t)(ns / 1000000000);
	strftime(when, sizeof(when), "%H:%M:%S", localtime(&t));
	if_indextoname(s->ifindex, ifname);
	hex(s, bytes, out_format(w->args->out) == OUT_TEXT ? 2 * 54 + 1 : sizeof(bytes));
	if (w->pcap)
		pcap_put(w, s);
	if (out_format(w->args->out) == OUT_TEXT)
		printf("%s.%06llu %s policy %s len %u %s\n", when, ns % 1000000000 / 1000, ifname,
		       flow_label(&w->labels, s->slot), s->len, bytes);
	else
		printf("{\"time_ns\":%llu,\"interface\":\"%s\",\"policy\":\"%s\",\"len\":%u,"
		       "\"bytes\":\"%s\"}\n",
		       ns, ifname, flow_label(&w->labels, s->slot), s->len, bytes);
	fflush(stdout);
	w->left--;
	return 0;
}

static void tell_losses(struct watch *w)
{
	const struct flow_inst *f = w->labels.f;
	uint64_t lost = 0;

	for (__u32 cpu = 0; cpu < f->cpus; cpu++)
		lost += f->stat[cpu].samples_lost;
	if (lost > w->lost)
		warn("%llu samples were lost: more came than were read",
		     (unsigned long long)(lost - w->lost));
	w->lost = lost;
}

static int watch(struct watch *w)
{
	struct ring_buffer *rb = ring_buffer__new(w->labels.f->map_fd[FLOW_RING], sample, w, NULL);
	int n = 0;

	if (!rb)
		return flow_failed("cannot watch", w->args->pos[0], -errno, "");
	while (!interrupted && w->left && (n >= 0 || n == -EINTR)) {
		n = ring_buffer__poll(rb, 500);
		tell_losses(w);
	}
	ring_buffer__free(rb);
	return 0;
}

int flow_watch(const struct cmd_args *args)
{
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	struct sigaction sa = { .sa_handler = on_signal };
	struct watch w = { .args = args, .labels.f = &f };
	const char *pcap = args_str(args, "pcap", NULL);
	struct timespec wall, mono;
	int code = args_u64(args, "count", 1, UINT64_MAX, UINT64_MAX, &w.left);

	code = code ?: flow_open(&f, args->pos[0], FLOW_READ);
	code = code ?: flow_labels_make(&w.labels, &f);
	if (!code && pcap)
		code = pcap_begin(&w, pcap);
	if (code)
		return code;
	for (__u32 cpu = 0; cpu < f.cpus; cpu++)
		w.lost += f.stat[cpu].samples_lost;
	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_MONOTONIC, &mono);
	w.wall_ns = ((__s64)wall.tv_sec - mono.tv_sec) * 1000000000 + wall.tv_nsec - mono.tv_nsec;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	code = watch(&w);
	flow_labels_free(&w.labels);
	if (w.pcap)
		fclose(w.pcap);
	out_raw(args->out);
	return code;
}
