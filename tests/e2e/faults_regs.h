/* SPDX-License-Identifier: GPL-2.0 */
/* faults_regs.h - system calls of a stopped process: which, what came of it, and that it is left
 * out. */
#ifndef FAULTS_REGS_H
#define FAULTS_REGS_H

#include <elf.h>
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#if defined(__x86_64__)
#define REG_CALL(r)   ((r)->orig_rax)
#define REG_ARG(r)    ((r)->rdi)
#define REG_RESULT(r) ((r)->rax)
#elif defined(__aarch64__)
#define REG_CALL(r)   ((r)->regs[8])
#define REG_ARG(r)    ((r)->regs[0])
#define REG_RESULT(r) ((r)->regs[0])
#else
#error "faults_regs.h: which registers have the number and the result of a system call?"
#endif

static inline int regs_get(pid_t pid, struct user_regs_struct *r)
{
	struct iovec v = { r, sizeof(*r) };

	return (int)ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v);
}

/* Its number and first argument. */
static inline void regs_call(pid_t pid, long *nr, long *arg)
{
	struct user_regs_struct r = { 0 };

	regs_get(pid, &r);
	*nr = (long)REG_CALL(&r);
	*arg = (long)REG_ARG(&r);
}

static inline long regs_result(pid_t pid)
{
	struct user_regs_struct r = { 0 };

	return regs_get(pid, &r) ? -ESRCH : (long)REG_RESULT(&r);
}

/* The call is not made; the process sees @result. */
static inline void regs_skip(pid_t pid, long result)
{
	struct user_regs_struct r = { 0 };
	struct iovec v = { &r, sizeof(r) };

	if (regs_get(pid, &r))
		return;
	REG_RESULT(&r) = (unsigned long)result;
#if defined(__x86_64__)
	REG_CALL(&r) = (unsigned long)-1;
#else
	int none = -1;
	struct iovec n = { &none, sizeof(none) };

	ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &n);
#endif
	ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v);
}

#endif
