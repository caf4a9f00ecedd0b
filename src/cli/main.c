/* SPDX-License-Identifier: Apache-2.0
 * pillion: the command-line tool. For an unknown command X it runs the program pillion-X, as git does. */
#include "cli/command.h"
#include "cli/report.h"
#include "cli/screen.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Replaces this process with FOLDER/pillion-NAME if that is executable. */
static void try_folder(const char *folder, size_t folder_len, const char *name, char **argv) {
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%.*s/pillion-%s", (int)folder_len, folder, name);
    if (len > 0 && (size_t)len < sizeof path && access(path, X_OK) == 0) {
        argv[0] = path;
        execv(path, argv);
        struct pil_error error;
        pil_status status = pil_fail(&error, PIL_STATUS_SYSTEM, "run %s: %s", path, strerror(errno));
        exit(pil_report_failure(status, &error));
    }
}

/* Searches the folder of this program first, so that programs of one build run together, then PATH. argv[0] is the
 * name.
 */
static int run_external(const char *name, char **argv) {
    char own[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", own, sizeof own - 1);
    if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name) && name[0] != '-') {
        if (len > 0) {
            own[len] = '\0';
            try_folder(own, (size_t)(strrchr(own, '/') - own), name, argv);
        }
        const char *path = getenv("PATH");
        for (const char *at = path != NULL ? path : ""; *at != '\0';) {
            size_t folder_len = strcspn(at, ":");
            if (folder_len > 0) { /* an empty entry means the working folder, from which nothing is run */
                try_folder(at, folder_len, name, argv);
            }
            at += folder_len + (at[folder_len] == ':');
        }
    }
    if (pil_command_find(name) != NULL) {
        return pil_report_usage("`pillion %s` is the program pillion-%s, which is neither beside this one nor on PATH; "
                                "install the Python package of Pillion and put its bin folder on PATH",
                                name, name);
    }
    struct pil_text hint = {0};
    int exit_code =
        pil_report_usage("there is no command '%s' and no program pillion-%s%s; `pillion --help` lists the commands",
                         name, name, pil_command_hint(name, &hint));
    pil_text_deinit(&hint);
    return exit_code;
}

static int help(int argc, char **argv) {
    if (argc > 1 || (argc == 1 && pil_command_find(argv[0]) == NULL)) {
        struct pil_text hint = {0};
        int exit_code = pil_report_usage("help takes the name of a command%s; `pillion --help` lists them",
                                         pil_command_hint(argv[0], &hint));
        pil_text_deinit(&hint);
        return exit_code;
    }
    if (argc == 1) {
        pil_command_print_help(pil_command_find(argv[0]));
        return PIL_EXIT_OK;
    }
    pil_command_print_overview();
    for (uint32_t i = 0; i < pil_command_count; i++) {
        printf("\n");
        pil_command_print_help(&pil_commands[i]);
    }
    return PIL_EXIT_OK;
}

static int run_command(const struct pil_command *command, int argc, char **argv) {
    struct pil_invocation invocation;
    bool wants_help;
    const char **args = pil_report_need(calloc((size_t)argc + 1, sizeof *args));
    int exit_code = pil_command_parse(command, argc, argv, args, &invocation, &wants_help);
    if (exit_code == PIL_EXIT_OK && wants_help) {
        pil_command_print_help(command);
    } else if (exit_code == PIL_EXIT_OK) {
        pil_screen_follow_locale();
        exit_code = command->run(&invocation);
    }
    free(args);
    return exit_code;
}

static int dispatch(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) { /* a mistake in the command line is a message, too */
            pil_report_messages_as_json();
        }
    }
    if (argc < 2) {
        return pil_report_usage("no command given; `pillion --help` lists the commands");
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        pil_command_print_overview();
        return PIL_EXIT_OK;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("pillion %s\n", PIL_VERSION);
        return PIL_EXIT_OK;
    }
    if (strcmp(name, "help") == 0) {
        return help(argc - 2, argv + 2);
    }
    const struct pil_command *command = pil_command_find(name);
    return command != NULL && command->run != NULL ? run_command(command, argc - 2, argv + 2)
                                                   : run_external(name, argv + 1);
}

int main(int argc, char **argv) {
    int exit_code = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        struct pil_error error;
        return pil_report_failure(
            pil_fail(&error, PIL_STATUS_IO, "the output could not be written: %s", strerror(errno)), &error);
    }
    return exit_code;
}
