// SPDX-License-Identifier: GPL-2.0
/*
 * rx_peer.c - two ends of a connection, for tests of rx over real networks.
 *
 *   rx_peer recv ADDR PORT auto|map|copy MESSAGES [hold]
 *	PORT 0: any. Says "listening on PORT"; checks all of every message; then one line of JSON.
 *	hold: keeps the messages, says "holding", and waits for SIGTERM
 *   rx_peer send ADDR PORT plain|cut|pages|ragged SEED MESSAGES MIN MAX
 */
#include <netdb.h>
#include <signal.h>
#include "rx_kit.h"

static void resolve(const char *addr, const char *port, struct sockaddr_storage *ss, socklen_t *len)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV },
			*ai;

	if (getaddrinfo(addr, port, &hints, &ai)) {
		fprintf(stderr, "rx_peer: no address: %s\n", addr);
		exit(2);
	}
	memcpy(ss, ai->ai_addr, ai->ai_addrlen);
	*len = ai->ai_addrlen;
	freeaddrinfo(ai);
}

static void report(struct kcm_rx *rx)
{
	struct kcm_rx_stats st;

	kcm_rx_stats(rx, &st, sizeof(st));
	printf("{\"messages\":%llu,\"bytes\":%llu,\"mapped\":%llu,\"mapped_messages\":%llu,"
	       "\"one_piece\":%llu,\"calls\":%llu,\"waits\":%llu,\"now\":\"%s\"",
	       (unsigned long long)st.messages, (unsigned long long)st.bytes,
	       (unsigned long long)st.mapped_bytes, (unsigned long long)st.mapped_messages,
	       (unsigned long long)st.one_piece, (unsigned long long)st.calls,
	       (unsigned long long)st.waits, st.now == KCM_RX_MAP ? "map" : "copy");
	for (int i = 0; i < KCM_RX_WHYS; i++)
		printf(",\"%s\":%llu", kcm_rx_why_name((enum kcm_rx_why)i),
		       (unsigned long long)st.copied_bytes[i]);
	printf("}\n");
	fflush(stdout);
}

static int take(int fd, const char *mode, uint64_t messages, bool hold)
{
	struct kcm_rx_opts o = { .sz = sizeof(o),
				 .mode = !strcmp(mode, "map")	 ? KCM_RX_MAP
					 : !strcmp(mode, "copy") ? KCM_RX_COPY
								 : KCM_RX_AUTO };
	struct kcm_frame f;
	struct kcm_rx *rx;
	int r;

	if (kcm_frame_parse(KIT_FRAME, &f, NULL, 0))
		exit(2);
	r = kcm_rx_open(fd, &f, &o, &rx);
	for (uint64_t i = 0; !r && i < messages; i++) {
		struct kcm_rx_msg m;

		r = kcm_rx_recv(rx, &m, -1);
		if (r != 1) {
			fprintf(stderr, "rx_peer: message %llu: %d\n", (unsigned long long)i, r);
			return 1;
		}
		r = kit_check(&m, i) ? 0 : 1;
		if (!hold)
			kcm_rx_release(rx, &m);
	}
	if (r) {
		fprintf(stderr, "rx_peer: %d\n", r);
		return 1;
	}
	report(rx);
	if (hold) {
		printf("holding\n");
		fflush(stdout);
		pause();
	}
	kcm_rx_close(rx);
	return 0;
}

static int receive(char **argv)
{
	struct sockaddr_storage ss;
	char port[NI_MAXSERV];
	socklen_t len;
	int l, fd, one = 1;

	resolve(argv[0], argv[1], &ss, &len);
	l = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, (void *)&ss, len) || listen(l, 4) || getsockname(l, (void *)&ss, &len))
		kit_die("listen");
	getnameinfo((void *)&ss, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV);
	printf("listening on %s\n", port);
	fflush(stdout);
	fd = accept(l, NULL, NULL);
	if (fd < 0)
		kit_die("accept");
	return take(fd, argv[2], strtoull(argv[3], NULL, 10), argv[4] != NULL);
}

static int transmit(char **argv)
{
	static const char *const names[KIT_HOWS] = { "plain", "cut", "pages", "ragged" };
	uint64_t sizes = strtoull(argv[3], NULL, 10) ^ 0xfeed;
	struct sockaddr_storage ss;
	struct kit_sender s;
	int fd, one = 1, how = 0;
	socklen_t len;

	while (how < KIT_HOWS && strcmp(names[how], argv[2]))
		how++;
	if (how == KIT_HOWS)
		return 2;
	resolve(argv[0], argv[1], &ss, &len);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (void *)&ss, len))
		kit_die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	kit_sender_open(&s, fd, (enum kit_how)how, strtoull(argv[3], NULL, 10));
	for (uint64_t i = 0, n = strtoull(argv[4], NULL, 10); i < n; i++)
		kit_send_msg(
			&s, i,
			kit_size(&sizes, strtoull(argv[5], NULL, 10), strtoull(argv[6], NULL, 10)));
	kit_sender_close(&s);
	/* What is not read yet stays ours to send. */
	shutdown(fd, SHUT_WR);
	while (recv(fd, &how, sizeof(how), 0) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc >= 6 && !strcmp(argv[1], "recv"))
		return receive(argv + 2);
	if (argc == 9 && !strcmp(argv[1], "send"))
		return transmit(argv + 2);
	fprintf(stderr, "usage: see the source\n");
	return 2;
}
