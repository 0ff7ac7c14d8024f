// SPDX-License-Identifier: GPL-2.0
/* The commands without an object. */
#include <sys/utsname.h>
#include "cmd.h"
#include "doctor.h"
#include "feature.h"
#include "load.h"
#include "system.h"
#include <bpf/libbpf.h>

static int version_run(const struct cmd_args *args)
{
	struct utsname u;

	out_str(args->out, "kcmtool", KCM_VERSION);
	out_str(args->out, "libbpf", libbpf_version_string());
	out_str(args->out, "kernel", uname(&u) ? NULL : u.release);
	out_group(args->out, "layouts");
	for (const struct kcm_system *const *s = kcm_systems; *s; s++)
		out_u64(args->out, (*s)->name, (*s)->layout);
	out_end(args->out);
	return 0;
}

static int help_run(const struct cmd_args *args)
{
	const char *word = args->npos ? args->pos[0] : NULL;
	const struct cmd *cmd = word && args->npos == 1 ? cmd_find(NULL, word)
				: args->npos == 2	? cmd_find(word, args->pos[1])
							: NULL;
	FILE *out = out_raw(args->out);

	if (args_flag(args, "rst"))
		help_rst(out, word);
	else if (!word)
		help_all(out);
	else if (args->npos == 1 && cmd_is_object(word))
		help_object(out, word);
	else if (cmd)
		help_cmd(out, cmd);
	else
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = "kcmtool help"),
			      "no help for '%s'", word);
	return 0;
}

static int completion_run(const struct cmd_args *args)
{
	const char *shell = args->pos[0];
	FILE *out = out_raw(args->out);

	if (streq(shell, "bash"))
		return complete_bash(out);
	if (streq(shell, "zsh"))
		return complete_zsh(out);
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = "bash or zsh"), "unknown shell '%s'",
		      shell);
}

static const struct cmd_opt load_opts[] = {
	{ .name = "force", .dashed = true, .help = "load on a kernel that is known to lose data" },
	{ 0 }
};

static const struct cmd_opt unload_opts[] = {
	{ .name = "force", .dashed = true, .help = "unload what processes are using" }, { 0 }
};

static const struct cmd_opt help_opts[] = {
	{ .name = "rst", .dashed = true, .help = "as reStructuredText, for the manual pages" },
	{ 0 }
};

const struct cmd core_cmds[] = {
	{ NULL, "load", "[SYSTEM]...", "Load systems (all) and make them ready",
	  LOAD_NEEDS | FEAT(CAP_PERFMON), load_run, load_opts, "@systems" },
	{ NULL, "unload", "[SYSTEM]...", "Unload systems (all) that nothing uses", LOAD_NEEDS,
	  unload_run, unload_opts, "@systems" },
	{ NULL, "status", NULL, "Show what is loaded and who uses it", FEAT(CAP_BPF), status_run,
	  NULL, NULL },
	{ NULL, "doctor", NULL, "Try what this machine can do and say how to get the rest", 0,
	  doctor_run, NULL, NULL },
	{ NULL, "version", NULL, "Show versions", 0, version_run, NULL, NULL },
	{ NULL, "completion", "SHELL", "Print the completion script for bash or zsh", 0,
	  completion_run, NULL, "bash zsh" },
	{ NULL, "help", "[COMMAND] [VERB]", "Show help", 0, help_run, help_opts, "@commands" },
	{ 0 }
};
