// SPDX-License-Identifier: GPL-2.0
/* Times, sizes and rates: from what people write, and as they read it. */
#include <ctype.h>
#include "cmd_sock_filter.h"
#include "cmd_sock_names.h"

struct unit {
	const char *name;
	double scale;
};

static bool with_unit(const char *text, const struct unit *units, uint64_t *value)
{
	char *end;
	double v;

	if (!isdigit((unsigned char)*text))
		return false; /* strtod() takes signs, blanks, "inf" */
	v = strtod(text, &end);
	for (; units->name; units++) {
		if (!streq(end, units->name))
			continue;
		v *= units->scale;
		if (!(v < 1.8e19))
			return false;
		*value = (uint64_t)(v + 0.5);
		return true;
	}
	return false;
}

bool sock_text_time(const char *text, uint64_t *ns)
{
	static const struct unit units[] = { { "ns", 1 },     { "us", 1e3 },	{ "ms", 1e6 },
					     { "s", 1e9 },    { "m", 60e9 },	{ "min", 60e9 },
					     { "h", 3.6e12 }, { "d", 86.4e12 }, { 0 } };

	if (streq(text, "0")) { /* the only time that needs no unit */
		*ns = 0;
		return true;
	}
	return with_unit(text, units, ns);
}

bool sock_text_bytes(const char *text, uint64_t *bytes)
{
	static const struct unit units[] = { { "", 1 },
					     { "k", 1024 },
					     { "K", 1024 },
					     { "M", 1024.0 * 1024 },
					     { "G", 1024.0 * 1024 * 1024 },
					     { "T", 1024.0 * 1024 * 1024 * 1024 },
					     { 0 } };

	return with_unit(text, units, bytes);
}

/* Of a line, bits and powers of ten; else bytes. */
bool sock_text_rate(const char *text, uint64_t *bytes)
{
	static const struct unit units[] = { { "bit", 1 / 8.0 },  { "kbit", 1e3 / 8 },
					     { "Kbit", 1e3 / 8 }, { "mbit", 1e6 / 8 },
					     { "Mbit", 1e6 / 8 }, { "gbit", 1e9 / 8 },
					     { "Gbit", 1e9 / 8 }, { 0 } };
	char copy[32];
	size_t n = strlen(text);

	if (n >= sizeof(copy))
		return false;
	memcpy(copy, text, n + 1);
	if (n > 2 && streq(copy + n - 2, "/s"))
		copy[n - 2] = '\0';
	return with_unit(copy, units, bytes) || sock_text_bytes(copy, bytes);
}

/* Three digits and a unit: each is @step times the one before. */
static void scaled(double v, double step, const char *const *units, char text[SOCK_TEXT])
{
	int i = 0;

	while (v >= step * 0.9995 && units[i + 1]) {
		v /= step;
		i++;
	}
	snprintf(text, SOCK_TEXT, "%.*f%s",
		 i == 0 || v >= 99.95 || v == (double)(uint64_t)v ? 0
		 : v >= 9.995					  ? 1
								  : 2,
		 v, units[i]);
}

void sock_bytes_text(uint64_t bytes, char text[SOCK_TEXT])
{
	static const char *const units[] = { "", "K", "M", "G", "T", "P", NULL };

	scaled((double)bytes, 1024, units, text);
}

void sock_count_text(uint64_t n, char text[SOCK_TEXT])
{
	static const char *const units[] = { "", "k", "M", "G", "T", NULL };

	if (n < 10000) /* exact as long as it fits */
		snprintf(text, SOCK_TEXT, "%llu", (unsigned long long)n);
	else
		scaled((double)n, 1000, units, text);
}

void sock_rate_text(uint64_t bytes_per_s, char text[SOCK_TEXT])
{
	static const char *const units[] = { "bit", "kbit", "Mbit", "Gbit", "Tbit", NULL };

	scaled((double)bytes_per_s * 8, 1000, units, text);
}

void sock_time_text(uint64_t ns, char text[SOCK_TEXT])
{
	static const char *const units[] = { "ns", "us", "ms", "s", NULL };
	uint64_t s = ns / 1000000000ULL;

	if (!ns)
		snprintf(text, SOCK_TEXT, "0s");
	else if (s < 100)
		scaled((double)ns, 1000, units, text);
	else if (s < 6000)
		snprintf(text, SOCK_TEXT, "%dm%02ds", (int)(s / 60), (int)(s % 60));
	else if (s < 86400 * 2)
		snprintf(text, SOCK_TEXT, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
	else
		snprintf(text, SOCK_TEXT, "%dd%02dh", (int)(s / 86400), (int)(s / 3600 % 24));
}
