// SPDX-License-Identifier: GPL-2.0
/* Processes that receive with rx: by the memfd that libkcm makes in each, see lib/rx_stat.h. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include "cmd_rx.h"

#define PATH  64
#define TRIES 100

/* Of a file that was opened: all of a page. It may be any file that somebody named so. */
static int copy_page(int fd, struct rx_stat_page *page)
{
	ssize_t n = pread(fd, page, sizeof(*page), 0);

	if (n != (ssize_t)sizeof(*page) || page->head.magic != RX_STAT_MAGIC ||
	    page->head.layout != RX_STAT_LAYOUT || page->head.slots != RX_STAT_SLOTS)
		return -EPROTO;
	/* A slot that is being written is read again; one that always is, is left out. */
	for (int i = 0; i < RX_STAT_SLOTS; i++) {
		struct rx_stat_slot *s = &page->slot[i];
		off_t at = (char *)s - (char *)page;

		for (int try = 0; s->cookie; try++) {
			uint32_t seq;

			/* The number behind the bytes: what changed between them shows. */
			if (pread(fd, s, sizeof(*s), at) != (ssize_t)sizeof(*s) ||
			    pread(fd, &seq, sizeof(seq), at) != (ssize_t)sizeof(seq) ||
			    try == TRIES)
				s->cookie = 0;
			else if (!(seq & 1) && s->seq == seq)
				break;
		}
	}
	return 0;
}

static void take_comm(struct rx_process *p)
{
	char path[PATH];
	_cleanup_file_ FILE *f = NULL;

	p->comm[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%u/comm", p->pid);
	f = fopen(path, "re");
	if (!f || !fgets(p->comm, sizeof(p->comm), f))
		return;
	p->comm[strcspn(p->comm, "\n")] = '\0';
	/* A process may call itself whatever it likes. */
	for (char *c = p->comm; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}

/* 1: it has one; 0: none; -errno */
static int look_at(struct rx_process *p)
{
	char path[PATH], link[PATH];
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%u/fd", p->pid);
	d = opendir(path);
	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		_cleanup_fd_ int fd = -1;
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

		if (n < 0)
			continue;
		link[n] = '\0';
		if (!streq(link, RX_STAT_LINK))
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || copy_page(fd, &p->page))
			continue;
		p->inode = st.st_ino;
		take_comm(p);
		return 1;
	}
	return 0;
}

struct seen {
	uint64_t *inode;
	size_t n;
};

static bool again(struct seen *s, uint64_t inode)
{
	uint64_t *more;

	for (size_t i = 0; i < s->n; i++)
		if (s->inode[i] == inode)
			return true;
	more = realloc(s->inode, (s->n + 1) * sizeof(*more));
	if (more) {
		s->inode = more;
		s->inode[s->n++] = inode;
	}
	return false;
}

static int visit(struct rx_process *p, struct seen *seen,
		 int (*fn)(const struct rx_process *p, void *arg), void *arg, unsigned int *blind)
{
	int r = look_at(p);

	if (r == -EACCES || r == -EPERM)
		++*blind;
	/* One that is inherited is its parent's, which /proc shows first nearly always. */
	if (r <= 0 || again(seen, p->inode))
		return 0;
	return fn(p, arg);
}

int rx_find(unsigned int pid, int (*fn)(const struct rx_process *p, void *arg), void *arg,
	    unsigned int *blind)
{
	_cleanup_free_ struct rx_process *p = calloc(1, sizeof(*p));
	_cleanup_dir_ DIR *d = opendir("/proc");
	struct seen seen = { 0 };
	struct dirent *e;
	int ret = 0;

	*blind = 0;
	if (!p || !d)
		return -errno;
	if (pid) {
		char path[PATH];

		snprintf(path, sizeof(path), "/proc/%u", pid);
		p->pid = pid;
		ret = access(path, F_OK) ? -ESRCH : visit(p, &seen, fn, arg, blind);
	}
	while (!pid && !ret && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		p->pid = (unsigned int)strtoul(e->d_name, NULL, 10);
		ret = visit(p, &seen, fn, arg, blind);
	}
	free(seen.inode);
	return ret;
}
