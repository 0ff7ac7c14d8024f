// SPDX-License-Identifier: GPL-2.0
/*
 * What foundation.bats cannot do by command:
 *   pin_helper make LAYOUT	pin mux/default as a kcmtool with that layout would
 *   pin_helper hold PATH	open a pinned map, print its id, hold it until stdin ends
 *   pin_helper lock		hold the pin lock until stdin ends
 */
#include <bpf/bpf.h>
#include "pin.h"
#include "../../src/util.h"

static void until_stdin_ends(void)
{
	char c;

	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

static int make(const char *layout)
{
	struct kcm_pin_txn txn;
	int err = kcm_pin_begin(&txn, "mux", "default", atoi(layout), true);

	if (!err)
		err = kcm_pin_commit(&txn);
	if (err)
		fprintf(stderr, "make: %s\n", strerror(-err));
	return err ? 1 : 0;
}

static int hold(const char *path)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_obj_get(path);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size)) {
		perror(path);
		return 1;
	}
	printf("%u\n", info.id);
	until_stdin_ends();
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && streq(argv[1], "make"))
		return make(argv[2]);
	if (argc == 3 && streq(argv[1], "hold"))
		return hold(argv[2]);
	if (argc == 2 && streq(argv[1], "lock")) {
		int fd = kcm_pin_lock();

		printf("%d\n", fd < 0 ? fd : 0);
		until_stdin_ends();
		return fd < 0;
	}
	return 2;
}
