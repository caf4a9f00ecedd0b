/* SPDX-License-Identifier: Apache-2.0
 * pilliond: one binary, three processes. */
#include "base/number.h"
#include "base/sys.h"
#include "daemon/check.h"
#include "daemon/process.h"
#include "protocol/resp/resp.h"
#include "metric/exposition.h"
#include "server/server.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

enum { EXIT_OK = 0, EXIT_PROBLEMS = 1, EXIT_SYSTEM = 3 };

static int print(void (*fill)(struct pil_text *page)) {
    struct pil_text page = {0};
    fill(&page);
    if (page.failed) {
        fprintf(stderr, "pilliond: no memory for this page\n");
        return EXIT_SYSTEM;
    }
    fputs(pil_text_chars(&page), stdout);
    pil_text_deinit(&page);
    return EXIT_OK;
}

static int describe(const char *table) {
    static const struct {
        const char *name;
        void (*fill)(struct pil_text *page);
    } tables[] = {
        {"config", pil_config_describe},
        {"example", pil_config_example},
        {"metrics", pil_metric_describe},
        {"commands", pil_redis_describe_commands},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (strcmp(tables[i].name, table) == 0) {
            return print(tables[i].fill);
        }
    }
    fprintf(stderr, "pilliond: --describe %s: there are config, example, metrics and commands\n", table);
    return EXIT_PROBLEMS;
}

/* Prints each line of a text after the program's name. */
static void print_lines(const struct pil_text *text) {
    for (const char *line = pil_text_chars(text); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        fprintf(stderr, "pilliond: %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static int check(struct pil_config *config) {
    const struct pil_settings *settings = &config->settings;
    struct pil_text problems = {0}, warnings = {0};
    pil_check_start(config, &problems, &warnings);
    bool is_ok = problems.len == 0 && !problems.failed;
    print_lines(&warnings);
    print_lines(&problems);
    if (problems.failed) {
        fprintf(stderr, "pilliond: no memory to say everything that fails\n");
    }
    pil_text_deinit(&problems);
    pil_text_deinit(&warnings);
    if (!is_ok) {
        return EXIT_SYSTEM;
    }
    pil_config_choose_engine(config);
    printf("ok: %u view%s, %u listener%s, %u worker%s, %s (%s), budget %llu MiB\n", settings->view_count,
           pil_number_plural(settings->view_count), settings->listener_count,
           pil_number_plural(settings->listener_count), settings->worker_count,
           pil_number_plural(settings->worker_count), pil_engine_kind_text(settings->engine), settings->engine_reason,
           (unsigned long long)(settings->memory_budget >> 20));
    return EXIT_OK;
}

static int run_supervisor(struct pil_config *config, const struct pil_command_line *line, int argc, char **argv) {
    if (line->check_only) {
        return check(config);
    }
    return pil_supervisor_run(config, argc, argv, line->ready_fd);
}

int main(int argc, char **argv) {
    static struct pil_config config;
    struct pil_command_line line;
    struct pil_text problems = {0};
    pil_sys_open_stdio();
    pil_status status = pil_config_load(argc, argv, &line, &config, &problems);
    if (status != PIL_STATUS_OK) {
        fprintf(stderr, "%s%s", pil_text_chars(&problems), problems.failed ? "\n" : "");
        pil_text_deinit(&problems);
        return status == PIL_STATUS_INVALID ? EXIT_PROBLEMS : EXIT_SYSTEM;
    }
    if (line.help) {
        return print(pil_config_usage);
    }
    if (line.version) {
        printf("pilliond %s\n", PIL_VERSION);
        return EXIT_OK;
    }
    if (line.describe != NULL) {
        return describe(line.describe);
    }
    pil_sys_close_inherited(line.role == NULL ? line.ready_fd : line.role_fd);
    if (line.role == NULL) {
        return run_supervisor(&config, &line, argc, argv);
    }
    bool is_server = strcmp(line.role, "server") == 0;
    if (line.role_fd < 0 || (!is_server && strcmp(line.role, "fetcher") != 0)) {
        fprintf(stderr, "pilliond: --role is for the supervisor's use\n");
        return EXIT_PROBLEMS;
    }
    prctl(PR_SET_NAME, is_server ? "pil-server" : "pil-fetcher"); /* the name that ps shows */
    return is_server ? pil_server_process_run(line.role_fd) : pil_fetch_process_run(line.role_fd);
}
