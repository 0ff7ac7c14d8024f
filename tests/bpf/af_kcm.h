/* SPDX-License-Identifier: GPL-2.0 */
/*
 * af_kcm.h - the kernel's own multiplexor for tests that compare it: its sockets, and a program
 * that frames a big-endian 32-bit length. A .c file names kcmparse.skel.h too: make looks there.
 */
#ifndef KCM_TESTS_AF_KCM_H
#define KCM_TESTS_AF_KCM_H

#include <errno.h>
#include <linux/kcm.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kcmparse.skel.h"

#ifndef SOL_KCM
#define SOL_KCM 281
#endif

#define af_kcm_unused __attribute__((unused))

/* Return: the first socket of a new multiplexor; -EAFNOSUPPORT: modprobe kcm. */
static af_kcm_unused int af_kcm_open(int type)
{
	int fd = socket(AF_KCM, type | SOCK_CLOEXEC, KCMPROTO_CONNECTED);

	return fd < 0 ? -errno : fd;
}

/* One more socket of the multiplexor of @kcm. */
static af_kcm_unused int af_kcm_clone(int kcm)
{
	struct kcm_clone c = { 0 };

	return ioctl(kcm, SIOCKCMCLONE, &c) ? -errno : c.fd;
}

static af_kcm_unused int af_kcm_attach(int kcm, int tcp, int parser)
{
	struct kcm_attach a = { .fd = tcp, .bpf_fd = parser };

	return ioctl(kcm, SIOCKCMATTACH, &a) ? -errno : 0;
}

static af_kcm_unused int af_kcm_unattach(int kcm, int tcp)
{
	struct kcm_unattach u = { .fd = tcp };

	return ioctl(kcm, SIOCKCMUNATTACH, &u) ? -errno : 0;
}

static af_kcm_unused int af_kcm_recv_disable(int kcm, bool on)
{
	int value = on;

	return setsockopt(kcm, SOL_KCM, KCM_RECV_DISABLE, &value, sizeof(value)) ? -errno : 0;
}

/*
 * Framing programs: bpf_program__fd() of ->progs.kcmp_frame, or ->progs.kcmp_documented.
 * @min_bytes: shorter messages are bad frames
 */
static af_kcm_unused struct kcmparse *af_kcm_parser(uint32_t min_bytes)
{
	struct kcmparse *p = kcmparse__open();

	if (!p)
		return NULL;
	p->rodata->kcmp_min_bytes = min_bytes;
	if (!kcmparse__load(p))
		return p;
	kcmparse__destroy(p);
	return NULL;
}

#endif
