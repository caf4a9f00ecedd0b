/* SPDX-License-Identifier: Apache-2.0
 * The commands check and apply. */
#include "cli/command.h"
#include "cli/report.h"
#include "release/project.h"
#include "schema/json_text.h"
#include "schema/project_read.h"

#include <stdio.h>
#include <stdlib.h>

/* Converts "FILE:LINE:COLUMN: what; what to do" to an object. */
static json_t *problem_to_json(const char *line, size_t len, const char *file) {
    char *text = pil_report_need(strndup(line, len)), *at = text, *end;
    if (strncmp(at, file, strlen(file)) == 0 && at[strlen(file)] == ':') {
        at += strlen(file) + 1;
    }
    long row = strtol(at, &end, 10);
    long column = *end == ':' ? strtol(end + 1, &end, 10) : 0;
    at = *end == ':' && end[1] == ' ' ? end + 2 : text;
    char *fix = strstr(at, "; ");
    if (fix != NULL) {
        *fix = '\0';
        fix += 2;
    }
    json_t *problem = json_pack("{s:I, s:I, s:s, s:s?}", "line", (json_int_t)row, "column", (json_int_t)column, "what",
                                at, "fix", fix);
    free(text);
    return problem;
}

static json_t *problems_to_json(const struct pil_text *problems, const char *file) {
    json_t *list = json_array();
    for (const char *line = pil_text_chars(problems); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        pil_json_append(&list, problem_to_json(line, len, file));
        line += len + (line[len] == '\n');
    }
    return list;
}

static int exit_code_of_problems(pil_status status) {
    return status == PIL_STATUS_DENIED || status == PIL_STATUS_IO || status == PIL_STATUS_SYSTEM ||
                   status == PIL_STATUS_NOT_FOUND
               ? PIL_EXIT_FAILED
               : PIL_EXIT_REFUSED;
}

static int fail_memory(const char *file, struct pil_text *problems) {
    struct pil_error error = {0};
    pil_text_deinit(problems);
    return pil_report_failure(pil_fail(&error, PIL_STATUS_NO_MEMORY, "no memory to read %s", file), &error);
}

int pil_cli_check(const struct pil_invocation *invocation) {
    const char *file = invocation->args[0];
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    pil_status status = pil_project_load_yaml(file, &project, &problems);
    if (status == PIL_STATUS_NO_MEMORY) {
        return fail_memory(file, &problems);
    }
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(json_pack("{s:s, s:b, s:o}", "file", file, "ok", status == PIL_STATUS_OK, "mistakes",
                                  problems_to_json(&problems, file)));
    } else if (status != PIL_STATUS_OK) {
        pil_report_lines(&problems, stdout);
    } else {
        char entities[PIL_REPORT_THINGS_BYTES], views[PIL_REPORT_THINGS_BYTES], services[PIL_REPORT_THINGS_BYTES];
        struct pil_text name = {0};
        printf("%s: no mistakes; project %s has %s, %s, %s\n", pil_report_printable(file, &name), project->name,
               pil_report_things(project->entity_count, "entity", entities),
               pil_report_things(project->view_count, "feature view", views),
               pil_report_things(project->service_count, "feature service", services));
        pil_text_deinit(&name);
    }
    pil_project_destroy(&project);
    pil_text_deinit(&problems);
    return status == PIL_STATUS_OK ? PIL_EXIT_OK : exit_code_of_problems(status);
}

static void print_applied(const struct pil_invocation *invocation, const struct pil_project *project,
                          const struct pil_project_published *published, const struct pil_text *lines) {
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(json_pack("{s:s, s:I, s:b, s:o}", "project", project->name, "sequence",
                                  (json_int_t)published->sequence, "changed", published->changed, "breaking",
                                  pil_report_lines_to_json(lines)));
        return;
    }
    if (published->breaking > 0) {
        pil_report_note("--force: this breaks what is in use:");
        pil_report_lines(lines, stderr);
    }
    printf(published->changed ? "project %s is applied, version %llu\n"
                              : "project %s is applied already, version %llu\n",
           project->name, (unsigned long long)published->sequence);
}

static int apply(const struct pil_invocation *invocation, struct pil_store *store, const struct pil_project *project) {
    struct pil_project_published published;
    struct pil_text lines = {0};
    struct pil_error error = {0};
    int exit_code = PIL_EXIT_OK;
    bool force = pil_invocation_has(invocation, PIL_OPTION_FORCE);
    pil_status status = pil_project_publish(store, project, force, &published, &lines, &error);
    if (status == PIL_STATUS_OK) {
        print_applied(invocation, project, &published, &lines);
    } else {
        exit_code = status == PIL_STATUS_BUSY ? pil_report_failure_because(status, &error, &lines)
                                              : pil_report_failure(status, &error);
    }
    pil_text_deinit(&lines);
    return exit_code;
}

static int refuse_file(const struct pil_invocation *invocation, const struct pil_text *problems, pil_status status) {
    struct pil_error error;
    if (!pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_lines(problems, stderr);
        return exit_code_of_problems(status);
    }
    /* Whatever is wrong with a file, and be it damaged, is a mistake. */
    status = exit_code_of_problems(status) == PIL_EXIT_FAILED ? PIL_STATUS_IO : PIL_STATUS_INVALID;
    pil_ignore(pil_fail(&error, status, "%s is not applied", invocation->args[0]), "reported");
    return pil_report_failure_because(status, &error, problems);
}

int pil_cli_apply(const struct pil_invocation *invocation) {
    struct pil_project *project = NULL;
    struct pil_store *store = NULL;
    struct pil_text problems = {0};
    struct pil_error error = {0};
    int exit_code;
    pil_status status = pil_project_load_yaml(invocation->args[0], &project, &problems);
    if (status == PIL_STATUS_NO_MEMORY) {
        return fail_memory(invocation->args[0], &problems);
    }
    if (status != PIL_STATUS_OK) {
        exit_code = refuse_file(invocation, &problems, status);
    } else {
        status = pil_store_open(invocation->values[PIL_OPTION_STORE], true, &store, &error);
        exit_code = status == PIL_STATUS_OK ? apply(invocation, store, project) : pil_report_failure(status, &error);
    }
    pil_store_close(&store);
    pil_project_destroy(&project);
    pil_text_deinit(&problems);
    return exit_code;
}
