// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <bpf/libbpf.h>
#include "log.h"

#ifndef ENOTSUPP
#define ENOTSUPP 524 /* in the kernel's headers only, yet bpf() returns it */
#endif

static struct {
	bool verbose;
	size_t used;
	char text[64 * 1024];
} libbpf_log;

const char *log_errno(int err)
{
	err = abs(err);
	return err == ENOTSUPP ? "not supported by this kernel" : strerror(err);
}

enum kcm_exit log_exit_code(int err)
{
	switch (abs(err)) {
	case EPERM:
	case EACCES:
		return KCM_EXIT_PRIVILEGE;
	case ENOTSUPP:
	case EOPNOTSUPP:
	case ENOSYS:
		return KCM_EXIT_KERNEL;
	default:
		return KCM_EXIT_FAILED;
	}
}

int report(const struct problem *p, const char *what, ...)
{
	const char *why = p->why ? p->why : p->err ? log_errno(p->err) : NULL;
	va_list ap;

	fputs("kcmtool: ", stderr);
	va_start(ap, what);
	vfprintf(stderr, what, ap);
	va_end(ap);
	if (p->where && why)
		fprintf(stderr, " (%s: %s)", p->where, why);
	else if (p->where || why)
		fprintf(stderr, " (%s)", why ? why : p->where);
	if (p->next)
		fprintf(stderr, "; try: %s", p->next);
	fputc('\n', stderr);
	return p->code ? p->code : log_exit_code(p->err);
}

void warn(const char *what, ...)
{
	va_list ap;

	fputs("kcmtool: warning: ", stderr);
	va_start(ap, what);
	vfprintf(stderr, what, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static int log_libbpf(enum libbpf_print_level level, const char *format, va_list ap)
{
	size_t room = sizeof(libbpf_log.text) - libbpf_log.used;
	int n;

	if (libbpf_log.verbose)
		return vfprintf(stderr, format, ap);
	if (level == LIBBPF_DEBUG)
		return 0;
	n = vsnprintf(libbpf_log.text + libbpf_log.used, room, format, ap);
	if (n > 0)
		libbpf_log.used += (size_t)n < room ? (size_t)n : room - 1;
	return n;
}

void log_init(bool verbose)
{
	libbpf_log.verbose = verbose;
	libbpf_set_print(log_libbpf);
}

bool log_verbose(void)
{
	return libbpf_log.verbose;
}

void log_libbpf_drop(void)
{
	libbpf_log.used = 0;
}

void log_libbpf_show(void)
{
	fwrite(libbpf_log.text, 1, libbpf_log.used, stderr);
	log_libbpf_drop();
}
