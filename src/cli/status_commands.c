/* SPDX-License-Identifier: Apache-2.0
 * The commands status and slowlog: print a page of a running pilliond once. */
#include "base/clock.h"
#include "cli/admin_client.h"
#include "cli/status_view.h"
#include "cli/table.h"

static void print_status(const json_t *page) {
    size_t index;
    const json_t *listener, *view;
    struct pil_text lines = {0};
    pil_status_print_head(page);
    pil_status_troubles(page, &lines);
    pil_status_print_troubles(&lines, "  ", SIZE_MAX);
    pil_text_deinit(&lines);
    printf("  engine %s: %s\n", pil_page_text(page, "engine"), pil_page_text(page, "engine_reason"));
    json_array_foreach(json_object_get(page, "listeners"), index, listener) {
        printf("  %-6s %s\n", pil_page_text(listener, "protocol"), pil_page_text(listener, "address"));
    }
    json_array_foreach(json_object_get(page, "views"), index, view) {
        pil_status_print_view(view, pil_page_number(page, "now_us"));
    }
}

/* Prints `status --mapped`: the clients that map releases. */
static void print_mapped(const json_t *page) {
    struct pil_table table;
    char number[PIL_REPORT_NUMBER_BYTES], age[24];
    size_t index;
    const json_t *holder;
    const json_t *holders = json_object_get(page, "holders");
    static const char *const heads[] = {"pid",     "uid",   "program", "view",  "generation",
                                        "release", "state", "memory",  "since", "cgroup"};
    if (json_array_size(holders) == 0) {
        printf("no client maps a release\n");
        return;
    }
    pil_table_init(&table, 10, 1u << 0 | 1u << 1 | 1u << 4 | 1u << 7);
    for (size_t i = 0; i < 10; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, heads[i]);
    }
    json_array_foreach(holders, index, holder) {
        bool live = json_is_true(json_object_get(holder, "live"));
        pil_table_format(&table, "%lld", (long long)pil_page_number(holder, "pid"));
        pil_table_format(&table, "%lld", (long long)pil_page_number(holder, "uid"));
        pil_table_add(&table, PIL_STYLE_PLAIN, pil_page_text(holder, "name"));
        pil_table_format(&table, "%s/%s", pil_page_text(holder, "project"), pil_page_text(holder, "view"));
        pil_table_format(&table, "%lld", (long long)pil_page_number(holder, "generation"));
        pil_table_add(&table, PIL_STYLE_PLAIN, pil_page_text(holder, "release"));
        pil_table_add(&table, live ? PIL_STYLE_GOOD : PIL_STYLE_BAD, live ? "served" : "replaced");
        pil_table_add(&table, PIL_STYLE_PLAIN, pil_report_bytes((uint64_t)pil_page_number(holder, "bytes"), number));
        pil_table_add(&table, PIL_STYLE_PLAIN,
                      pil_page_age(pil_page_number(holder, "since_us"), pil_page_number(page, "now_us"), age));
        pil_table_add(&table, PIL_STYLE_PLAIN, pil_page_text(holder, "cgroup"));
    }
    pil_table_print(&table, 0);
    pil_table_deinit(&table);
}

static int show_mapped(const struct pil_invocation *invocation) {
    json_t *page = NULL;
    int exit_code = pil_admin_page(invocation, "/mapped", &page);
    if (exit_code == PIL_EXIT_OK && pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(json_incref(page));
    } else if (exit_code == PIL_EXIT_OK) {
        print_mapped(page);
    }
    json_decref(page);
    return exit_code;
}

int pil_cli_status(const struct pil_invocation *invocation) {
    json_t *page = NULL;
    if (pil_invocation_has(invocation, PIL_OPTION_MAPPED)) {
        return show_mapped(invocation);
    }
    int exit_code = pil_admin_page(invocation, "/status", &page);
    if (exit_code != PIL_EXIT_OK) {
        return exit_code;
    }
    bool ready = json_is_true(json_object_get(page, "ready"));
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(json_incref(page));
    } else {
        print_status(page);
    }
    json_decref(page);
    return ready ? PIL_EXIT_OK : PIL_EXIT_REFUSED;
}

/* ---- slowlog */

static void add_slow_request(struct pil_table *table, const json_t *slow, json_int_t now_us) {
    static const char *const spans[] = {"duration_us", "queue_us", "lookup_us", "encode_us"};
    char text[24];
    pil_table_add(table, PIL_STYLE_PLAIN, pil_page_age(pil_page_number(slow, "when_us"), now_us, text));
    for (size_t i = 0; i < 4; i++) {
        uint64_t us = (uint64_t)pil_page_number(slow, spans[i]);
        pil_table_add(table, PIL_STYLE_PLAIN, us > 0 ? pil_latency_text(us * 1000, text) : "<1 µs");
    }
    pil_table_format(table, "%lld", (long long)pil_page_number(slow, "keys"));
    pil_table_format(table, "%.200s", pil_page_text(slow, "what"));
    pil_table_format(table, "%.100s", pil_page_text(slow, "peer"));
}

static void print_slow_requests(const json_t *page) {
    static const char *const heads[] = {"ago", "total", "queue", "lookup", "encode", "keys", "request", "from"};
    const json_t *slow, *requests = json_object_get(page, "requests");
    json_int_t now_us = pil_clock_wall_us();
    struct pil_table table;
    size_t index;
    char text[24];
    bool any = json_array_size(requests) > 0;
    printf("%s over %s%s\n", any ? "requests" : "no requests",
           pil_latency_text((uint64_t)pil_page_number(page, "threshold_us") * 1000, text), any ? ", newest first" : "");
    pil_table_init(&table, 8, 0x3f);
    table.cut = 1u << 6 | 1u << 7;
    for (size_t i = 0; i < 8; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, heads[i]);
    }
    json_array_foreach(requests, index, slow) {
        add_slow_request(&table, slow, now_us);
    }
    if (any) {
        pil_table_print(&table, 2);
    }
    pil_table_deinit(&table);
}

int pil_cli_slowlog(const struct pil_invocation *invocation) {
    json_t *page = NULL;
    int exit_code = pil_admin_page(invocation, "/slowlog", &page);
    if (exit_code != PIL_EXIT_OK) {
        return exit_code;
    }
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(page);
        return PIL_EXIT_OK;
    }
    print_slow_requests(page);
    json_decref(page);
    return PIL_EXIT_OK;
}
