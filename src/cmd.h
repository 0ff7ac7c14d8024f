/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The command table. Help, shell completion and the synopses of the manual pages are made from
 * it, and the parser checks arguments against it: a command is described once.
 *
 * A system (mux, ...) adds its table by its struct kcm_system in systems.c.
 */
#ifndef KCM_CMD_H
#define KCM_CMD_H

#include <stdbool.h>
#include <stdint.h>
#include "log.h"
#include "out.h"

#define CMD_OPTS 24

struct cmd_args;

/* An option, written `NAME VALUE` or `--NAME VALUE` (or `--NAME=VALUE`). */
struct cmd_opt {
	const char *name;
	const char *value; /* what help calls the value; NULL: a flag */
	const char *help;
	const char *choices; /* completion offers these words */
	bool required;
	bool dashed; /* shown as --NAME, and only known so */
	bool many;   /* may be given again, see args_all() */
	char letter; /* -L is the same; 0: there is none */
};

struct cmd {
	const char *object; /* "mux"; NULL: `kcmtool VERB` */
	const char *verb;
	const char *args; /* "NAME", "[NAME]", "[SYSTEM]...", "NAME -- PROGRAM [ARG]..." */
	const char *help;
	uint64_t needs; /* bits of enum feature_id: what the kernel and the caller must have */
	int (*run)(const struct cmd_args *args);
	const struct cmd_opt *opts; /* ends with an empty entry; NULL: none */
	const char *complete;	    /* words, or `@` + kind, that completion offers for @args */
};

struct cmd_args {
	const struct cmd *cmd;
	struct out *out;
	char **pos; /* positional arguments, NULL-terminated */
	int npos;
	char **rest;		   /* what follows `--`, NULL-terminated; NULL: nothing */
	const char *opt[CMD_OPTS]; /* of one that may be given again, the first */
	struct cmd_more *more;	   /* the others, in order */
	size_t n_more;
};

struct cmd_more {
	int opt;
	const char *value;
};

/* ---- for handlers: options by name ---- */
const char *args_str(const struct cmd_args *args, const char *name, const char *otherwise);
bool args_flag(const struct cmd_args *args, const char *name);
/* All values of an option that may be given again. Return: how many there are; @max are stored. */
size_t args_all(const struct cmd_args *args, const char *name, const char **values, size_t max);
/**
 * args_u64() - number given for option @name, suffixes k, M, G allowed
 * Return: 0, or the exit code after an error line.
 */
int args_u64(const struct cmd_args *args, const char *name, uint64_t min, uint64_t max,
	     uint64_t otherwise, uint64_t *value);

/* ---- one command line ---- */
struct cmd_globals {
	enum out_format format;
	bool verbose;
	bool help;
	bool version;
};
/* Take -j -p -v -h -V (also joined: -jv) and their long forms out of @argv, up to `--`. */
int cmd_globals_take(char **argv, struct cmd_globals *globals);
/* Parse @argv (what follows object and verb) for @cmd. Frees with args_free(). */
int args_parse(const struct cmd *cmd, char **argv, struct cmd_args *args);
void args_free(struct cmd_args *args);
bool str_to_u64(const char *text, uint64_t *value);

int cmd_run(int argc, char **argv);

/* ---- walking the tables ---- */
const struct cmd *const *cmd_tables(void); /* NULL-terminated */
#define cmd_for_each(c)                                             \
	for (const struct cmd *const *t_ = cmd_tables(); *t_; t_++) \
		for (const struct cmd *c = *t_; c->verb; c++)
const struct cmd *cmd_find(const char *object, const char *verb);
bool cmd_is_object(const char *name);
const char *cmd_object_help(const char *object);

/* ---- made from the tables ---- */
void help_synopsis(FILE *f, const struct cmd *cmd);
void help_all(FILE *f);
void help_object(FILE *f, const char *object);
void help_cmd(FILE *f, const struct cmd *cmd);
void help_rst(FILE *f, const char *object);
int complete_bash(FILE *f);
int complete_zsh(FILE *f);

extern const struct cmd core_cmds[];

#endif
