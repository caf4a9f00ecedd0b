/* SPDX-License-Identifier: Apache-2.0
 * The table of commands, and the parsing of command lines and the help, which are derived from it. */
#include "cli/command.h"

#include "cli/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USAGE_COLUMNS = 100 };

#define OPT(id) (1u << PIL_OPTION_##id)

#define RELEASE_FORMS \
    "RELEASE is an id, its first digits, latest, or a channel, which means what it serves: @staging.\n"
#define GUARDED \
    "A release that does not have what the\napplied project says is refused, with a list of what would break, unless " \
    "--force is given."

const struct pil_command pil_commands[] = {
    {"init", "PATH...", "write a project file and a configuration for Parquet or CSV files",
     "Is pillion-init, of the Python package. Each PATH, a file, a folder or a glob in quotes, becomes a feature view, "
     "with\ntypes that are inferred from all of its data.",
     OPT(ENTITY) | OPT(TIMESTAMP) | OPT(VIEW) | OPT(PROJECT) | OPT(TTL) | OPT(STORE) | OPT(OUT) | OPT(FORCE) |
         OPT(JSON),
     0, 1, UINT32_MAX, PIL_FOLLOWS_FILE, NULL},
    {"check", "FILE", "look for mistakes in a project file",
     "Prints each mistake as FILE:LINE:COLUMN: what; what to do. Exit code 1 when there is one.", OPT(JSON), 0, 1, 1,
     PIL_FOLLOWS_FILE, pil_cli_check},
    {"apply", "FILE", "make a project file the project of a store",
     "Nothing is written when the store has the same project already. Incompatible changes of a view in use, one that "
     "a\n"
     "channel points to, are refused with a list of what breaks, unless --force is given; so are projects that the\n"
     "releases in service do not answer.",
     OPT(STORE) | OPT(FORCE) | OPT(JSON), OPT(STORE), 1, 1, PIL_FOLLOWS_FILE, pil_cli_apply},
    {"build", "FILE", "build releases from a project's sources",
     "Runs pillion-build, which the Python package installs.",
     OPT(VIEW) | OPT(STORE) | OPT(AS_OF) | OPT(MEMORY_LIMIT) | OPT(ON_BAD_ROW) | OPT(MAX_BAD_ROWS) | OPT(ON_CONFLICT) |
         OPT(TMP) | OPT(PROMOTE) | OPT(DRY_RUN) | OPT(JSON),
     0, 1, 1, PIL_FOLLOWS_FILE, NULL},
    {"releases", "[PROJECT[/VIEW]]", "list releases and the channels that point to them", NULL, OPT(STORE) | OPT(JSON),
     OPT(STORE), 0, 1, PIL_FOLLOWS_VIEW, pil_cli_releases},
    {"promote", "PROJECT/VIEW@RELEASE", "point a channel to a release",
     RELEASE_FORMS
     "With --all the argument is PROJECT or PROJECT@CHANNEL: of every view the latest release, or the one that the\n"
     "channel serves. " GUARDED,
     OPT(STORE) | OPT(CHANNEL) | OPT(ALL) | OPT(FORCE) | OPT(JSON), OPT(STORE) | OPT(CHANNEL), 1, 1,
     PIL_FOLLOWS_RELEASE, pil_cli_promote},
    {"rollback", "PROJECT/VIEW", "point a channel to the release it had before",
     "Again: to the one before that. " GUARDED, OPT(STORE) | OPT(CHANNEL) | OPT(FORCE) | OPT(JSON),
     OPT(STORE) | OPT(CHANNEL), 1, 1, PIL_FOLLOWS_VIEW, pil_cli_rollback},
    {"pin", "PROJECT/VIEW[@RELEASE]", "hold a channel at a release, whatever is promoted",
     "Without a release: at the one that it serves. " RELEASE_FORMS GUARDED,
     OPT(STORE) | OPT(CHANNEL) | OPT(FORCE) | OPT(JSON), OPT(STORE) | OPT(CHANNEL), 1, 1, PIL_FOLLOWS_RELEASE,
     pil_cli_pin},
    {"unpin", "PROJECT/VIEW", "let a channel follow promotions again", GUARDED,
     OPT(STORE) | OPT(CHANNEL) | OPT(FORCE) | OPT(JSON), OPT(STORE) | OPT(CHANNEL), 1, 1, PIL_FOLLOWS_VIEW,
     pil_cli_unpin},
    {"inspect", "FILE|PROJECT/VIEW@RELEASE", "show schema, sizes, profile and sample rows",
     "FILE is a shard. For a release give the store, too. "
     "RELEASE is an id, its first\n"
     "digits, latest, or a channel.",
     OPT(STORE) | OPT(ROWS) | OPT(JSON), 0, 1, 1, PIL_FOLLOWS_FILE, pil_cli_inspect},
    {"verify", "[FILE|PROJECT/VIEW@RELEASE|" PIL_STORE_FORMS_USAGE "]",
     "check every byte of a shard, a release or a whole store",
     "Without an argument: of the store that --store or $PILLION_STORE names. Lists everything that is wrong. Exit "
     "code "
     "1\nwhen something is.",
     OPT(STORE) | OPT(JSON), 0, 0, 1, PIL_FOLLOWS_FILE, pil_cli_verify},
    {"gc", NULL, "remove releases and shards that are no longer needed",
     "The newest --keep releases of each view stay, and what a channel points to, is pinned to or would roll back to.",
     OPT(STORE) | OPT(KEEP) | OPT(GRACE) | OPT(DRY_RUN) | OPT(JSON), OPT(STORE) | OPT(KEEP), 0, 0, PIL_FOLLOWS_NONE,
     pil_cli_gc},
    {"get", "VIEW KEY...", "ask a running pilliond for features",
     "VIEW is view or project/view; the parts of a composite key are joined by '|', of which '\\|' and '\\\\' are "
     "escapes.\n"
     "The key of a view without entities is empty: \"\".\n"
     "--json prints one object for each key, values as text.",
     OPT(SOCKET) | OPT(FEATURES) | OPT(JSON), OPT(SOCKET), 2, UINT32_MAX, PIL_FOLLOWS_VIEW, pil_cli_get},
    {"status", NULL, "what a running pilliond serves, and whether it is ready", "Exit code 1 when it is not ready.",
     OPT(ADMIN) | OPT(MAPPED) | OPT(JSON), 0, 0, 0, PIL_FOLLOWS_NONE, pil_cli_status},
    {"doctor", NULL, "check what this machine offers Pillion, and how to fix each shortfall",
     "Tries io_uring, sealed memory, huge pages and limits as this user, and asks a running pilliond. Exit code 1 when "
     "something is broken,\n3 when something could not be examined; slower or unsafe things still work.",
     OPT(ADMIN) | OPT(JSON), 0, 0, 0, PIL_FOLLOWS_NONE, pil_cli_doctor},
    {"hist", NULL, "draw the latency histograms of a running pilliond, by stage",
     "On a terminal: of the last second, again and again until q; r, p, n and h sort. Otherwise, or with --once: since "
     "its\nstart.",
     OPT(ADMIN) | OPT(VIEW) | OPT(SORT) | OPT(ONCE) | OPT(JSON), 0, 0, 0, PIL_FOLLOWS_NONE, pil_cli_hist},
    {"top", NULL, "watch a running pilliond: readiness, what is wrong, and the requests of each view",
     "On a terminal: of the last second, again and again until q; r, p, n and h sort. Otherwise, or with --once: since "
     "its\nstart. --json prints the page /hist.",
     OPT(ADMIN) | OPT(VIEW) | OPT(SORT) | OPT(ONCE) | OPT(JSON), 0, 0, 0, PIL_FOLLOWS_NONE, pil_cli_top},
    {"slowlog", NULL, "list the slow requests of a running pilliond",
     "Requests are described by view and features, never by keys or values.", OPT(ADMIN) | OPT(JSON), 0, 0, 0,
     PIL_FOLLOWS_NONE, pil_cli_slowlog},
    {"completion", "bash|zsh|fish|views|releases|channels", "print completions for a shell",
     "bash: source <(pillion completion bash)    zsh: pillion completion zsh >FOLDER_OF_FPATH/_pillion\n"
     "fish: pillion completion fish | source\nThe scripts ask for the views, releases and channels of a store.",
     OPT(STORE), 0, 1, 1, PIL_FOLLOWS_SHELL, pil_cli_completion},
};
const uint32_t pil_command_count = sizeof pil_commands / sizeof pil_commands[0];

const struct pil_command *pil_command_find(const char *name) {
    for (uint32_t i = 0; i < pil_command_count; i++) {
        if (strcmp(pil_commands[i].name, name) == 0) {
            return &pil_commands[i];
        }
    }
    return NULL;
}

const char *pil_command_hint(const char *name, struct pil_text *room) {
    const char *names[sizeof pil_commands / sizeof pil_commands[0]];
    for (uint32_t i = 0; i < pil_command_count; i++) {
        names[i] = pil_commands[i].name;
    }
    return pil_report_hint(name, names, pil_command_count, room);
}

/* ---- Parsing */

static int usage_error(const struct pil_command *command, const char *what, const char *text) {
    return pil_report_usage("%s%s; `pillion %s --help` says more", what, text, command->name);
}

static int unknown_option(const struct pil_command *command, const char *option) {
    const char *names[PIL_OPTION_COUNT];
    char name[64], dashed[PIL_OPTION_COUNT][32];
    struct pil_text hint = {0};
    uint32_t count = 0;
    for (pil_option i = 0; i < PIL_OPTION_COUNT; i++) {
        if ((command->options & 1u << i) != 0) {
            snprintf(dashed[count], sizeof dashed[count], "--%s", pil_options[i].name);
            names[count] = dashed[count];
            count++;
        }
    }
    snprintf(name, sizeof name, "%.*s", (int)strcspn(option, "="), option);
    int exit_code = pil_report_usage("unknown option %s%s; `pillion %s --help` lists them", option,
                                     pil_report_hint(name, names, count, &hint), command->name);
    pil_text_deinit(&hint);
    return exit_code;
}

/* Reads the option at argv[*at], and its value. */
static int take_option(struct pil_invocation *invocation, int argc, char **argv, int *at) {
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    for (pil_option option = 0; option < PIL_OPTION_COUNT; option++) {
        const struct pil_option_row *row = &pil_options[option];
        bool known = strlen(row->name) == len && memcmp(row->name, name, len) == 0;
        if (!known || (invocation->command->options & 1u << option) == 0) {
            continue;
        }
        if (row->value == NULL) {
            invocation->values[option] = "";
            return equals != NULL ? usage_error(invocation->command, argv[*at], ": this option has no value") : 0;
        }
        if (equals == NULL && *at + 1 >= argc) {
            return usage_error(invocation->command, argv[*at], " needs a value");
        }
        invocation->values[option] = equals != NULL ? equals + 1 : argv[++*at];
        return PIL_EXIT_OK;
    }
    return unknown_option(invocation->command, argv[*at]);
}

static int check_complete(struct pil_invocation *invocation) {
    const struct pil_command *command = invocation->command;
    if ((command->options & OPT(STORE)) != 0 && !pil_invocation_has(invocation, PIL_OPTION_STORE)) {
        const char *store = getenv("PILLION_STORE");
        invocation->values[PIL_OPTION_STORE] = store != NULL && store[0] != '\0' ? store : NULL;
    }
    for (pil_option option = 0; option < PIL_OPTION_COUNT; option++) {
        if ((command->required & 1u << option) != 0 && !pil_invocation_has(invocation, option)) {
            return pil_report_usage("%s needs --%s %s: %s", command->name, pil_options[option].name,
                                    pil_options[option].value, pil_options[option].help);
        }
    }
    if (invocation->arg_count < command->args_min || invocation->arg_count > command->args_max) {
        return usage_error(command,
                           invocation->arg_count < command->args_min ? "missing argument: " : "too many arguments: ",
                           command->args != NULL ? command->args : "it takes none");
    }
    return PIL_EXIT_OK;
}

int pil_command_parse(const struct pil_command *command, int argc, char **argv, const char **args,
                      struct pil_invocation *ret_invocation, bool *ret_help) {
    struct pil_invocation invocation = {
        .command = command, .commands = pil_commands, .command_count = pil_command_count, .args = args};
    bool options = true;
    int exit_code = PIL_EXIT_OK;
    *ret_help = false;
    for (int i = 0; i < argc && exit_code == PIL_EXIT_OK; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            *ret_help = true;
            return PIL_EXIT_OK;
        } else if (options && strncmp(argv[i], "--", 2) == 0) {
            exit_code = take_option(&invocation, argc, argv, &i);
        } else {
            args[invocation.arg_count++] = argv[i];
        }
    }
    if (exit_code == PIL_EXIT_OK) {
        exit_code = check_complete(&invocation);
        *ret_invocation = invocation;
    }
    return exit_code;
}

/* ---- Help */

void pil_command_print_overview(void) {
    printf("usage: pillion COMMAND [ARGUMENTS] [--help]\n\ncommands\n");
    for (uint32_t i = 0; i < pil_command_count; i++) {
        printf("  %s%-11s%s %s\n", pil_report_style(PIL_STYLE_BOLD), pil_commands[i].name,
               pil_report_style(PIL_STYLE_PLAIN), pil_commands[i].summary);
    }
    printf("  %s%-11s%s %s\n", pil_report_style(PIL_STYLE_BOLD), "help", pil_report_style(PIL_STYLE_PLAIN),
           "help for all commands, or for COMMAND");
    printf("\nAny other COMMAND runs the program pillion-COMMAND, found beside this one or on PATH. --version prints "
           "the version.\n"
           "\nexit codes\n"
           "  0  done\n"
           "  1  mistakes were found, or the store or the server refused\n"
           "  2  the command line is wrong\n"
           "  3  a file, the store or the server could not be read or written, or memory was short\n"
           "  4  a file or an object of the store is damaged (verify lists what is wrong, and ends with 1)\n"
           "With --json messages are JSON, too: {\"error\": TEXT, \"exit_code\": N} or {\"note\": TEXT} on stderr.\n");
}

/* Prints "usage: pillion NAME ARGS [--option VALUE] …" in lines of at most USAGE_COLUMNS. */
static void print_usage(const struct pil_command *command) {
    int column = printf("usage: pillion %s%s%s", command->name, command->args != NULL ? " " : "",
                        command->args != NULL ? command->args : "");
    for (pil_option option = 0; option < PIL_OPTION_COUNT; option++) {
        if ((command->options & 1u << option) == 0) {
            continue;
        }
        const struct pil_option_row *row = &pil_options[option];
        bool required = (command->required & 1u << option) != 0;
        char text[64];
        int len = snprintf(text, sizeof text, "%s--%s%s%s%s", required ? "" : "[", row->name,
                           row->value != NULL ? " " : "", row->value != NULL ? row->value : "", required ? "" : "]");
        if (column + 1 + len > USAGE_COLUMNS) {
            column = printf("\n     ") - 1;
        }
        column += printf(" %s", text);
    }
    printf("\n");
}

void pil_command_print_help(const struct pil_command *command) {
    print_usage(command);
    printf("%s.\n", command->summary);
    if (command->details != NULL) {
        printf("%s\n", command->details);
    }
    for (pil_option option = 0; option < PIL_OPTION_COUNT; option++) {
        if ((command->options & 1u << option) != 0) {
            char name[32];
            const struct pil_option_row *row = &pil_options[option];
            snprintf(name, sizeof name, "--%s %s", row->name, row->value != NULL ? row->value : "");
            printf("  %-20s %s\n", name, row->help);
        }
    }
}
