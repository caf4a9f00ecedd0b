/* SPDX-License-Identifier: Apache-2.0
 * The commands promote, rollback, pin and unpin. */
#include "cli/command.h"
#include "cli/reference.h"
#include "cli/report.h"
#include "release/catalog.h"
#include "schema/json_text.h"

#include <stdio.h>
#include <stdlib.h>

typedef pil_status (*channel_fn)(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                                 struct pil_guard *guard, struct pil_channel *ret_channel, struct pil_error *ret_error);

/* A changed channel. `before` has sequence 0 if there was no such channel. */
struct outcome {
    struct pil_release_ref ref;
    struct pil_channel before, after;
    struct pil_text breaking; /* what --force did not heed; owned */
};

static json_t *release_or_null(const char *release) {
    return release[0] != '\0' ? json_string(release) : json_null();
}

static json_t *outcome_to_json(const struct outcome *outcome) {
    const struct pil_channel *before = &outcome->before, *after = &outcome->after;
    return json_pack("{s:s, s:s, s:s, s:I, s:b, s:s, s:o, s:s, s:o, s:o}", "project", outcome->ref.project, "view",
                     outcome->ref.view, "channel", after->name, "sequence", (json_int_t)after->sequence, "changed",
                     before->sequence != after->sequence, "release", after->release, "pinned",
                     release_or_null(after->pinned), "serves", pil_channel_effective(after), "served_before",
                     release_or_null(pil_channel_effective(before)), "breaking",
                     pil_report_lines_to_json(&outcome->breaking));
}

static void print_outcome(const struct outcome *outcome) {
    const struct pil_channel *before = &outcome->before, *after = &outcome->after;
    bool changed = before->sequence != after->sequence;
    if (outcome->breaking.len > 0) {
        pil_report_note("--force: this breaks what is in use:");
        pil_report_lines(&outcome->breaking, stderr);
    }
    printf("%s/%s: %s %s %s%s%s", outcome->ref.project, outcome->ref.view, after->name,
           changed ? "is now at" : "stays at", pil_report_style(PIL_STYLE_BOLD), after->release,
           pil_report_style(PIL_STYLE_PLAIN));
    if (changed && before->sequence != 0 && strcmp(before->release, after->release) != 0) {
        printf(", before at %s", before->release);
    }
    if (after->pinned[0] != '\0') {
        printf("; pinned, so nodes serve %s%s%s until `pillion unpin`", pil_report_style(PIL_STYLE_BOLD), after->pinned,
               pil_report_style(PIL_STYLE_PLAIN));
    }
    printf("\n");
}

/* Changes the channel of outcome->ref, and fills in the rest. Returns the exit code, as below. */
static int change_one(const struct pil_invocation *invocation, struct pil_store *store, channel_fn change,
                      struct outcome *outcome) {
    const char *name = invocation->values[PIL_OPTION_CHANNEL];
    struct pil_error error = {0};
    struct pil_guard guard = pil_guard_of_project(pil_invocation_has(invocation, PIL_OPTION_FORCE), &outcome->breaking);
    pil_ignore(pil_channel_read(store, &outcome->ref, name, &outcome->before, NULL), "only to say what it was before");
    pil_status status = change(store, &outcome->ref, name, &guard, &outcome->after, &error);
    return status == PIL_STATUS_OK     ? PIL_EXIT_OK
           : status == PIL_STATUS_BUSY ? pil_report_failure_because(status, &error, &outcome->breaking)
                                       : pil_reference_failure(store, &outcome->ref, name, status, &error);
}

static int change_channel(const struct pil_invocation *invocation, pil_reference_need need, channel_fn change) {
    struct pil_store *store = NULL;
    struct outcome outcome = {0};
    int exit_code = pil_reference_store(invocation, &store);
    if (exit_code == PIL_EXIT_OK) {
        exit_code = pil_reference_resolve(store, invocation->args[0], need, invocation->values[PIL_OPTION_CHANNEL],
                                          &outcome.ref);
    }
    if (exit_code == PIL_EXIT_OK) {
        exit_code = change_one(invocation, store, change, &outcome);
    }
    if (exit_code == PIL_EXIT_OK && pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(outcome_to_json(&outcome));
    } else if (exit_code == PIL_EXIT_OK) {
        print_outcome(&outcome);
    }
    pil_text_deinit(&outcome.breaking);
    pil_store_close(&store);
    return exit_code;
}

/* ---- promote --all */

/* The views of a project that have releases, and the release of each that is to be promoted. */
struct selection {
    struct pil_store *store;
    struct pil_release_ref *refs; /* owned */
    size_t count;
};

/* `text` is PROJECT or PROJECT@NAME. */
static int select_views(struct selection *selection, const char *text) {
    struct pil_catalog catalog;
    struct pil_error error = {0};
    char project[PIL_NAME_BYTES_MAX + 1], view[3 * (PIL_NAME_BYTES_MAX + 1)];
    size_t len = strcspn(text, "@");
    int exit_code = PIL_EXIT_OK;
    snprintf(project, sizeof project, "%.*s", len < sizeof project ? (int)len : 0, text);
    if (!pil_release_name_ok(project)) {
        return pil_report_usage("--all: expected PROJECT or PROJECT@CHANNEL, not '%s'", text);
    }
    pil_status status = pil_catalog_read(selection->store, project, "", &catalog, &error);
    if (status != PIL_STATUS_OK) {
        return pil_report_failure(status, &error);
    }
    selection->refs = pil_report_need(calloc(catalog.release_count + 1, sizeof *selection->refs));
    for (size_t i = 0; i < catalog.release_count && exit_code == PIL_EXIT_OK; i++) {
        if (i > 0 && pil_catalog_same_view(&catalog.releases[i].ref, &catalog.releases[i - 1].ref)) {
            continue;
        }
        snprintf(view, sizeof view, "%s/%s%s", project, catalog.releases[i].ref.view,
                 text[len] == '@' ? text + len : "@latest");
        exit_code = pil_reference_resolve(selection->store, view, PIL_REFERENCE_RELEASE, NULL,
                                          &selection->refs[selection->count]);
        selection->count += exit_code == PIL_EXIT_OK;
    }
    pil_catalog_deinit(&catalog);
    if (exit_code == PIL_EXIT_OK && selection->count == 0) {
        pil_ignore(pil_fail(&error, PIL_STATUS_NOT_FOUND, "project %s has no releases in %s; build them", project,
                            pil_store_url(selection->store)),
                   "reported");
        struct pil_release_ref ref = {0};
        memcpy(ref.project, project, strlen(project) + 1);
        return pil_reference_failure(selection->store, &ref, NULL, PIL_STATUS_NOT_FOUND, &error);
    }
    return exit_code;
}

/* Tries all promotions before the first is made, so that none is when one would be refused. */
static int try_all(const struct pil_invocation *invocation, const struct selection *selection) {
    struct pil_text lines = {0}, all = {0};
    struct pil_error error = {0};
    struct pil_guard guard = pil_guard_of_project(pil_invocation_has(invocation, PIL_OPTION_FORCE), &lines);
    pil_status status = PIL_STATUS_OK;
    for (size_t i = 0; i < selection->count && (status == PIL_STATUS_OK || status == PIL_STATUS_BUSY); i++) {
        pil_text_clear(&lines);
        pil_status one = pil_channel_try_promote(selection->store, &selection->refs[i],
                                                 invocation->values[PIL_OPTION_CHANNEL], &guard, &error);
        pil_text_append(&all, pil_text_chars(&lines), lines.len);
        status = one != PIL_STATUS_OK ? one : status;
    }
    int exit_code = status == PIL_STATUS_OK     ? PIL_EXIT_OK
                    : status == PIL_STATUS_BUSY ? pil_report_failure_because(status, &error, &all)
                                                : pil_report_failure(status, &error);
    pil_text_deinit(&lines);
    pil_text_deinit(&all);
    return exit_code;
}

static int promote_all(const struct pil_invocation *invocation) {
    struct selection selection = {0};
    json_t *list = json_array();
    bool json = pil_invocation_has(invocation, PIL_OPTION_JSON);
    int exit_code = pil_reference_store(invocation, &selection.store);
    if (exit_code == PIL_EXIT_OK) {
        exit_code = select_views(&selection, invocation->args[0]);
    }
    if (exit_code == PIL_EXIT_OK) {
        exit_code = try_all(invocation, &selection);
    }
    for (size_t i = 0; i < selection.count && exit_code == PIL_EXIT_OK; i++) {
        struct outcome outcome = {.ref = selection.refs[i]};
        exit_code = change_one(invocation, selection.store, pil_channel_promote, &outcome);
        if (exit_code == PIL_EXIT_OK && json) {
            pil_json_append(&list, outcome_to_json(&outcome));
        } else if (exit_code == PIL_EXIT_OK) {
            print_outcome(&outcome);
        }
        pil_text_deinit(&outcome.breaking);
    }
    if (json && json_array_size(list) > 0) { /* after a failure, too: these were promoted */
        pil_report_json(json_incref(list));
    }
    json_decref(list);
    free(selection.refs);
    pil_store_close(&selection.store);
    return exit_code;
}

int pil_cli_promote(const struct pil_invocation *invocation) {
    return pil_invocation_has(invocation, PIL_OPTION_ALL)
               ? promote_all(invocation)
               : change_channel(invocation, PIL_REFERENCE_RELEASE, pil_channel_promote);
}

int pil_cli_rollback(const struct pil_invocation *invocation) {
    return change_channel(invocation, PIL_REFERENCE_VIEW, pil_channel_rollback);
}

int pil_cli_pin(const struct pil_invocation *invocation) {
    return change_channel(invocation, PIL_REFERENCE_RELEASE_OR_DEFAULT, pil_channel_pin);
}

int pil_cli_unpin(const struct pil_invocation *invocation) {
    return change_channel(invocation, PIL_REFERENCE_VIEW, pil_channel_unpin);
}
