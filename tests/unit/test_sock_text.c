// SPDX-License-Identifier: GPL-2.0
/* Numbers as people read them. */
#include "cmocka_all.h"
#include "cmd.h"
#include "cmd_sock_filter.h"
#include "cmd_sock_names.h"

#define SEC 1000000000ULL

static void quantiles_lie_in_their_bucket(void **state)
{
	__u32 hist[KCM_SK_HIST] = { 0 };

	(void)state;
	assert_int_equal(sock_hist_quantile(hist, 0.5, 0), 0);
	hist[3] = 98; /* 4 to 8 us */
	hist[10] = 2; /* 512 to 1024 us */
	assert_in_range(sock_hist_quantile(hist, 0.5, 900000), 4000, 8000);
	assert_in_range(sock_hist_quantile(hist, 0.99, 900000), 512000, 900000);
	assert_int_equal(sock_hist_quantile(hist, 1, 900000), 900000);
	hist[KCM_SK_HIST - 1] = 1000; /* all above: the maximum is all we know */
	assert_int_equal(sock_hist_quantile(hist, 0.99, 77ULL * SEC), 77ULL * SEC);
}

static void texts_have_three_digits(void **state)
{
	static const struct {
		void (*fn)(uint64_t, char *);
		uint64_t v;
		const char *text;
	} cases[] = {
		{ sock_bytes_text, 0, "0" },
		{ sock_bytes_text, 1023, "1023" },
		{ sock_bytes_text, 1024, "1K" },
		{ sock_bytes_text, 1536, "1.50K" },
		{ sock_bytes_text, 1 << 20, "1M" },
		{ sock_bytes_text, 150 << 20, "150M" },
		{ sock_count_text, 9999, "9999" },
		{ sock_count_text, 10000, "10k" },
		{ sock_count_text, 12345678, "12.3M" },
		{ sock_rate_text, 1250000, "10Mbit" },
		{ sock_rate_text, 0, "0bit" },
		{ sock_time_text, 0, "0s" },
		{ sock_time_text, 999, "999ns" },
		{ sock_time_text, 1500, "1.50us" },
		{ sock_time_text, 99 * SEC, "99s" },
		{ sock_time_text, 100 * SEC, "1m40s" },
		{ sock_time_text, 7200 * SEC, "2h00m" },
		{ sock_time_text, 999999, "1.00ms" },
		{ sock_time_text, 90 * 3600 * SEC, "3d18h" },
	};
	char text[SOCK_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cases[i].fn(cases[i].v, text);
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantiles_lie_in_their_bucket),
		cmocka_unit_test(texts_have_three_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
