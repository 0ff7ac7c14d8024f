// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Every preset with every dispatch policy passes this kernel's verifier, with room to spare: the
 * descriptor and the policy are constants of the program, so each pair is another program. The
 * same for mode strparser, with the presets that it can have.
 *
 *   test_mux_load [PRESET...]	(MUX_LOAD_TABLE=1: "preset policy program verified_insns" of each)
 */
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../unit/cmocka_all.h"
#include "kcm.h"
#include "pin.h"

/* Half of what the verifier walks before it gives up: later kernels may walk further. */
#define VERIFIED_MAX 500000

static const char *const policies[] = {
	[KCM_DISPATCH_LEAST] = "least",
	[KCM_DISPATCH_ROBIN] = "robin",
	[KCM_DISPATCH_CONN] = "conn",
	[KCM_DISPATCH_KEY] = "key",
};

static unsigned int verified_insns(const char *name, const char *prog)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	char path[KCM_PIN_PATH];
	int fd;

	assert_int_equal(kcm_pin_path(path, sizeof(path), "mux", name, prog), 0);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	close(fd);
	return info.verified_insns;
}

static void check_insns(const char *name, const char *what, const char *prog)
{
	unsigned int n = verified_insns(name, prog);

	if (getenv("MUX_LOAD_TABLE"))
		fprintf(stderr, "%s %s %u\n", what, prog, n);
	if (n > VERIFIED_MAX)
		fail_msg("%s: the verifier walked %u instructions of %s", what, n, prog);
}

static void load(const struct kcm_frame_preset *p, const struct kcm_frame *frame,
		 enum kcm_dispatch policy, int strparser)
{
	struct kcm_mux_opts o = {
		.sz = sizeof(o),
		.frame = *frame,
		.dispatch = policy,
		.strparser = strparser,
		.conns = 8,
		.arena_bytes = 6 << 20,
	};
	char err[256] = "", name[KCM_PIN_NAME], what[64];

	o.key_off = 4;
	o.key_bytes = policy == KCM_DISPATCH_KEY ? 8 : 0;
	snprintf(name, sizeof(name), "load-%d", getpid());
	snprintf(what, sizeof(what), "%s %s", p->name, policies[policy]);
	if (kcm_mux_create(name, &o, err, sizeof(err)))
		fail_msg("%s%s: %s", what, strparser ? " strparser" : "", err);
	if (strparser) {
		check_insns(name, what, "kcm_parser");
		check_insns(name, what, "kcm_strp_verd");
	} else {
		check_insns(name, what, "kcm_verdict");
	}
	check_insns(name, what, "kcm_sockops");
	assert_int_equal(kcm_mux_delete(name, 0), 0);
}

static void preset_loads(void **state)
{
	const struct kcm_frame_preset *p = *state;
	struct kcm_frame frame;
	char err[256] = "";

	if (kcm_frame_parse(p->name, &frame, err, sizeof(err)))
		fail_msg("%s: %s", p->name, err);
	for (int i = KCM_DISPATCH_LEAST; i <= KCM_DISPATCH_KEY; i++) {
		load(p, &frame, (enum kcm_dispatch)i, 0);
		if (frame.kind == KCM_FRAME_LENGTH || frame.kind == KCM_FRAME_VARINT)
			load(p, &frame, (enum kcm_dispatch)i, 1);
	}
}

static int wanted(const char *name, char *const names[])
{
	if (!names[0])
		return 1;
	while (*names)
		if (!strcmp(*names++, name))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[64];
	size_t n = 0;

	(void)argc;
	for (const struct kcm_frame_preset *p = kcm_frame_presets(); p->name && n < 64; p++)
		if (wanted(p->name, argv + 1))
			tests[n++] = (struct CMUnitTest){ .name = p->name,
							  .test_func = preset_loads,
							  .initial_state = (void *)(uintptr_t)p };
	return _cmocka_run_group_tests("every policy loads", tests, n, NULL, NULL);
}
