// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * migrate_say CASE - what a server says of its own listeners is so, and nothing else is changed.
 *
 *	numbers	generations by number, before listen() and after it; who is ready
 *	drain	a listener takes no more; what it had; who takes it; the operator's word
 *	client	the listener that a client's address had drains
 *	wrong	what cannot be is refused, and why
 */
#define _GNU_SOURCE
#include "migrate_say.h"

static void numbers(void)
{
	int a = listener(&plain), b, c, d, fd, all[4];
	uint32_t first, each, id;

	selector();
	doing("before listen()");
	b = bound_to(PORT);
	CHECK(!kcm_listener_generation(b, 5) && !listen(b, 128));
	CHECK(!gen_of(a)->key.number && works(a));
	CHECK(gen_of(b)->key.number == 5 && gen_of(b)->state == KCM_MG_GEN_NEW);
	consistent();

	doing("it has not said that it is ready: one connection first");
	first = number;
	fd = client(&plain, number++, true);
	CHECK(all_served_by(&a, 1, 0));
	accept_all(&b, 1, 1, first, &each);
	answers(&fd, 1, first);
	all[0] = a, all[1] = b;
	CHECK(all_served_by(all, 2, 1) && works(b));

	doing("after listen()");
	all[2] = c = listener(&plain);
	CHECK(gen_of(c) == gen_of(a) && gen_of(a)->n == 2);
	CHECK(!kcm_listener_generation(c, 9));
	CHECK(gen_of(c)->key.number == 9 && gen_of(c)->state == KCM_MG_GEN_NEW && works(b));
	CHECK(gen_of(a)->n == 1 && gen_of(c)->n == 1);
	consistent();
	doing("ready: at once");
	CHECK(!kcm_listener_register(c, 0) && works(c));
	CHECK(gen_of(c)->key.number == 9 && gen_of(c)->state == KCM_MG_GEN_READY);
	CHECK(all_served_by(all, 3, 2));
	doing("an older one is as ready as it likes");
	CHECK(!kcm_listener_register(b, 0) && works(c) && all_served_by(all, 3, 2));

	doing("two of one number");
	id = gen_of(c)->id;
	CHECK(!kcm_listener_register(a, 9) && !kcm_listener_register(a, 9));
	CHECK(gen_of(a) == gen_of(c) && gen_of(c)->n == 2 && gen_of(c)->id == id);
	consistent();
	CHECK(!kcm_listener_generation(a, 10) && !kcm_listener_generation(a, 9));
	CHECK(gen_of(a) == gen_of(c) && works(a));
	consistent();

	doing("ready before listen(): at once");
	all[3] = d = bound_to(PORT);
	CHECK(!kcm_listener_register(d, 0xffffffff) && works(c));
	CHECK(!listen(d, 128) && works(d) && gen_of(d)->key.number == 0xffffffff);
	CHECK(all_served_by(all, 4, 3));
	doing("without a number");
	CHECK(!shutdown(d, SHUT_RD) && works(c));
	CHECK(!listen(d, 128) && works(d) && gen_of(d)->key.number == 0xffffffff);
	consistent();

	doing("a number that had gone is a new generation");
	CHECK(gen_of(b)->key.number == 5 && !kcm_listener_register(b, 12) && works(b));
	CHECK(!kcm_listener_generation(c, 5) && gen_of(c)->state == KCM_MG_GEN_NEW);
	CHECK(!kcm_listener_register(c, 0) && works(c) && all_served_by(all, 4, 2));
	consistent();
	close_all(all, 4, false);
	consistent();
}

static void drain(void)
{
	int all[5], fd[64], none = 0;
	uint32_t each[5], first;
	struct kcm_mg_group *g;

	listeners(&plain, all, 4);
	selector();
	g = group_of(AF_INET);
	doing("half of a handshake, then drain");
	acks(false);
	first = number;
	for (int i = 0; i < 64; i++)
		fd[i] = client(&plain, number++, false);
	for (int i = 1; i < 4; i++)
		CHECK(!kcm_listener_drain(all[i]) && !kcm_listener_drain(all[i]));
	CHECK(g->n == 4 && g->drained == 3 && gen_of(all[0])->n == 1);
	consistent();
	acks(true);
	for (int i = 0; i < 64; i++)
		say(fd[i], first + (uint32_t)i);
	accept_all(all, 4, 64, first, each);
	answers(fd, 64, first);
	CHECK(each[1] && each[2] && each[3]); /* where they had begun */
	CHECK(all_served_by(all, 4, 0));

	doing("nobody else");
	CHECK(kcm_listener_drain(all[0]) == -ENOENT && all_served_by(all, 4, 0));
	doing("some again");
	CHECK(!kcm_listener_register(all[2], 0) && gen_of(all[2])->n == 2);
	CHECK(!kcm_listener_drain(all[0]) && all_served_by(all, 4, 2));
	consistent();

	doing("what closes moves to none that drains");
	first = number;
	for (int i = 0; i < 64; i++)
		fd[i] = client(&plain, number++, true);
	all[4] = listener(&plain);
	close(all[2]);
	accept_all(&all[4], 1, 64, first, each);
	answers(fd, 64, first);
	all[2] = all[4];
	consistent();

	doing("those that drain are better than nobody");
	close(all[2]);
	all[2] = all[3];
	CHECK(g->n == 3 && !g->drained && works(all[0]));
	for (int i = 0; i < 64; i++)
		none |= 1 << served_by(all, 3);
	CHECK(none == 7);
	consistent();

	doing("another generation");
	all[3] = listener(&plain);
	CHECK(!kcm_listener_generation(all[3], 2) && works(all[0]));
	for (int i = 0; i < 3; i++)
		CHECK(!kcm_listener_drain(all[i]));
	CHECK(gen_of(all[0])->state == KCM_MG_GEN_DRAINING && works(all[3]));
	CHECK(all_served_by(all, 4, 3) && kcm_listener_drain(all[3]) == -ENOENT);
	close_all(all, 3, false);
	consistent();

	doing("an operator's drain stays, and so does who an operator says that works");
	all[0] = listener(&plain);
	CHECK(!kcm_listener_register(all[0], 3) && works(all[0]));
	CHECK(!mg_drain(&view, 0, slot_of(all[0])->gen) && works(all[3]));
	CHECK(!kcm_listener_register(all[0], 0) && works(all[3]));
	all[1] = all[3];
	CHECK(all_served_by(all, 2, 1));
	close(all[0]);
	all[0] = listener(&plain);
	CHECK(!mg_promote(&view, 0, slot_of(all[3])->gen));
	g->flags |= KCM_MG_GROUP_PINNED;
	CHECK(!kcm_listener_register(all[0], 4) && works(all[3]));
	doing("who works by an operator's word may drain all the same");
	CHECK(!kcm_listener_drain(all[3]) && works(all[0]) && !(g->flags & KCM_MG_GROUP_PINNED));
	consistent();
	close(all[0]);
	close(all[3]);
	consistent();
}

static void same_client(void)
{
	int all[4], had;

	listeners(&plain, all, 4);
	selector();
	for (int i = 0; i < 3; i++) {
		doing("%d of 4 drain", i);
		had = served_by(all, 4);
		CHECK(all_served_by(all, 4, had));
		CHECK(!kcm_listener_drain(all[had]));
		for (int k = 0; k < 16; k++)
			CHECK(served_by(all, 4) != had);
	}
	doing("another generation");
	had = served_by(all, 4);
	CHECK(!kcm_listener_generation(all[(had + 1) & 3], 8));
	CHECK(!kcm_listener_register(all[(had + 1) & 3], 0));
	CHECK(all_served_by(all, 4, (had + 1) & 3));
	close_all(all, 4, false);
}

static void wrong(void)
{
	static char page[8192];
	int l = listener(&plain), fresh = socket(AF_INET, SOCK_STREAM, 0), one = 1, zero = 0, c, s;
	int udp = socket(AF_INET, SOCK_DGRAM, 0), unix_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC), other = bound_to(PORT + 1), alone;
	uint32_t was;

	selector();
	c = client(&plain, number++, true);
	CHECK((s = accept(l, NULL, NULL)) >= 0 || errno == EAGAIN);
	doing("values");
	CHECK(kcm_listener_generation(l, 0) == -EINVAL);
	CHECK(raw(l, KCM_SO_LISTENER_GENERATION, &zero, 4) == -EINVAL);
	CHECK(raw(l, KCM_SO_LISTENER_DRAIN, &zero, 4) == -EINVAL);
	for (int option = KCM_SO_LISTENER_REGISTER; option <= KCM_SO_LISTENER_DRAIN; option++)
		for (socklen_t n = 0; n <= sizeof(page); n = n < 16 ? n + 1 : 2 * n) {
			page[0] = 1;
			CHECK(n == 4 || raw(l, option, page, n) == -EINVAL);
			CHECK(n == 4 || raw(fresh, option, page, n) == -EINVAL);
		}
	CHECK(raw(l, KCM_SO_LISTENER_REGISTER - 1, &one, 4) == -ENOPROTOOPT);
	CHECK(raw(l, KCM_SO_LISTENER_DRAIN + 1, &one, 4) == -ENOPROTOOPT);
	CHECK(raw(l, KCM_SO_LABEL, "a=b", 3) == -ENOPROTOOPT);
	doing("other sockets");
	CHECK(kcm_listener_register(c, 1) == -EOPNOTSUPP); /* its port is another */
	CHECK(s < 0 || kcm_listener_register(s, 1) == -EINVAL);
	CHECK(s < 0 || kcm_listener_drain(s) == -EINVAL);
	CHECK(kcm_listener_drain(fresh) == -EINVAL && !kcm_listener_register(fresh, 1));
	CHECK(kcm_listener_register(udp, 1) == -EOPNOTSUPP);
	CHECK(kcm_listener_register(unix_fd, 1) == -EOPNOTSUPP);
	CHECK(kcm_listener_register(null_fd, 1) == -ENOTSOCK);
	CHECK(kcm_listener_register(-1, 1) == -EBADF);
	CHECK(kcm_listener_register(other, 1) == -EOPNOTSUPP);
	CHECK(raw(other, KCM_SO_LISTENER_REGISTER, &one, 4) == -ENOPROTOOPT);
	CHECK(!listen(other, 1) && kcm_listener_drain(other) == -EOPNOTSUPP);
	doing("others' options");
	CHECK(!setsockopt(l, IPPROTO_TCP, TCP_CONGESTION, strcpy(page, "reno"), sizeof(page)));
	CHECK(!setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	CHECK(setsockopt(l, SOL_SOCKET, 9999, &one, sizeof(one)) && errno == ENOPROTOOPT);

	doing("no SO_REUSEPORT");
	was = view.mg->ctl.refused_listeners;
	close(l);
	alone = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!setsockopt(alone, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	{
		struct sockaddr_storage ss;
		socklen_t len = addr_any(AF_INET, &ss);

		((struct sockaddr_in *)&ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
		CHECK(!bind(alone, (void *)&ss, len) && !listen(alone, 1));
	}
	CHECK(view.mg->ctl.refused_listeners == was + 1 &&
	      kcm_listener_register(alone, 0) == -ESRCH);
	doing("too many");
	l = listener(&plain);
	for (int i = 0; i < KCM_MG_GENS - 1; i++)
		CHECK(!kcm_listener_register(listener(&plain), (uint32_t)i + 1));
	CHECK(kcm_listener_register(l, 100) == -ENOSPC && !kcm_listener_register(l, 1));
	consistent();
}

int main(int argc, char **argv)
{
	static const struct say_case cases[] = {
		{ "numbers", numbers, KCM_MG_HASH },
		{ "drain", drain, KCM_MG_ROBIN },
		{ "client", same_client, KCM_MG_CLIENT },
		{ "wrong", wrong, KCM_MG_HASH },
	};

	return run_case(cases, sizeof(cases) / sizeof(*cases), argc, argv);
}
