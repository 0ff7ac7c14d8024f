// SPDX-License-Identifier: GPL-2.0
/* What the screen of sock top shows. */
#include <stdarg.h>
#include <time.h>
#include "cmd_sock_names.h"
#include "cmd_sock_screen.h"
/* Last: it defines macros of common words. */
#include <curses.h>

/* ---- columns ---- */

typedef void (*cell_fn)(const struct top *t, const struct top_row *r, char *text, size_t size);

static void field(const struct top *t, const struct top_row *r, enum sock_field_id id,
		  void (*fn)(uint64_t, char *), char *text)
{
	uint64_t num;

	strcpy(text, "-");
	if (sock_field_num(&sock_fields[id], r->s, t->filter.now_ns, &num))
		fn(num, text);
}

#define FIELD_CELL(name, id, fn)                                                                \
	static void name(const struct top *t, const struct top_row *r, char *text, size_t size) \
	{                                                                                       \
		(void)size;                                                                     \
		field(t, r, SOCK_F_##id, fn, text);                                             \
	}
#define RATE_CELL(name, member, fn)                                                             \
	static void name(const struct top *t, const struct top_row *r, char *text, size_t size) \
	{                                                                                       \
		(void)t, (void)size;                                                            \
		fn(r->member, text);                                                            \
	}

FIELD_CELL(cell_rtt, RTT, sock_time_text)
FIELD_CELL(cell_p99, LAT_P99, sock_time_text)
FIELD_CELL(cell_retrans, RETRANS, sock_count_text)
FIELD_CELL(cell_idle, IDLE, sock_time_text)
FIELD_CELL(cell_age, AGE, sock_time_text)
FIELD_CELL(cell_rx, RX_BYTES, sock_bytes_text)
FIELD_CELL(cell_tx, TX_BYTES, sock_bytes_text)
RATE_CELL(cell_rx_s, rx, sock_bytes_text)
RATE_CELL(cell_tx_s, tx, sock_bytes_text)
RATE_CELL(cell_msgs_s, msgs, sock_count_text)

static void cell_local(const struct top *t, const struct top_row *r, char *text, size_t size)
{
	(void)t, (void)size;
	sock_addr_text(r->s->info.family, r->s->info.laddr, r->s->info.lport, text);
}

static void cell_peer(const struct top *t, const struct top_row *r, char *text, size_t size)
{
	(void)t, (void)size;
	sock_addr_text(r->s->info.family, r->s->info.raddr, r->s->info.rport, text);
}

static void cell_state(const struct top *t, const struct top_row *r, char *text, size_t size)
{
	(void)t;
	snprintf(text, size, "%s",
		 r->s->proto == KCM_SK_UDP	     ? "udp"
		 : r->s->state == KCM_SK_ESTABLISHED ? "estab"
						     : sock_state_name(r->s->state));
}

static void cell_role(const struct top *t, const struct top_row *r, char *text, size_t size)
{
	(void)t;
	snprintf(text, size, "%s", sock_role_name(r->s->role));
}

static void cell_process(const struct top *t, const struct top_row *r, char *text, size_t size)
{
	(void)t;
	top_process(&r->s->info, text, size);
}

static void cell_labels(const struct top *t, const struct top_row *r, char *text, size_t size)
{
	size_t used = 0;

	(void)t;
	*text = '\0';
	for (int l = 0; l < KCM_SK_LABELS && used < size; l++) {
		const struct kcm_sk_label *label = &r->s->info.label[l];

		if (*label->key)
			used += (size_t)snprintf(text + used, size - used, "%s%.*s=%.*s",
						 used ? "," : "", KCM_SK_KEY, label->key,
						 KCM_SK_VALUE, label->value);
	}
	sock_text_clean(text);
}

struct column {
	const char *title;
	cell_fn fn;
	int width;   /* least */
	int widest;  /* as wide as what is in it, up to this; 0 = width */
	int urgency; /* with little space those with the least go first */
	bool left;
};

static const struct column columns[] = {
	{ "STATE", cell_state, 5, 12, 3, true },     { "ROLE", cell_role, 6, 0, 2, true },
	{ "LOCAL", cell_local, 15, 30, 10, true },   { "PEER", cell_peer, 15, 30, 10, true },
	{ "RX/S", cell_rx_s, 6, 0, 9, false },	     { "TX/S", cell_tx_s, 6, 0, 9, false },
	{ "MSGS/S", cell_msgs_s, 6, 0, 8, false },   { "RTT", cell_rtt, 6, 0, 7, false },
	{ "P99", cell_p99, 6, 0, 6, false },	     { "RETR", cell_retrans, 4, 0, 4, false },
	{ "RX", cell_rx, 6, 0, 1, false },	     { "TX", cell_tx, 6, 0, 1, false },
	{ "AGE", cell_age, 6, 0, 1, false },	     { "IDLE", cell_idle, 6, 0, 5, false },
	{ "PROCESS", cell_process, 8, 24, 8, true }, { "LABELS", cell_labels, 6, 60, 2, true },
};
#define COLUMNS ((int)ARRAY_LEN(columns))

/* How wide each column is on a screen of @cols; 0: it has no place. */
static void layout(const struct top_view *sc, int cols, size_t rows, int width[COLUMNS])
{
	int used = -1, need[COLUMNS];
	char text[160];

	for (int c = 0; c < COLUMNS; c++) {
		need[c] = columns[c].width;
		width[c] = 0;
		for (size_t i = 0; columns[c].widest && i < rows; i++) {
			int n;

			columns[c].fn(sc->t, &sc->t->rows[sc->first + i], text, sizeof(text));
			n = (int)strlen(text);
			n = n > columns[c].widest ? columns[c].widest : n;
			need[c] = n > need[c] ? n : need[c];
		}
	}
	/* First the least for the most urgent ones, then what is left over for the addresses. */
	for (int urgency = 10; urgency > 0; urgency--) {
		for (int c = 0; c < COLUMNS; c++) {
			if (columns[c].urgency != urgency || used + 1 + columns[c].width > cols)
				continue;
			width[c] = columns[c].width;
			used += 1 + width[c];
		}
		for (int c = 0; c < COLUMNS; c++) {
			while (width[c] && width[c] < need[c] && used < cols &&
			       columns[c].urgency == urgency) {
				width[c]++;
				used++;
			}
		}
	}
}

static void put_cell(int y, int *x, const char *text, int width, bool left)
{
	int n = (int)strlen(text);

	if (*x)
		(*x)++;
	if (n > width) /* ports and the end of names tell more apart than beginnings */
		mvprintw(y, *x, "~%s", text + n - width + 1);
	else
		mvprintw(y, *x, left ? "%-*s" : "%*s", width, text);
	*x += width;
}

/* ---- drawing ---- */

static void line(int y, const char *format, ...) _printf_(2, 3);

/* What does not fit is cut off: the line below is another one's. */
static void line(int y, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	mvaddnstr(y, 0, text, COLS);
}

static void draw_head(const struct top_view *sc)
{
	const struct top *t = sc->t;
	char when[16], rx[SOCK_TEXT], tx[SOCK_TEXT], every[SOCK_TEXT], msgs[SOCK_TEXT];
	char losses[96] = "";
	time_t now = time(NULL);

	strftime(when, sizeof(when), "%H:%M:%S", localtime(&now));
	sock_time_text(t->interval_ns, every);
	if (t->v.ctl->no_storage || t->v.ctl->beyond)
		snprintf(losses, sizeof(losses), "  not seen %llu  beyond the slots %llu",
			 (unsigned long long)t->v.ctl->no_storage,
			 (unsigned long long)t->v.ctl->beyond);
	line(0, "kcmtool sock top  %s  every %s%s%s", when, every, sc->paused ? "  PAUSED" : "",
	     losses);
	sock_bytes_text(t->totals.rx, rx);
	sock_bytes_text(t->totals.tx, tx);
	sock_count_text(t->totals.msgs, msgs);
	line(1, "%zu conns  rx %s/s  tx %s/s  msgs %s/s  open %llu/s  close %llu/s  fail %llu/s",
	     t->list.n, rx, tx, msgs, (unsigned long long)t->totals.opened,
	     (unsigned long long)t->totals.closed, (unsigned long long)t->totals.failed);
	if (sc->editing)
		line(2, "filter: %s", sc->edit);
	else if (*sc->said)
		line(2, "%s", sc->said);
	else
		line(2, "sort %s%s  filter %s  (h: help)", top_sort_name(t),
		     t->reverse ? " reversed" : "", *t->filter_text ? t->filter_text : "none");
}

static void draw_rows(struct top_view *sc)
{
	size_t rows = LINES > TOP_HEAD ? (size_t)(LINES - TOP_HEAD) : 0;
	int width[COLUMNS], x = 0;
	char text[160];

	if (sc->first >= sc->t->list.n)
		sc->first = sc->t->list.n ? sc->t->list.n - 1 : 0;
	if (rows > sc->t->list.n - sc->first)
		rows = sc->t->list.n - sc->first;
	layout(sc, COLS, rows, width);
	attron(A_REVERSE);
	mvprintw(TOP_HEAD - 1, 0, "%*s", COLS, "");
	for (int c = 0; c < COLUMNS; c++)
		if (width[c])
			put_cell(TOP_HEAD - 1, &x, columns[c].title, width[c], columns[c].left);
	attroff(A_REVERSE);
	for (size_t i = 0; i < rows; i++) {
		x = 0;
		for (int c = 0; c < COLUMNS; c++) {
			if (!width[c])
				continue;
			columns[c].fn(sc->t, &sc->t->rows[sc->first + i], text, sizeof(text));
			put_cell(TOP_HEAD + (int)i, &x, text, width[c], columns[c].left);
		}
	}
}

static void draw_help(void)
{
	int y = 0;

	line(y++, "kcmtool sock top: keys");
	y++;
	for (const struct top_key *k = top_keys; k->key; k++)
		line(y++, "  %c         %s", k->key, k->help);
	line(y++, "  R         reverse the order");
	line(y++, "  f /       filter, as in sock show: port 80 idle>30s; empty: none");
	line(y++, "  p space   pause, and go on");
	line(y++, "  + -       more or less often");
	line(y++, "  arrows    page up, page down, home: move");
	line(y++, "  q         quit");
	line(y + 1, "any key: back");
}

void top_draw(struct top_view *sc)
{
	erase();
	if (sc->help) {
		draw_help();
	} else {
		draw_head(sc);
		draw_rows(sc);
	}
	curs_set(sc->editing);
	if (sc->editing)
		move(2, (int)strlen("filter: ") + (int)strlen(sc->edit));
	refresh();
}
