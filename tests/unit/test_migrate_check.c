// SPDX-License-Identifier: GPL-2.0
/* What `migrate check` predicts, from listeners as they might be. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include "cmocka_all.h"
#include "cmd_migrate_check.h"

#define UNKNOWN KCM_LISTENER_UNKNOWN

static struct kcm_listener_owner owner = { .pid = 12, .fd = 3, .comm = "server" };

static struct kcm_listener listener(void)
{
	return (struct kcm_listener){
		.netns_inode = 1,
		.port = 80,
		.protocol = IPPROTO_TCP,
		.family = AF_INET,
		.addr = { 127, 0, 0, 1 },
		.backlog = 128,
		.reuseport = 1,
		.reuseport_prog = UNKNOWN,
		.incoming_cpu = -1,
		.owners = &owner,
		.n_owners = 1,
	};
}

/* A machine on which nothing is wrong, with two listeners. */
struct machine {
	struct kcm_listener l[4];
	bool steered[4];
	struct kcm_listener_env env;
	struct migrate_check_in in;
	struct migrate_findings found;
};

static struct machine good(void)
{
	struct machine m = {
		.env = { .netns_inode = 1,
			 .entered = true,
			 .somaxconn = 4096,
			 .syncookies = 1,
			 .fastopen = 3 },
		.in = { .port = 80, .protocol = IPPROTO_TCP, .n = 2, .major = 6, .minor = 1 },
	};

	for (int i = 0; i < 4; i++) {
		m.l[i] = listener();
		m.steered[i] = true;
	}
	return m;
}

static enum migrate_severity judge(struct machine *m)
{
	m->in.l = m->l;
	m->in.steered = m->steered;
	m->in.env = &m->env;
	m->in.n_env = 1;
	migrate_findings_free(&m->found);
	assert_int_equal(migrate_judge(&m->in, &m->found), 0);
	for (size_t i = 0; i < m->found.n; i++) {
		assert_true(m->found.f[i].why[0]);
		assert_true(i == 0 || m->found.f[i].severity <= m->found.f[i - 1].severity);
		if (m->found.f[i].severity == MIGRATE_LOSS)
			assert_true(m->found.f[i].remedy[0] && m->found.f[i].where[0]);
	}
	return migrate_verdict(&m->found);
}

static const struct migrate_finding *has(const struct machine *m, const char *what)
{
	for (size_t i = 0; i < m->found.n; i++)
		if (streq(m->found.f[i].what, what))
			return &m->found.f[i];
	return NULL;
}

/* There is one finding of this severity, and nothing is worse. */
static void only(struct machine *m, enum migrate_severity severity, const char *what)
{
	size_t n = 0;

	if (judge(m) != severity)
		fail_msg("%s: the verdict is %s", what,
			 migrate_severity_name(migrate_verdict(&m->found)));
	for (size_t i = 0; i < m->found.n; i++)
		n += m->found.f[i].severity == severity;
	if (!has(m, what) || has(m, what)->severity != severity || n != 1)
		fail_msg("%s: %zu findings of severity %s, the first is %s", what, n,
			 migrate_severity_name(severity), m->found.f[0].what);
	migrate_findings_free(&m->found);
}

static void all_is_well(void **state)
{
	struct machine m = good();

	(void)state;
	assert_int_equal(judge(&m), MIGRATE_OK);
	assert_non_null(has(&m, "group"));
	assert_non_null(has(&m, "migration"));
	assert_int_equal(m.found.n, 2);
	migrate_findings_free(&m.found);
}

static void nobody_listens(void **state)
{
	struct machine m = good();

	(void)state;
	m.in.n = 0;
	only(&m, MIGRATE_LOSS, "listener");
	m.in.blind.processes = 3;
	assert_int_equal(judge(&m), MIGRATE_LOSS);
	assert_non_null(has(&m, "processes"));
	migrate_findings_free(&m.found);
}

static void what_a_listener_is_without(void **state)
{
	struct machine m = good();

	(void)state;
	m.in.n = 1;
	only(&m, MIGRATE_LOSS, "alone");
	m.l[0].reuseport = 0;
	only(&m, MIGRATE_LOSS, "reuseport");
	m.l[0].reuseport = 1;
	m.l[0].mptcp = 1;
	only(&m, MIGRATE_LOSS, "mptcp");
}

static void groups_that_are_none(void **state)
{
	struct machine m = good();

	(void)state;
	m.l[1].ifindex = 2;
	only(&m, MIGRATE_LOSS, "device");
	m = good();
	m.l[1].uid = 1000;
	only(&m, MIGRATE_LOSS, "uid");
	m = good();
	memset(m.l[0].addr, 0, 16);
	m.l[1] = m.l[0];
	m.l[1].family = AF_INET6;
	only(&m, MIGRATE_LOSS, "family");
	m.l[0] = m.l[1];
	m.l[1].v6only = 1;
	only(&m, MIGRATE_LOSS, "v6only");
	/* 0.0.0.0 and [::] V6ONLY do not look like one, they are one each. */
	m.l[0].family = AF_INET;
	assert_int_equal(judge(&m), MIGRATE_LOSS);
	assert_null(has(&m, "family"));
	assert_string_equal(m.found.f[1].what, "alone");
	/* Two and two for each device is what it should be; it is said nevertheless. */
	m = good();
	m.in.n = 4;
	m.l[2].ifindex = m.l[3].ifindex = 2;
	only(&m, MIGRATE_WARN, "device");
}

static void kinds(void **state)
{
	struct machine m = good();

	(void)state;
	m.l[1].md5 = 1;
	only(&m, MIGRATE_LOSS, "md5");
	m.l[0].md5 = 1;
	assert_int_equal(judge(&m), MIGRATE_OK);
	migrate_findings_free(&m.found);
	m = good();
	m.l[1].save_syn = 1;
	only(&m, MIGRATE_WARN, "save_syn");
	m = good();
	m.l[0].fastopen = 5;
	only(&m, MIGRATE_WARN, "fastopen");
	m.l[1].fastopen = 50;
	assert_int_equal(judge(&m), MIGRATE_OK);
	migrate_findings_free(&m.found);
	m = good();
	m.l[0].defer_accept = 3;
	assert_int_equal(judge(&m), MIGRATE_OK);
	assert_non_null(has(&m, "defer_accept"));
	migrate_findings_free(&m.found);
	/* What is not known is no difference. */
	m = good();
	m.l[0].save_syn = UNKNOWN;
	m.l[1].save_syn = 1;
	assert_int_equal(judge(&m), MIGRATE_OK);
	migrate_findings_free(&m.found);
}

static void the_odd_one_is_named(void **state)
{
	static struct kcm_listener_owner odd = { .pid = 99, .comm = "odd" };
	struct machine m = good();

	(void)state;
	m.in.n = 3;
	m.l[1].owners = &odd;
	m.l[1].md5 = 1;
	judge(&m);
	assert_string_equal(has(&m, "md5")->where, "127.0.0.1:80 (odd 99)");
	m.l[0].md5 = m.l[2].md5 = 1;
	m.l[1].md5 = 0;
	judge(&m);
	assert_string_equal(has(&m, "md5")->where, "127.0.0.1:80 (odd 99)");
	migrate_findings_free(&m.found);
}

static void queues(void **state)
{
	struct machine m = good();

	(void)state;
	m.l[0].queue = 100; /* fit into 129 */
	assert_int_equal(judge(&m), MIGRATE_OK);
	m.l[1].backlog = 3;
	only(&m, MIGRATE_WARN, "backlog"); /* they are served beyond it */
	m.l[0].half_open = m.l[1].half_open = 50;
	m.l[0].queue = 0;
	only(&m, MIGRATE_LOSS, "backlog");
	m.l[1].backlog = 128;
	m.l[1].queue = 129;
	only(&m, MIGRATE_LOSS, "backlog");
	m.l[1].queue = 128;
	m.l[0].half_open = m.l[1].half_open = 1;
	assert_int_equal(judge(&m), MIGRATE_OK);
	m.env.somaxconn = 128;
	m.l[1].queue = 129;
	judge(&m);
	assert_non_null(strstr(has(&m, "backlog")->remedy, "somaxconn"));
	/* The greatest there are: nothing is rounded away. */
	m.l[0].queue = m.l[1].queue = m.l[0].backlog = m.l[1].backlog = UINT32_MAX;
	m.l[0].half_open = m.l[1].half_open = UINT32_MAX;
	assert_int_equal(judge(&m), MIGRATE_LOSS);
	migrate_findings_free(&m.found);
}

static void settings_of_the_namespace(void **state)
{
	struct machine m = good();

	(void)state;
	m.env.syncookies = 2;
	only(&m, MIGRATE_WARN, "syncookies");
	m.env.syncookies = 1;
	m.l[0].half_open = m.l[1].half_open = 129;
	m.in.n = 3; /* there is room for all of them */
	only(&m, MIGRATE_WARN, "syncookies");
	m = good();
	m.env.syncookies_sent = 7;
	assert_int_equal(judge(&m), MIGRATE_OK);
	assert_non_null(has(&m, "syncookies"));
	m = good();
	m.env.abort_on_overflow = 1;
	only(&m, MIGRATE_WARN, "abort_on_overflow");
	m = good();
	m.l[0].fastopen = m.l[1].fastopen = 5;
	m.env.fastopen = 1;
	only(&m, MIGRATE_WARN, "tcp_fastopen");
}

static void who_migrates(void **state)
{
	struct machine m = good();

	(void)state;
	m.steered[1] = false;
	only(&m, MIGRATE_WARN, "migration");
	m.steered[0] = false;
	only(&m, MIGRATE_LOSS, "migration");
	m.env.migrate_req = 1;
	only(&m, MIGRATE_WARN, "migration");
	m = good();
	m.in.minor = 0;
	only(&m, MIGRATE_WARN, "kernel");
	m.in.major = 5;
	m.in.minor = 14;
	only(&m, MIGRATE_WARN, "kernel");
	m.in.minor = 13;
	only(&m, MIGRATE_LOSS, "kernel");
	m.in.major = 0; /* not known */
	assert_int_equal(judge(&m), MIGRATE_OK);
	migrate_findings_free(&m.found);
}

static void what_is_hidden(void **state)
{
	struct machine m = good();

	(void)state;
	m.l[0].dup_err = -EPERM;
	only(&m, MIGRATE_UNKNOWN, "settings");
	m.l[0].dup_err = 0;
	m.l[0].md5 = UNKNOWN;
	only(&m, MIGRATE_UNKNOWN, "md5");
	m = good();
	m.l[0].dup_err = -ENOENT; /* it ended meanwhile */
	assert_int_equal(judge(&m), MIGRATE_OK);
	m.l[0].n_owners = 0;
	only(&m, MIGRATE_WARN, "owner");
	m.in.blind.processes = 1;
	only(&m, MIGRATE_UNKNOWN, "settings");
	m = good();
	m.in.blind.netns = 1;
	only(&m, MIGRATE_UNKNOWN, "netns");
	/* A loss is a loss, whatever else is not known. */
	m.l[1].md5 = 1;
	assert_int_equal(judge(&m), MIGRATE_LOSS);
	migrate_findings_free(&m.found);
	/* One that may have SO_REUSEPORT is not said to be alone. */
	m = good();
	m.in.n = 1;
	m.l[0].reuseport = UNKNOWN;
	m.l[0].dup_err = -EPERM;
	only(&m, MIGRATE_UNKNOWN, "settings");
}

static void udp(void **state)
{
	struct machine m = good();

	(void)state;
	m.in.protocol = IPPROTO_UDP;
	for (int i = 0; i < 2; i++) {
		m.l[i].protocol = IPPROTO_UDP;
		m.l[i].backlog = 0;
		m.steered[i] = false;
	}
	only(&m, MIGRATE_WARN, "udp");
	m.l[1].queue = 2000;
	only(&m, MIGRATE_LOSS, "udp");
	m.in.n = 1;
	m.l[0].reuseport = 0;
	only(&m, MIGRATE_LOSS, "reuseport");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_is_well),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(what_a_listener_is_without),
		cmocka_unit_test(groups_that_are_none),
		cmocka_unit_test(kinds),
		cmocka_unit_test(the_odd_one_is_named),
		cmocka_unit_test(queues),
		cmocka_unit_test(settings_of_the_namespace),
		cmocka_unit_test(who_migrates),
		cmocka_unit_test(what_is_hidden),
		cmocka_unit_test(udp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
