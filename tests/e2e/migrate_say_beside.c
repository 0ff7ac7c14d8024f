// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * migrate_say_beside CASE - what a server says of its own listeners, and who else hears it.
 *
 *	several	instances in one cgroup, numbers of the operator in one of them
 *	none	nothing is attached
 *	beside	where somebody else has done `sock load` and `migrate attach`, in whatever order
 */
#define _GNU_SOURCE
#include "migrate_say.h"

/* Instances on the next ports; the numbers of the second one are the operator's. */
static void several(void)
{
	struct migrate_opts o = { .port = PORT + 1, .manual = true, .anchor = true };
	struct mg_view views[3] = { view, MG_VIEW_NONE, MG_VIEW_NONE };
	int fd[3], zero = 0, nine[2] = { 9, 9 }, l = listener(&plain), late;
	struct migrate_found f;
	char text[256] = "";

	selector();
	CHECK(!kcm_migrate_attach("say2", &o, &f, text, sizeof(text)));
	o = (struct migrate_opts){ .port = PORT + 2, .anchor = true };
	CHECK(!kcm_migrate_attach("say3", &o, &f, text, sizeof(text)));
	CHECK(!mg_view_open(&views[1], "say2", true) && !mg_view_open(&views[2], "say3", true));
	for (int i = 0; i < 3; i++) {
		struct sockaddr_storage ss;
		socklen_t len = addr_any(AF_INET, &ss);
		int one = 1;

		doing("before bind(): for all, port %d", PORT + i);
		view = views[i];
		((struct sockaddr_in *)&ss)->sin_port = htons((uint16_t)(PORT + i));
		late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		CHECK(raw(late, KCM_SO_LISTENER_GENERATION, &zero, 4) == -EINVAL);
		CHECK(raw(late, KCM_SO_LISTENER_GENERATION, nine, 8) == -EINVAL);
		CHECK(!setsockopt(late, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
		CHECK(!bind(late, (void *)&ss, len) && !listen(late, 1));
		CHECK(gen_of(late)->key.number == (i == 1)); /* what was refused is not kept */
		close(late);
		fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		CHECK(!kcm_listener_register(fd[i], 44));
		CHECK(!setsockopt(fd[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
		CHECK(!bind(fd[i], (void *)&ss, len));
		CHECK(kcm_listener_register(fd[i], 44) == (i == 1 ? -EPERM : 0));
		CHECK(!kcm_listener_register(fd[i], 0) && !listen(fd[i], 128));
		CHECK(gen_of(fd[i])->key.number == (i == 1 ? 1 : 44));
		CHECK(kcm_listener_generation(fd[i], 45) == (i == 1 ? -EPERM : 0));
		CHECK(!kcm_listener_register(fd[i], 0) && works(fd[i]));
		consistent();
	}
	CHECK(views[0].mg->group[0].n == 2 && views[1].mg->group[0].n == 1);
	CHECK(views[2].mg->group[0].n == 1);
	doing("generation new");
	view = views[0];
	mg_generation_new(&view);
	CHECK(kcm_listener_generation(fd[0], 46) == -EPERM && !kcm_listener_drain(fd[0]));
	close(l);
	close_all(fd, 3, false);
	mg_view_close(&views[1]);
	mg_view_close(&views[2]);
	CHECK(!kcm_migrate_detach("say2", text, sizeof(text)));
	CHECK(!kcm_migrate_detach("say3", text, sizeof(text)));
}

static void none(void)
{
	int l = listener(&plain), one = 1;

	CHECK(kcm_listener_register(l, 1) == -EOPNOTSUPP);
	CHECK(kcm_listener_generation(l, 1) == -EOPNOTSUPP);
	CHECK(kcm_listener_drain(l) == -EOPNOTSUPP);
	CHECK(raw(l, KCM_SO_LISTENER_DRAIN, &one, 4) == -ENOPROTOOPT);
	CHECK(kcm_listener_generation(l, 0) == -EINVAL);
}

static const char *label(int fd, const char *key, uint32_t *generation)
{
	static struct kcm_sock_stats s;

	s = (struct kcm_sock_stats){ .sz = sizeof(s) };
	CHECK(!kcm_sock_get(fd, &s));
	*generation = s.generation;
	for (int i = 0; i < KCM_SOCK_LABELS; i++)
		if (!strcmp(s.label[i].key, key))
			return s.label[i].value;
	return "";
}

static void beside(void)
{
	static char page[8192] = "reno";
	int l = listener(&plain), fresh, one = 1, zero = 0, c, s;
	socklen_t len = sizeof(one);
	uint32_t n = 0;

	CHECK(!mg_view_open(&view, "beside", true));
	selector();
	doing("a listener");
	CHECK(!kcm_sock_set(l, "svc", "web") && !kcm_listener_register(l, 3));
	CHECK(!kcm_sock_generation(l, 7) && !kcm_listener_generation(l, 3));
	CHECK(!strcmp(label(l, "svc", &n), "web") && n == 7 && gen_of(l)->key.number == 3);
	doing("a socket that is not bound yet");
	fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!kcm_listener_register(fresh, 4) && !kcm_sock_set(fresh, "svc", "api"));
	CHECK(!strcmp(label(fresh, "svc", &n), "api"));
	close(fresh);
	fresh = bound_to(PORT);
	CHECK(!kcm_listener_register(fresh, 4) && !kcm_sock_set(fresh, "svc", "api"));
	CHECK(!listen(fresh, 128) && works(fresh) && gen_of(fresh)->key.number == 4);
	CHECK(!strcmp(label(fresh, "svc", &n), "api") && !n);
	doing("what it accepts");
	c = client(&plain, number++, true);
	CHECK(poll(&(struct pollfd){ .fd = fresh, .events = POLLIN }, 1, WAIT_MS) == 1);
	CHECK((s = accept(fresh, NULL, NULL)) >= 0);
	CHECK(!strcmp(label(s, "svc", &n), "api") && kcm_listener_register(s, 1) == -EINVAL);
	CHECK(!kcm_sock_set(s, "svc", "") && !strcmp(label(fresh, "svc", &n), "api"));
	CHECK(!kcm_listener_drain(fresh) && works(l));
	doing("what is wrong is so for the one that knows it");
	CHECK(raw(l, KCM_SO_LABEL, "noequals", 8) == -EINVAL);
	CHECK(raw(l, KCM_SO_LISTENER_DRAIN, &zero, 4) == -EINVAL);
	CHECK(raw(l, KCM_SO_LISTENER_DRAIN, page, sizeof(page)) == -EINVAL);
	CHECK(raw(l, KCM_SO_GENERATION, page, 3) == -EINVAL);
	CHECK(raw(l, 99, &one, 4) == -ENOPROTOOPT && raw(l, KCM_SO_STATE, &one, 4) == -ENOPROTOOPT);
	CHECK(!getsockopt(l, KCM_SOL_KCM, KCM_SO_GENERATION, &one, &len) && one == 7);
	CHECK(getsockopt(l, KCM_SOL_KCM, KCM_SO_LISTENER_REGISTER, &one, &len) &&
	      (errno == ENOPROTOOPT || errno == EOPNOTSUPP));
	CHECK(kcm_listener_drain(l) == -ENOENT);
	doing("others' options");
	CHECK(!setsockopt(l, IPPROTO_TCP, TCP_CONGESTION, page, sizeof(page)));
	CHECK(!setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	CHECK(setsockopt(l, SOL_SOCKET, 9999, &one, sizeof(one)) && errno == ENOPROTOOPT);
	close(c);
	mg_view_close(&view);
}

int main(int argc, char **argv)
{
	static const struct say_case cases[] = {
		{ "several", several, KCM_MG_HASH },
		{ "none", none, -1 },
		{ "beside", beside, -1 },
	};

	return run_case(cases, sizeof(cases) / sizeof(*cases), argc, argv);
}
