// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * call - one request to an RPC server of these examples, its answer on stdout.
 *
 * usage: call ADDR:PORT METHOD [ARGS]...	call 127.0.0.1:7000 upper hello
 * Exit status: 0 "ok", 1 "err" or no answer.
 */
#include <arpa/inet.h>

#include "common.h"

int main(int argc, char **argv)
{
	char text[65536] = "1";
	size_t n = 1;
	uint32_t len;
	FILE *io;

	if (argc < 3)
		die(0, "usage: call ADDR:PORT METHOD [ARGS]...");
	for (int i = 2; i < argc; i++) {
		int add = snprintf(text + n, sizeof(text) - n, " %s", argv[i]);

		if (add < 0 || (size_t)add >= sizeof(text) - n)
			die(0, "request is longer than %zu bytes", sizeof(text));
		n += (size_t)add;
	}
	io = fdopen(tcp_open(argv[1], 0), "r+");
	len = htonl((uint32_t)n);
	if (!io || fwrite(&len, 4, 1, io) != 1 || fwrite(text, n, 1, io) != 1 || fflush(io))
		die(-errno, "send");
	if (fread(&len, 4, 1, io) != 1)
		die(0, "connection closed without an answer");
	n = ntohl(len);
	if (n >= sizeof(text) || fread(text, n, 1, io) != 1)
		die(0, "half an answer");
	text[n] = 0;
	if (strncmp(text, "1 ok ", 5))
		die(0, "%s", text);
	puts(text + 5);
	fclose(io);
	return 0;
}
