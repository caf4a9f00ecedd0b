/* SPDX-License-Identifier: Apache-2.0
 * The commands promote, rollback, pin and unpin. */
#include "cli/command.h"
#include "cli/reference.h"
#include "cli/report.h"

#include <stdio.h>

typedef pil_status (*channel_fn)(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                                 struct pil_channel *ret_channel, struct pil_error *ret_error);

static json_t *release_or_null(const char *release) {
    return release[0] != '\0' ? json_string(release) : json_null();
}

/* `before` has sequence 0 if there was no such channel. */
static void print_channel(const struct pil_invocation *invocation, const struct pil_release_ref *ref,
                          const struct pil_channel *before, const struct pil_channel *after) {
    bool changed = before->sequence != after->sequence;
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(json_pack("{s:s, s:s, s:s, s:I, s:b, s:s, s:o, s:s, s:o}", "project", ref->project, "view",
                                  ref->view, "channel", after->name, "sequence", (json_int_t)after->sequence, "changed",
                                  changed, "release", after->release, "pinned", release_or_null(after->pinned),
                                  "serves", pil_channel_effective(after), "served_before",
                                  release_or_null(pil_channel_effective(before))));
        return;
    }
    printf("%s/%s: %s %s %s%s%s", ref->project, ref->view, after->name, changed ? "is now at" : "stays at",
           pil_report_style(PIL_STYLE_BOLD), after->release, pil_report_style(PIL_STYLE_PLAIN));
    if (changed && before->sequence != 0 && strcmp(before->release, after->release) != 0) {
        printf(", before at %s", before->release);
    }
    if (after->pinned[0] != '\0') {
        printf("; pinned, so nodes serve %s%s%s until `pillion unpin`", pil_report_style(PIL_STYLE_BOLD), after->pinned,
               pil_report_style(PIL_STYLE_PLAIN));
    }
    printf("\n");
}

static int change_channel(const struct pil_invocation *invocation, pil_reference_need need, channel_fn change) {
    const char *name = invocation->values[PIL_OPTION_CHANNEL];
    struct pil_store *store = NULL;
    struct pil_release_ref ref;
    struct pil_channel before = {0}, after;
    struct pil_error error = {0};
    int exit_code = pil_reference_store(invocation, &store);
    if (exit_code == PIL_EXIT_OK) {
        exit_code = pil_reference_resolve(store, invocation->args[0], need, name, &ref);
    }
    if (exit_code == PIL_EXIT_OK) {
        pil_ignore(pil_channel_read(store, &ref, name, &before, NULL), "only to say what it was before");
        pil_status status = change(store, &ref, name, &after, &error);
        if (status == PIL_STATUS_OK) {
            print_channel(invocation, &ref, &before, &after);
        } else {
            exit_code = pil_report_failure(status, &error);
        }
    }
    pil_store_close(&store);
    return exit_code;
}

int pil_cli_promote(const struct pil_invocation *invocation) {
    return change_channel(invocation, PIL_REFERENCE_RELEASE, pil_channel_promote);
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
