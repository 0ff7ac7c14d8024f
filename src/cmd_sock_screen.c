// SPDX-License-Identifier: GPL-2.0
/* sock top on a terminal: keys, and the terminal itself. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include "cmd_sock_screen.h"
/* Last: it defines macros of common words. */
#include <curses.h>

#define KEY_ESCAPE 27

const struct top_key top_keys[] = {
	{ 'b', "bytes_s", "sort by bytes a second, both ways" },
	{ 'r', "rx_s", "by bytes received a second" },
	{ 't', "tx_s", "by bytes sent a second" },
	{ 'm', "msgs_s", "by messages a second" },
	{ 'x', "retrans_s", "by retransmitted segments a second" },
	{ 'u', "rtt", "by round-trip time" },
	{ 'l', "p99", "by latency, 99th percentile" },
	{ 'i', "idle", "by idle time" },
	{ 'a', "age", "by age" },
	{ 'c', "comm", "by command" },
	{ 0 },
};

/* ---- keys ---- */

static void edit_done(struct top_view *sc)
{
	struct sock_filter f;
	char *word = sc->edit;

	sc->editing = false;
	if (sock_filter_parse_quiet(&f, &word, 1, sc->said, sizeof(sc->said)))
		return;
	sc->t->filter = f;
	strcpy(sc->t->filter_text, sc->edit);
	sc->first = 0;
	top_take(sc->t);
}

static void edit_key(struct top_view *sc, int key)
{
	size_t n = strlen(sc->edit);

	if (key == '\n' || key == KEY_ENTER) {
		edit_done(sc);
	} else if (key == KEY_ESCAPE) {
		sc->editing = false;
	} else if (key == KEY_BACKSPACE || key == 127 || key == 8) {
		if (n)
			sc->edit[n - 1] = '\0';
	} else if (key == 21) { /* ^U */
		*sc->edit = '\0';
	} else if (key >= ' ' && key < 127 && n + 1 < sizeof(sc->edit)) {
		sc->edit[n] = (char)key;
		sc->edit[n + 1] = '\0';
	}
}

static void move_to(struct top_view *sc, long by)
{
	long to = (long)sc->first + by;

	sc->first = to < 0 ? 0 : (size_t)to;
}

/* Return: false to quit. */
static bool on_key(struct top_view *sc, int key)
{
	struct top *t = sc->t;
	long page = LINES > TOP_HEAD + 1 ? LINES - TOP_HEAD - 1 : 1;

	if (sc->editing) {
		edit_key(sc, key);
		return true;
	}
	*sc->said = '\0';
	if (sc->help) {
		sc->help = false;
		return key != 'q';
	}
	for (const struct top_key *k = top_keys; k->key; k++) {
		if (k->key != key)
			continue;
		top_sort_parse(t, k->sort);
		top_order(t);
		sc->first = 0;
		return true;
	}
	switch (key) {
	case 'q':
		return false;
	case 'h':
	case '?':
		sc->help = true;
		break;
	case 'p':
	case ' ':
		sc->paused = !sc->paused;
		break;
	case 'R':
		t->reverse = !t->reverse;
		top_order(t);
		break;
	case 'f':
	case '/':
		sc->editing = true;
		strcpy(sc->edit, t->filter_text);
		break;
	case '+':
		t->interval_ns = t->interval_ns > 200000000ULL ? t->interval_ns / 2 : 100000000ULL;
		break;
	case '-':
		t->interval_ns =
			t->interval_ns < 30000000000ULL ? t->interval_ns * 2 : t->interval_ns;
		break;
	case KEY_DOWN:
		move_to(sc, 1);
		break;
	case KEY_UP:
		move_to(sc, -1);
		break;
	case KEY_NPAGE:
		move_to(sc, page);
		break;
	case KEY_PPAGE:
		move_to(sc, -page);
		break;
	case KEY_HOME:
		sc->first = 0;
		break;
	}
	return true;
}

/* ---- the terminal ---- */

/* What kills us must not leave the terminal as it is now. */
static void on_fatal(int sig)
{
	endwin(); /* NOLINT(bugprone-signal-handler): if it does not, nothing gets worse */
	signal(sig, SIG_DFL);
	raise(sig);
}

static int screen_open(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGQUIT };
	const char *term = getenv("TERM");

	setlocale(LC_CTYPE, "");
	if (!newterm(NULL, stdout, stdin))
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "TERM",
				      .why = term ? term : "not set",
				      .next = "kcmtool sock top --batch"),
			      "this terminal is not known");
	for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
		signal(fatal[i], on_fatal);
	cbreak();
	noecho();
	nonl();
	intrflush(stdscr, FALSE);
	keypad(stdscr, TRUE);
	set_escdelay(50);
	return 0;
}

int top_screen(struct top *t)
{
	struct top_view sc = { .t = t };
	int code = screen_open(), err = 0;
	uint64_t next = 0;
	bool on = true;

	if (code)
		return code;
	while (on && !top_interrupted && !err && (!t->count || t->rounds <= t->count)) {
		uint64_t now = top_now();
		int key;

		if (now >= next && !sc.paused) {
			err = top_take(t);
			/* The first rates soon. */
			next = now + (t->rounds == 1 && t->interval_ns > 500000000ULL
					      ? 500000000ULL
					      : t->interval_ns);
		}
		top_draw(&sc);
		now = top_now();
		timeout(sc.paused ? 500 : now < next ? (int)((next - now) / 1000000) + 1 : 0);
		key = getch();
		if (key != ERR && key != KEY_RESIZE)
			on = on_key(&sc, key == '\r' ? '\n' : key);
	}
	endwin();
	return err ? sock_report(err, "cannot read sockets") : 0;
}
