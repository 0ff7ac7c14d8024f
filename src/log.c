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
	enum log_mode mode;
	size_t used;
	char text[16 * 1024]; /* the end: a verifier log says last what is wrong */
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

bool log_scarce(int err)
{
	err = abs(err);
	return err == ENOMEM || err == EMFILE || err == ENFILE || err == ENOBUFS;
}

/* What helps against an error wherever it comes from. */
static const char *remedy(int err)
{
	switch (abs(err)) {
	case ENOMEM:
		return "again, with more memory free; kcmtool doctor";
	case EMFILE:
		return "ulimit -n with more than there is now";
	case ENFILE:
		return "sysctl fs.file-max with more than there is now";
	case EPERM:
	case EACCES:
		return "the same with sudo; kcmtool doctor";
	case EROFS:
		return "mount -o remount,rw of what is read-only";
	case ENOSPC:
	case EDQUOT:
		return "again, with more room";
	default:
		return err ? "again with -v; kcmtool doctor" : NULL;
	}
}

int report(const struct problem *p, const char *what, ...)
{
	const char *why = p->why ? p->why : p->err ? log_errno(p->err) : NULL;
	const char *next = p->next ? p->next : remedy(p->err);
	va_list ap;

	fputs("kcmtool: ", stderr);
	va_start(ap, what);
	vfprintf(stderr, what, ap);
	va_end(ap);
	if (p->where && why)
		fprintf(stderr, " (%s: %s)", p->where, why);
	else if (p->where || why)
		fprintf(stderr, " (%s)", why ? why : p->where);
	if (next)
		fprintf(stderr, "; try: %s", next);
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

static void keep(const char *text)
{
	size_t size = sizeof(libbpf_log.text), len = strlen(text), excess;

	if (len > size) {
		text += len - size;
		len = size;
	}
	excess = libbpf_log.used + len > size ? libbpf_log.used + len - size : 0;
	memmove(libbpf_log.text, libbpf_log.text + excess, libbpf_log.used - excess);
	libbpf_log.used -= excess;
	memcpy(libbpf_log.text + libbpf_log.used, text, len);
	libbpf_log.used += len;
}

static int log_libbpf(enum libbpf_print_level level, const char *format, va_list ap)
{
	_cleanup_free_ char *text = NULL;

	if (libbpf_log.mode == LOG_SILENT)
		return 0;
	if (libbpf_log.verbose)
		return vfprintf(stderr, format, ap);
	if (level == LIBBPF_DEBUG || libbpf_log.mode == LOG_DISCARD)
		return 0;
	if (vasprintf(&text, format, ap) < 0) {
		text = NULL;
		return 0;
	}
	keep(text);
	return 0;
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

enum log_mode log_libbpf_mode(enum log_mode mode)
{
	enum log_mode before = libbpf_log.mode;

	libbpf_log.mode = mode;
	return before;
}

void log_libbpf_show(void)
{
	const int lines_shown = 12;
	const char *start = libbpf_log.text + libbpf_log.used;
	int lines = -1; /* the last newline ends a line and begins none */

	if (!libbpf_log.used)
		return;
	while (start > libbpf_log.text) {
		if (start[-1] == '\n' && ++lines == lines_shown)
			break;
		start--;
	}
	fputs("last messages of libbpf (all of them with -v):\n", stderr);
	fwrite(start, 1, libbpf_log.text + libbpf_log.used - start, stderr);
	libbpf_log.used = 0;
}
