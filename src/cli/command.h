/* SPDX-License-Identifier: Apache-2.0
 * The commands of `pillion`, their options, and parsed command lines. The dispatch, the help, the reference page and
 * the shell completions are derived from one table (command.c). */
#pragma once

#include "base/text.h"
#include "store/scheme.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*  id         name         value    what follows it (for completion)  help */
#define PIL_OPTION_TABLE(X) \
    X(STORE, "store", "URL", STORE, "where releases live: " PIL_STORE_FORMS "; $PILLION_STORE when it is not given") \
    X(CHANNEL, "channel", "NAME", CHANNEL, "the channel: production, staging, canary or any other name") \
    X(SOCKET, "socket", "ADDRESS", SOCKET, "where pilliond listens for resp: unix:PATH or tcp:HOST:PORT") \
    X(ADMIN, "admin", "ADDRESS", SOCKET, "where pilliond listens for admin (default tcp:127.0.0.1:9466)") \
    X(FEATURES, "features", "A,B", NONE, "only these features, in this order") \
    X(VIEW, "view", "NAME", NONE, "only this feature view; with init: the name of the feature view") \
    X(ENTITY, "entity", "COLUMNS", NONE, "the columns of the key, joined by commas (default: asked on a terminal)") \
    X(TIMESTAMP, "timestamp", "COLUMN", NONE, "the column of the event time (default: by its name, else asked)") \
    X(PROJECT, "project", "NAME", NONE, "the name of the project (default: that of its folder)") \
    X(TTL, "ttl", "DURATION", NONE, "how old a value may get, like 7d") \
    X(OUT, "out", "DIR", FILE, "the folder to write to (default: the working folder)") \
    X(KEEP, "keep", "N", NONE, "keep at least this many of the newest releases of each view") \
    X(GRACE, "grace", "SECONDS", NONE, "also keep anything younger than this: builds may be under way (default 3600)") \
    X(ROWS, "rows", "N", NONE, "number of sample rows to show (default 5)") \
    X(AS_OF, "as-of", "TIME", NONE, "leave out rows with a later event timestamp; static views have none") \
    X(FORCE, "force", NULL, NONE, "do it even if something breaks, and list what does; with init: overwrite files") \
    X(ALL, "all", NULL, NONE, "every view of a project") \
    X(PROMOTE, "promote", "CHANNEL", CHANNEL, "once every view is built, point the channel to the new releases") \
    X(SORT, "sort", "ORDER", ORDER, "rate, p99, name, or hits: the fewest first (default rate)") \
    X(ONCE, "once", NULL, NONE, "draw once and end, also on a terminal") \
    X(MAPPED, "mapped", NULL, NONE, "the clients that map releases, and which") \
    X(MEMORY_LIMIT, "memory-limit", "SIZE", NONE, \
      "cap of the resident memory, like 512M (default: half of what the cgroup allows)") \
    X(ON_BAD_ROW, "on-bad-row", "WHAT", BAD_ROW, "fail or skip (default fail)") \
    X(MAX_BAD_ROWS, "max-bad-rows", "N", NONE, "with --on-bad-row=skip: fail when there are more (default 1000)") \
    X(ON_CONFLICT, "on-conflict", "WHAT", CONFLICT, \
      "rows of one key and time with different values: fail or resolve (default resolve: greater values win)") \
    X(TMP, "tmp", "DIR", FILE, "folder for what memory cannot hold (default $TMPDIR or /var/tmp)") \
    X(DRY_RUN, "dry-run", NULL, NONE, "report what would be done, but change nothing") \
    X(JSON, "json", NULL, NONE, "print JSON for programs")

typedef enum pil_option {
#define X(id, name, value, follows, help) PIL_OPTION_##id,
    PIL_OPTION_TABLE(X)
#undef X
        PIL_OPTION_COUNT
} pil_option;

/* The kinds of values that a shell can complete. */
typedef enum pil_follows {
    PIL_FOLLOWS_NONE,
    PIL_FOLLOWS_FILE,
    PIL_FOLLOWS_STORE,
    PIL_FOLLOWS_SOCKET,
    PIL_FOLLOWS_CHANNEL,  /* of the store */
    PIL_FOLLOWS_VIEW,     /* PROJECT/VIEW of the store */
    PIL_FOLLOWS_RELEASE,  /* PROJECT/VIEW@RELEASE of the store */
    PIL_FOLLOWS_SHELL,    /* bash, zsh or fish */
    PIL_FOLLOWS_BAD_ROW,  /* fail or skip */
    PIL_FOLLOWS_CONFLICT, /* fail or resolve */
    PIL_FOLLOWS_ORDER,    /* rate, p99, name or hits */
} pil_follows;

struct pil_option_row {
    const char *name;  /* without "--" */
    const char *value; /* NULL: a flag */
    pil_follows follows;
    const char *help;
};
extern const struct pil_option_row pil_options[PIL_OPTION_COUNT];

/* A valid command line. All texts are borrowed from argv, the environment or the tables. */
struct pil_invocation {
    const struct pil_command *command;
    const struct pil_command *commands; /* all commands, for completion scripts */
    uint32_t command_count;
    const char *const *args; /* without options */
    uint32_t arg_count;
    const char *values[PIL_OPTION_COUNT]; /* NULL: not given; flags are "" */
};

static inline bool pil_invocation_has(const struct pil_invocation *invocation, pil_option option) {
    return invocation->values[option] != NULL;
}

struct pil_command {
    const char *name;
    const char *args; /* for the usage line; NULL: none */
    const char *summary;
    const char *details; /* paragraphs of the help; NULL: none */
    uint32_t options;    /* bits 1 << pil_option */
    uint32_t required;   /* bits of the options that must be given */
    uint32_t args_min, args_max;
    pil_follows arg_follows;
    /* Returns the exit code. NULL: the command is the separate program pillion-NAME of this project. */
    int (*run)(const struct pil_invocation *invocation);
};
extern const struct pil_command pil_commands[];
extern const uint32_t pil_command_count;

/* NULL: there is no such command. */
const struct pil_command *pil_command_find(const char *name);
/* "; did you mean COMMAND?" for a mistyped name, or "". The text is in `room`, which the caller frees. */
const char *pil_command_hint(const char *name, struct pil_text *room);

/* Parses argv, which begins after the command's name. `args` must have room for argc elements. Returns the exit code:
 * 0, or 2 after printing why. *ret_help: the user asks for help, and *ret_invocation is not set. */
int pil_command_parse(const struct pil_command *command, int argc, char **argv, const char **args,
                      struct pil_invocation *ret_invocation, bool *ret_help);

/* Both print to stdout. */
void pil_command_print_overview(void);
void pil_command_print_help(const struct pil_command *command);

/* The commands. */
int pil_cli_check(const struct pil_invocation *invocation);
int pil_cli_apply(const struct pil_invocation *invocation);
int pil_cli_releases(const struct pil_invocation *invocation);
int pil_cli_promote(const struct pil_invocation *invocation);
int pil_cli_rollback(const struct pil_invocation *invocation);
int pil_cli_pin(const struct pil_invocation *invocation);
int pil_cli_unpin(const struct pil_invocation *invocation);
int pil_cli_inspect(const struct pil_invocation *invocation);
int pil_cli_verify(const struct pil_invocation *invocation);
int pil_cli_gc(const struct pil_invocation *invocation);
int pil_cli_get(const struct pil_invocation *invocation);
int pil_cli_status(const struct pil_invocation *invocation);
int pil_cli_doctor(const struct pil_invocation *invocation);
int pil_cli_hist(const struct pil_invocation *invocation);
int pil_cli_top(const struct pil_invocation *invocation);
int pil_cli_slowlog(const struct pil_invocation *invocation);
int pil_cli_completion(const struct pil_invocation *invocation);
