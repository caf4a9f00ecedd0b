/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/status_view.h"

#include <string.h>

/* Formats "3 s ago", or "never". */
static const char *ago_text(json_int_t when_us, json_int_t now_us, char ret_text[PIL_PAGE_TIME_BYTES]) {
    size_t len = strlen(pil_page_age(when_us, now_us, ret_text));
    if (when_us > 0) {
        snprintf(ret_text + len, PIL_PAGE_TIME_BYTES - len, " ago");
    }
    return ret_text;
}

/* ---- Troubles */

void pil_status_troubles(const json_t *page, struct pil_text *lines) {
    const json_t *services = json_object_get(page, "services"), *term;
    json_int_t server = pil_page_number(page, "server_restarts"), fetcher = pil_page_number(page, "fetcher_restarts");
    json_int_t unanswered = pil_page_number(services, "unanswered");
    size_t index;
    json_array_foreach(json_object_get(page, "not_ready"), index, term) {
        pil_text_format(lines, "%s\n", json_string_value(term));
    }
    if (unanswered > 0) {
        char things[PIL_REPORT_THINGS_BYTES];
        pil_text_format(lines, "%s cannot be answered: %s\n",
                        pil_report_things((uint64_t)unanswered, "service", things), pil_page_text(services, "why"));
    }
    if (server + fetcher > 0) {
        pil_text_format(lines, "restarted after a failure: server %lld, fetcher %lld\n", (long long)server,
                        (long long)fetcher);
    }
}

static bool is_past_ttl(const json_t *view) {
    return strcmp(pil_page_text(view, "past_ttl"), "all") == 0;
}

bool pil_status_view_troubles(const json_t *view, struct pil_text *lines) {
    const json_t *refused = json_object_get(view, "refused");
    const char *release = pil_page_text(refused, "release"), *project = pil_page_text(view, "project_refused"),
               *services = pil_page_text(view, "services_gone");
    char text[PIL_PAGE_TIME_BYTES];
    bool needs_action = refused != NULL || is_past_ttl(view) || project[0] != '\0' || services[0] != '\0';
    if (refused != NULL) {
        bool is_waiting = strcmp(pil_page_text(refused, "result"), "shortage") == 0;
        pil_text_format(lines, "%s%s %s (%s): %s\n", release[0] != '\0' ? "release " : "channel", release,
                        release[0] == '\0' ? "not read"
                        : is_waiting       ? "waits"
                                           : "rejected",
                        pil_page_text(refused, "result"), pil_page_text(refused, "why"));
    }
    if (pil_page_number(view, "behind_us") > 0) {
        pil_text_format(lines, "the channel has wanted release %s for %s; it is not served yet\n",
                        pil_page_text(view, "channel_release"),
                        pil_page_duration(pil_page_number(view, "behind_us"), text));
    }
    if (is_past_ttl(view)) {
        pil_text_format(lines, "every row is past the ttl of %s: values are OUTSIDE_MAX_AGE, or hidden\n",
                        pil_page_duration(pil_page_number(view, "ttl_us"), text));
    }
    if (project[0] != '\0') {
        pil_text_format(lines, "the newest project is not in force: %s\n", project);
    }
    if (services[0] != '\0') {
        pil_text_format(lines, "services gone with the last project: %s\n", services);
    }
    return needs_action;
}

const char *pil_status_view_state(const json_t *view, char ret_text[PIL_PAGE_TIME_BYTES + 8]) {
    const json_t *refused = json_object_get(view, "refused");
    json_int_t behind_us = pil_page_number(view, "behind_us");
    char text[PIL_PAGE_TIME_BYTES];
    if (json_object_get(view, "release") == NULL) {
        return "no release";
    }
    if (refused != NULL) {
        return pil_page_text(refused, "release")[0] == '\0'                ? "not read"
               : strcmp(pil_page_text(refused, "result"), "shortage") == 0 ? "waiting"
                                                                           : "rejected";
    }
    if (behind_us > 0) {
        snprintf(ret_text, PIL_PAGE_TIME_BYTES + 8, "behind %s", pil_page_duration(behind_us, text));
        return ret_text;
    }
    if (is_past_ttl(view)) {
        return "past ttl";
    }
    if (pil_page_text(view, "project_refused")[0] != '\0' || pil_page_text(view, "services_gone")[0] != '\0') {
        return "project";
    }
    return json_is_true(json_object_get(view, "pinned")) ? "pinned" : "ok";
}

/* ---- Printing */

void pil_status_print_head(const json_t *page) {
    char number[PIL_REPORT_NUMBER_BYTES], things[PIL_REPORT_THINGS_BYTES], age[PIL_PAGE_TIME_BYTES];
    bool ready = json_is_true(json_object_get(page, "ready"));
    printf("%s%s%s  pilliond %s, up %s, %s, budget %s\n", pil_report_style(ready ? PIL_STYLE_GOOD : PIL_STYLE_BAD),
           ready ? "ready" : "not ready", pil_report_style(PIL_STYLE_PLAIN), pil_page_text(page, "version"),
           pil_page_age(pil_page_number(page, "started_us"), pil_page_number(page, "now_us"), age),
           pil_report_things((uint64_t)pil_page_number(page, "workers"), "worker", things),
           pil_report_bytes((uint64_t)pil_page_number(page, "memory_budget"), number));
}

size_t pil_status_print_troubles(const struct pil_text *lines, const char *indent, size_t count_max) {
    size_t count = 0;
    for (const char *line = pil_report_text(lines); *line != '\0' && count < count_max; count++) {
        size_t len = strcspn(line, "\n");
        printf("%s%s%.*s%s\n", indent, pil_report_style(PIL_STYLE_BAD), (int)len, line,
               pil_report_style(PIL_STYLE_PLAIN));
        line += len + (line[len] == '\n');
    }
    return count;
}

void pil_status_print_view(const json_t *view, json_int_t now_us) {
    char number[PIL_REPORT_NUMBER_BYTES], things[PIL_REPORT_THINGS_BYTES], age[PIL_PAGE_TIME_BYTES];
    struct pil_text lines = {0};
    const char *plain = pil_report_style(PIL_STYLE_PLAIN), *bad = pil_report_style(PIL_STYLE_BAD);
    printf("  %s%s/%s%s%s\n", pil_report_style(PIL_STYLE_BOLD), pil_page_text(view, "project"),
           pil_page_text(view, "view"), plain, json_is_true(json_object_get(view, "pinned")) ? " (pinned)" : "");
    if (json_object_get(view, "release") != NULL) {
        printf("    release %s%s%s, %s", pil_report_style(PIL_STYLE_GOOD), pil_page_text(view, "release"), plain,
               pil_report_things((uint64_t)pil_page_number(view, "rows"), "row", things));
        printf(", %s in ", pil_report_bytes((uint64_t)pil_page_number(view, "held_bytes"), number));
        printf("%s\n", pil_report_things((uint64_t)pil_page_number(view, "held_releases"), "release", things));
        printf("    published %s", ago_text(pil_page_number(view, "published_us"), now_us, age));
        if (json_is_true(json_object_get(view, "static"))) {
            printf(", static");
        } else {
            printf(", newest event %s", ago_text(pil_page_number(view, "newest_event_us"), now_us, age));
        }
    } else {
        printf("    %sno release%s", bad, plain);
    }
    printf(", channel %s read %s\n", pil_page_text(view, "channel"),
           ago_text(pil_page_number(view, "checked_us"), now_us, age));
    if (strcmp(pil_page_text(view, "past_ttl"), "some") == 0) {
        printf("    some rows are past the ttl of %s", pil_page_duration(pil_page_number(view, "ttl_us"), age));
        printf(": the oldest event was %s\n", ago_text(pil_page_number(view, "oldest_event_us"), now_us, age));
    }
    pil_status_view_troubles(view, &lines);
    pil_status_print_troubles(&lines, "    ", SIZE_MAX);
    pil_text_deinit(&lines);
}
