/* SPDX-License-Identifier: GPL-2.0 */
/* Inside of `mux bench`: cmd_mux_bench.c has muxes and workers, cmd_mux_load.c the clients. */
#ifndef KCM_CMD_MUX_BENCH_H
#define KCM_CMD_MUX_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#define LOAD_REPLY_BYTES 8 /* u32be length and four bytes */

struct load {
	int port;
	unsigned int conns, depth;
	uint32_t size; /* of a message, its header included */
	uint64_t duration_ns;
	/* results */
	uint64_t answered, resets, elapsed_ns;
	int err;
};

/* Keep @depth messages on their way on each connection until the time is over. In a thread. */
void *load_thread(void *arg);

#endif
