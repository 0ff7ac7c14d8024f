// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_name.c - what instances and links are called, by the names of interfaces. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "../util.h"
#include "flow_inst.h"

#define PATHLEN (KCM_PIN_PATH + 64)

static __u32 netns_of(const char *pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	return stat(path, &st) ? 0 : (__u32)st.st_ino;
}

__u32 flow_netns(void)
{
	return netns_of("self");
}

/* Letters and digits as they are, all else as _ and two hexadecimal digits. */
static int encode(char *to, size_t size, const char *ifname)
{
	size_t n = 0;

	for (; *ifname; ifname++) {
		if (n + 4 > size)
			return -ENAMETOOLONG;
		if (isalnum((unsigned char)*ifname))
			to[n++] = *ifname;
		else
			n += (size_t)sprintf(to + n, "_%02x", (unsigned char)*ifname);
	}
	to[n] = 0;
	return n ? 0 : -EINVAL;
}

static int prefix(char *to, size_t size)
{
	__u32 mine = flow_netns(), init = netns_of("1");

	if (!mine || !init || mine == init)
		to[0] = 0;
	else
		snprintf(to, size, "n%u-", mine);
	return 0;
}

int flow_pin_name(char *name, size_t size, const char *ifname)
{
	char ns[16];
	size_t n;

	prefix(ns, sizeof(ns));
	n = strlen(ns);
	if (n >= size)
		return -ENAMETOOLONG;
	memcpy(name, ns, n);
	if (!encode(name + n, size - n, ifname))
		return 0;
	/* Few names of interfaces are that long, and any name will do. */
	snprintf(name + n, size - n, "if%u", if_nametoindex(ifname));
	return 0;
}

int flow_link_name(char *name, size_t size, const char *ifname)
{
	size_t n = strlen(FLOW_LINK);

	if (size <= n)
		return -ENAMETOOLONG;
	memcpy(name, FLOW_LINK, n);
	return encode(name + n, size - n, ifname);
}

int flow_link_ifname(char *ifname, const char *name)
{
	size_t n = 0;

	for (name += strlen(FLOW_LINK); *name; name++) {
		unsigned int c;

		if (n + 1 >= IF_NAMESIZE)
			return -ENAMETOOLONG;
		if (*name == '_' && sscanf(name + 1, "%2x", &c) == 1) {
			ifname[n++] = (char)c;
			name += 2;
		} else {
			ifname[n++] = *name;
		}
	}
	ifname[n] = 0;
	return 0;
}

struct finding {
	char ns[16], link[PATHLEN], *name;
	size_t size;
};

static int has_link(const char *name, void *arg)
{
	struct finding *f = arg;
	char path[PATHLEN + KCM_PIN_PATH];
	size_t n = strlen(f->ns);

	/* A name without a namespace has no dash: encode() leaves none. */
	if (n ? strncmp(name, f->ns, n) != 0 : strchr(name, '-') != NULL)
		return 0;
	snprintf(path, sizeof(path), KCM_PIN_ROOT "/" FLOW_SYSTEM "/%s/%s", name, f->link);
	if (access(path, F_OK))
		return 0;
	snprintf(f->name, f->size, "%s", name);
	return 1;
}

int flow_inst_find(const char *ifname, char *name, size_t size)
{
	struct finding f = { .name = name, .size = size };
	int err = flow_link_name(f.link, sizeof(f.link), ifname);

	if (err)
		return err == -EINVAL ? -ENOENT : err;
	prefix(f.ns, sizeof(f.ns));
	err = kcm_pin_each(FLOW_SYSTEM, has_link, &f);
	return err < 0 ? err : err ? 0 : -ENOENT;
}
