// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sock_beside.c - attach other people's programs to a cgroup until stdin ends.
 * usage: sock_beside CGROUP PROGRAM...   says "ready"
 */
#include <fcntl.h>

#include "sock_kit.h"
#include "sock_beside.skel.h"

int main(int argc, char **argv)
{
	struct sock_beside *b;
	int cgroup;
	char c;

	kit_what = "sock_beside";
	if (argc < 3)
		die("CGROUP PROGRAM...");
	cgroup = must(open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	b = sock_beside__open_and_load();
	if (!b)
		die("cannot load: %s", strerror(errno));
	for (int i = 2; i < argc; i++) {
		struct bpf_program *p = bpf_object__find_program_by_name(b->obj, argv[i]);

		if (!p || !bpf_program__attach_cgroup(p, cgroup))
			die("cannot attach %s: %s", argv[i], strerror(errno));
	}
	printf("ready\n");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
