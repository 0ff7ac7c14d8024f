/* SPDX-License-Identifier: GPL-2.0 */
/* Exit codes, and error lines of the form `kcmtool: what (where: why); try: next`. */
#ifndef KCM_LOG_H
#define KCM_LOG_H

#include <stdbool.h>
#include "util.h"

enum kcm_exit {
	KCM_EXIT_OK = 0,
	KCM_EXIT_FAILED = 1,
	KCM_EXIT_USAGE = 2,
	KCM_EXIT_KERNEL = 3, /* this kernel cannot do it */
	KCM_EXIT_PRIVILEGE = 4,
	KCM_EXIT_CONFIG = 6,
	KCM_EXIT_NOT_LOADED = 7,
};

/* Everything but @code and what happened may be left out. */
struct problem {
	enum kcm_exit code;
	const char *where; /* file, object or option */
	const char *why;
	int err;	  /* a positive or negative errno instead of @why */
	const char *next; /* command or action to try; NULL: what helps against @err */
};

/**
 * report() - print one error line
 * Return: @p->code, or the code that fits @p->err where @p->code is 0.
 */
int report(const struct problem *p, const char *what, ...) _printf_(2, 3);
#define PROBLEM(...) (&(struct problem){ __VA_ARGS__ })

/* One line on stderr that is not an error. */
void warn(const char *what, ...) _printf_(1, 2);

/* Text for an errno, including the kernel's own 524. */
const char *log_errno(int err);
enum kcm_exit log_exit_code(int err);
/* Something is used up for the moment: it says nothing of what the kernel can do. */
bool log_scarce(int err);

/*
 * libbpf's messages are kept and shown only when a command failed, or at once with -v.
 */
void log_init(bool verbose);
bool log_verbose(void);
void log_libbpf_show(void);

enum log_mode {
	LOG_KEEP,    /* show when the command fails; with -v at once */
	LOG_DISCARD, /* failure is expected: only -v shows them */
	LOG_SILENT,
};
/* Return: the mode before. */
enum log_mode log_libbpf_mode(enum log_mode mode);

#endif
