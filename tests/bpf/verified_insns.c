// SPDX-License-Identifier: GPL-2.0
/*
 * What the verifier had to look at for each of our programs that is loaded, one a line:
 *   verified_insns [BELOW]	ID NAME INSTRUCTIONS, of programs with an id above BELOW
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>

static int show(__u32 id)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id), err;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* unloaded in between */
	err = bpf_obj_get_info_by_fd(fd, &info, &size);
	close(fd);
	if (err)
		return -errno;
	if (!strncmp(info.name, "kcm_", 4))
		printf("%u %s %u\n", id, info.name, info.verified_insns);
	return 0;
}

int main(int argc, char **argv)
{
	__u32 id = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	int err = 0;

	while (!err && !bpf_prog_get_next_id(id, &id))
		err = show(id);
	if (err || errno != ENOENT) {
		fprintf(stderr, "verified_insns: program %u: %s\n", id,
			strerror(err ? -err : errno));
		return 1;
	}
	return 0;
}
