// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_pcap.c - captures, by libpcap. */
#include <dlfcn.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include "../util.h"
#include "flow_pcap.h"

#define LIBPCAP "libpcap.so.0.8" /* Debian's name of version 1 */
#define OTHERS	"libpcap.so.1"	 /* other distributions' */

struct flow_pcap {
	void *lib;
	pcap_t *p;
	__typeof__(pcap_fopen_offline_with_tstamp_precision) *fopen_offline;
	__typeof__(pcap_datalink) *datalink;
	__typeof__(pcap_datalink_val_to_name) *name_of;
	__typeof__(pcap_next_ex) *next;
	__typeof__(pcap_geterr) *geterr;
	__typeof__(pcap_close) *close;
};

#define FIND(f, name) (((f) = (__typeof__(f))dlsym(p->lib, name)) != NULL)

static bool find_library(struct flow_pcap *p)
{
	p->lib = dlopen(LIBPCAP, RTLD_NOW | RTLD_LOCAL) ?: dlopen(OTHERS, RTLD_NOW | RTLD_LOCAL);
	return p->lib && FIND(p->fopen_offline, "pcap_fopen_offline_with_tstamp_precision") &&
	       FIND(p->datalink, "pcap_datalink") &&
	       FIND(p->name_of, "pcap_datalink_val_to_name") && FIND(p->next, "pcap_next_ex") &&
	       FIND(p->geterr, "pcap_geterr") && FIND(p->close, "pcap_close");
}

/* libpcap closes @f with the capture, if it took it. */
static int open_file(struct flow_pcap *p, FILE *f, char *why, size_t size)
{
	char error[PCAP_ERRBUF_SIZE] = "";
	int link;

	p->p = p->fopen_offline(f, PCAP_TSTAMP_PRECISION_NANO, error);
	if (!p->p) {
		fclose(f);
		snprintf(why, size, "%s; allowed: pcap or pcapng, as tcpdump -w writes it", error);
		return -EINVAL;
	}
	link = p->datalink(p->p);
	if (link == DLT_EN10MB)
		return 0;
	snprintf(why, size, "captured from %s; allowed: Ethernet, as of tcpdump -i IFACE, not any",
		 p->name_of(link) ?: "another kind of interface");
	return -EPROTONOSUPPORT;
}

int flow_pcap_open(struct flow_pcap **pcap, const char *path, char *why, size_t size)
{
	struct flow_pcap *p = calloc(1, sizeof(*p));
	int err = 0;
	FILE *f;

	*pcap = NULL;
	if (!p) {
		snprintf(why, size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	if (!find_library(p)) {
		snprintf(why, size, "no libpcap; apt-get install libpcap0.8");
		err = -ENOSYS;
	}
	f = err ? NULL : streq(path, "-") ? fdopen(dup(STDIN_FILENO), "r") : fopen(path, "re");
	if (!err && !f) {
		err = -errno;
		snprintf(why, size, "%s", strerror(-err));
	}
	err = err ?: open_file(p, f, why, size);
	if (err) {
		flow_pcap_close(p);
		return err;
	}
	*pcap = p;
	return 0;
}

int flow_pcap_next(struct flow_pcap *p, struct flow_frame *f, char *why, size_t size)
{
	struct pcap_pkthdr *h;
	const u_char *data;
	int ret = p->next(p->p, &h, &data);

	if (ret == PCAP_ERROR_BREAK)
		return 0;
	if (ret != 1) {
		snprintf(why, size, "%s", p->geterr(p->p));
		return -EINVAL;
	}
	f->data = data;
	f->have = h->caplen;
	f->len = h->len > h->caplen ? h->len : h->caplen;
	f->time_ns = (uint64_t)h->ts.tv_sec * 1000000000 + (uint64_t)h->ts.tv_usec;
	return 1;
}

void flow_pcap_close(struct flow_pcap *p)
{
	if (!p)
		return;
	if (p->p)
		p->close(p->p);
	if (p->lib)
		dlclose(p->lib);
	free(p);
}
