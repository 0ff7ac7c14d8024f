// SPDX-License-Identifier: GPL-2.0
/*
 * bench_kcm.c - mux beside AF_KCM, on a kernel that has it. See README.md here; kcm.sh boots one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kcm_bench.h"

#define ROUNDS	     5
#define ROUNDS_QUICK 2

static const char usage[] = "usage: bench_kcm [OPTION]...\n"
			    "  --part stream|replies|latency|memory\n"
			    "  --quick      fewer and shorter rounds\n"
			    "  --rounds N\n"
			    "  --out DIR    where mux.json goes\n"
			    "Needs AF_KCM (modprobe kcm).\n";

int main(int argc, char **argv)
{
	static const struct sb_part parts[] = {
		{ "stream", kb_stream },
		{ "replies", kb_speed },
		{ "latency", kb_latency },
		{ "memory", kb_memory },
	};
	static struct sb_report report = { .ours = "mux" };
	struct sb_opts o = { .report = &report, .rounds = ROUNDS };
	struct sb_args a;
	int status = sb_args_take(argc, argv, usage, ROUNDS_QUICK, &o, &a), kcm;

	if (status >= 0)
		return status;
	kcm = socket(AF_KCM, SOCK_DGRAM, 0);
	if (kcm < 0) {
		fprintf(stderr, "bench_kcm: no AF_KCM here (%s); try: modprobe kcm\n",
			strerror(errno));
		return 3;
	}
	close(kcm);
	contest_init();
	for (int i = 0; i < KB_SIDES; i++)
		printf("%-7s %s\n", kb_side[i]->name, kb_side[i]->about);
	return sb_run(parts, sizeof(parts) / sizeof(parts[0]), &o, &a);
}
