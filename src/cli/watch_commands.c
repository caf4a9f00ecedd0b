/* SPDX-License-Identifier: Apache-2.0
 * The commands status, hist, top and slowlog: show what a running pilliond is doing. */
#include "base/clock.h"
#include "base/bounds.h"
#include "cli/admin_client.h"
#include "cli/report.h"
#include "cli/screen.h"
#include "cli/table.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BAR_CELLS = 40 };

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int number) {
    (void)number;
    is_interrupted = 1;
}

static const char *text_of(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

static json_int_t number_of(const json_t *object, const char *member) {
    return json_integer_value(json_object_get(object, member));
}

/* Formats an age: "3 s", "12 min", "5 h", "9 d", or "never". */
static const char *age_text(json_int_t since_us, json_int_t now_us, char text[24]) {
    long long seconds = since_us > 0 ? (now_us - since_us) / 1000000 : -1;
    if (seconds < 0) {
        snprintf(text, 24, "never");
    } else if (seconds < 120) {
        snprintf(text, 24, "%lld s", seconds);
    } else if (seconds < 7200) {
        snprintf(text, 24, "%lld min", seconds / 60);
    } else if (seconds < 172800) {
        snprintf(text, 24, "%lld h", seconds / 3600);
    } else {
        snprintf(text, 24, "%lld d", seconds / 86400);
    }
    return text;
}

/* Formats "3 s ago", or "never". */
static const char *ago_text(json_int_t when_us, json_int_t now_us, char text[24]) {
    size_t len = strlen(age_text(when_us, now_us, text));
    if (when_us > 0 && now_us >= when_us) {
        snprintf(text + len, 24 - len, " ago");
    }
    return text;
}

static int fetch(const struct pil_invocation *invocation, const char *path, json_t **ret_page) {
    struct pil_error error = {0};
    pil_status status = pil_admin_fetch(pil_admin_address(invocation), path, ret_page, &error);
    if (status != PIL_STATUS_OK) {
        return pil_report_failure(status, &error);
    }
    if (!pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_make_printable(*ret_page);
    }
    return PIL_EXIT_OK;
}

/* ---- status */

/* What keeps a view from being served as its channel and project say, one line each, after `indent`. */
static void print_troubles(const json_t *view, const char *indent) {
    const json_t *refused = json_object_get(view, "refused");
    const char *bad = pil_report_style(PIL_STYLE_BAD), *plain = pil_report_style(PIL_STYLE_PLAIN);
    const char *wanted = text_of(view, "channel_release");
    if (refused != NULL) {
        bool has_release = text_of(refused, "release")[0] != '\0';
        printf("%s%s%s%s%s (%s): %s%s\n", indent, bad, has_release ? "release " : "channel",
               text_of(refused, "release"), has_release ? " rejected" : " not read", text_of(refused, "result"),
               text_of(refused, "why"), plain);
    } else if (wanted[0] != '\0' && strcmp(wanted, text_of(view, "release")) != 0) {
        printf("%s%schannel wants release %s, which is not served yet%s\n", indent, bad, wanted, plain);
    }
    for (size_t i = 0; i < 2; i++) {
        const char *why = text_of(view, i == 0 ? "project_refused" : "services_gone");
        if (why[0] != '\0') {
            printf("%s%s%s%s\n", indent, bad, why, plain);
        }
    }
}

/* Lines are at most 80 columns wide, unless names or reasons are long. */
static void print_view(const json_t *view, json_int_t now_us) {
    char number[PIL_REPORT_NUMBER_BYTES], things[PIL_REPORT_THINGS_BYTES], age[24];
    const char *plain = pil_report_style(PIL_STYLE_PLAIN), *bad = pil_report_style(PIL_STYLE_BAD);
    printf("  %s%s/%s%s%s\n", pil_report_style(PIL_STYLE_BOLD), text_of(view, "project"), text_of(view, "view"), plain,
           json_is_true(json_object_get(view, "pinned")) ? " (pinned)" : "");
    if (json_object_get(view, "release") != NULL) {
        printf("    release %s%s%s, %s", pil_report_style(PIL_STYLE_GOOD), text_of(view, "release"), plain,
               pil_report_things((uint64_t)number_of(view, "rows"), "row", things));
        printf(", %s in ", pil_report_bytes((uint64_t)number_of(view, "held_bytes"), number));
        printf("%s\n", pil_report_things((uint64_t)number_of(view, "held_releases"), "release", things));
        printf("    published %s", ago_text(number_of(view, "published_us"), now_us, age));
        if (json_is_true(json_object_get(view, "static"))) {
            printf(", static");
        } else {
            printf(", newest event %s", ago_text(number_of(view, "newest_event_us"), now_us, age));
        }
    } else {
        printf("    %sno release%s", bad, plain);
    }
    printf(", channel %s read %s\n", text_of(view, "channel"), ago_text(number_of(view, "checked_us"), now_us, age));
    print_troubles(view, "    ");
}

/* `is_full`: with the engine, and what is as it should be. */
static void print_head(const json_t *page, bool is_full) {
    char number[PIL_REPORT_NUMBER_BYTES], things[PIL_REPORT_THINGS_BYTES], age[24];
    bool ready = json_is_true(json_object_get(page, "ready"));
    size_t index;
    const json_t *term;
    json_int_t server = number_of(page, "server_restarts"), fetcher = number_of(page, "fetcher_restarts");
    printf("%s%s%s  pilliond %s, up %s, %s, budget %s\n", pil_report_style(ready ? PIL_STYLE_GOOD : PIL_STYLE_BAD),
           ready ? "ready" : "not ready", pil_report_style(PIL_STYLE_PLAIN), text_of(page, "version"),
           age_text(number_of(page, "started_us"), number_of(page, "now_us"), age),
           pil_report_things((uint64_t)number_of(page, "workers"), "worker", things),
           pil_report_bytes((uint64_t)number_of(page, "memory_budget"), number));
    json_array_foreach(json_object_get(page, "not_ready"), index, term) {
        printf("  %s%s%s\n", pil_report_style(PIL_STYLE_BAD), json_string_value(term),
               pil_report_style(PIL_STYLE_PLAIN));
    }
    if (is_full) {
        printf("  engine %s: %s\n", text_of(page, "engine"), text_of(page, "engine_reason"));
    }
    if (server + fetcher > 0) {
        printf("  %srestarted after a failure: server %lld, fetcher %lld%s\n", pil_report_style(PIL_STYLE_BAD),
               (long long)server, (long long)fetcher, pil_report_style(PIL_STYLE_PLAIN));
    }
}

static void print_views(const json_t *page) {
    size_t index;
    const json_t *view;
    json_array_foreach(json_object_get(page, "views"), index, view) {
        print_view(view, number_of(page, "now_us"));
    }
}

static void print_status(const json_t *page) {
    size_t index;
    const json_t *listener;
    print_head(page, true);
    json_array_foreach(json_object_get(page, "listeners"), index, listener) {
        printf("  %-6s %s\n", text_of(listener, "protocol"), text_of(listener, "address"));
    }
    print_views(page);
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
        pil_table_format(&table, "%lld", (long long)number_of(holder, "pid"));
        pil_table_format(&table, "%lld", (long long)number_of(holder, "uid"));
        pil_table_add(&table, PIL_STYLE_PLAIN, text_of(holder, "name"));
        pil_table_format(&table, "%s/%s", text_of(holder, "project"), text_of(holder, "view"));
        pil_table_format(&table, "%lld", (long long)number_of(holder, "generation"));
        pil_table_add(&table, PIL_STYLE_PLAIN, text_of(holder, "release"));
        pil_table_add(&table, live ? PIL_STYLE_GOOD : PIL_STYLE_BAD, live ? "served" : "replaced");
        pil_table_add(&table, PIL_STYLE_PLAIN, pil_report_bytes((uint64_t)number_of(holder, "bytes"), number));
        pil_table_add(&table, PIL_STYLE_PLAIN, age_text(number_of(holder, "since_us"), number_of(page, "now_us"), age));
        pil_table_add(&table, PIL_STYLE_PLAIN, text_of(holder, "cgroup"));
    }
    pil_table_print(&table, 0);
    pil_table_deinit(&table);
}

static int show_mapped(const struct pil_invocation *invocation) {
    json_t *page = NULL;
    int exit_code = fetch(invocation, "/mapped", &page);
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
    int exit_code = fetch(invocation, "/status", &page);
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

/* ---- hist */

/* Prints a row of shades, one cell for each bin; the shade shows the bin's count relative to the largest. */
static void print_shades(const struct pil_latency *latency) {
    static const char *const shades[] = {" ", "░", "▒", "▓", "█"};
    uint64_t most = 1;
    for (uint32_t bin = 0; bin < PIL_LATENCY_BINS; bin++) {
        most = latency->bins[bin] > most ? latency->bins[bin] : most;
    }
    for (uint32_t bin = 0; bin < PIL_LATENCY_BINS; bin++) {
        uint64_t count = latency->bins[bin];
        fputs(shades[(count * 4 + most - 1) / most], stdout);
    }
}

/* Prints a duration, aligned right in `columns`; µ takes two bytes and one column. */
static void print_latency(uint64_t ns, int columns) {
    char text[24];
    pil_latency_text(ns, text);
    printf("%*s", strstr(text, "µ") != NULL ? columns + 1 : columns, text);
}

static void print_stage(const struct pil_latency *latency) {
    printf("    %-7s │", latency->stage);
    print_shades(latency);
    printf("│");
    print_latency(latency->p50_ns, 9);
    print_latency(latency->p99_ns, 10);
    print_latency(latency->p999_ns, 10);
    print_latency(latency->max_ns, 10);
    printf("\n");
}

/* Prints a bar whose length is a multiple of an eighth of a cell. */
static void print_bar(uint64_t count, uint64_t most) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    uint64_t length = most == 0 ? 0 : (count * BAR_CELLS * 8 + most - 1) / most;
    for (uint64_t i = 0; i < length / 8; i++) {
        fputs("█", stdout);
    }
    fputs(eighths[length % 8], stdout);
}

static void print_bars(const struct pil_latency *latency) {
    uint32_t first = PIL_LATENCY_BINS, last = 0;
    uint64_t most = 0;
    for (uint32_t bin = 0; bin < PIL_LATENCY_BINS; bin++) {
        if (latency->bins[bin] > 0) {
            first = bin < first ? bin : first;
            last = bin;
            most = latency->bins[bin] > most ? latency->bins[bin] : most;
        }
    }
    for (uint32_t bin = first; bin <= last && bin < PIL_LATENCY_BINS; bin++) {
        bool is_open = pil_latency_bound_ns(bin) == UINT64_MAX;
        printf("    %s", is_open ? ">" : "≤");
        print_latency(pil_latency_bound_ns(is_open ? bin - 1 : bin), 8);
        printf(" %6.2f %% │", 100.0 * (double)latency->bins[bin] / (double)latency->count);
        print_bar(latency->bins[bin], most);
        printf("\n");
    }
}

static bool is_group(const struct pil_latency *a, const struct pil_latency *b) {
    return strcmp(a->protocol, b->protocol) == 0 && strcmp(a->view, b->view) == 0;
}

static const char *view_text(const struct pil_latency *latency) {
    return strcmp(latency->view, "-") == 0 ? "(no view)" : latency->view;
}

static void print_group(const struct pil_latency *series, uint32_t count, double seconds, bool has_bars) {
    char number[PIL_REPORT_NUMBER_BYTES], things[PIL_REPORT_THINGS_BYTES];
    const struct pil_latency *total = &series[count - 1]; /* stages come in order; total is the last */
    printf("  %s%s %s%s\n    %s", pil_report_style(PIL_STYLE_BOLD), total->protocol, view_text(total),
           pil_report_style(PIL_STYLE_PLAIN), pil_report_things(total->count, "request", things));
    if (seconds > 0) {
        printf(", %s/s", pil_report_count((uint64_t)((double)total->count / seconds), number));
    }
    /* Each bin is one column and each decade three; every second decade has a label. */
    printf("\n%s            │1µs   100µs 10ms  1s   │      p50       p99     p99.9       max%s\n",
           pil_report_style(PIL_STYLE_DIM), pil_report_style(PIL_STYLE_PLAIN));
    for (uint32_t i = 0; i < count; i++) {
        print_stage(&series[i]);
    }
    if (has_bars && strcmp(total->stage, "total") == 0) {
        printf("\n");
        print_bars(total);
    }
    printf("\n");
}

/* Whether --view, if it is given, names the series' view, with or without its project. */
static bool is_chosen(const struct pil_invocation *invocation, const struct pil_latency *series) {
    const char *wanted = invocation->values[PIL_OPTION_VIEW], *slash = strchr(series->view, '/');
    return wanted == NULL || strcmp(series->view, wanted) == 0 || (slash != NULL && strcmp(slash + 1, wanted) == 0);
}

static uint32_t read_chosen(const struct pil_invocation *invocation, const json_t *page, const json_t *before,
                            struct pil_latency *ret_series) {
    uint32_t count = pil_latency_read(page, before, ret_series, PIL_LATENCY_SERIES_MAX), chosen = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_chosen(invocation, &ret_series[i])) {
            ret_series[chosen++] = ret_series[i];
        }
    }
    return chosen;
}

/* Prints whether the server is ready, in the first lines of a window, with what is wrong. Returns the page /status,
 * which is the caller's; NULL: it cannot be read. */
static json_t *print_health(const struct pil_invocation *invocation, bool is_full) {
    json_t *state = NULL;
    size_t index;
    const json_t *view;
    if (fetch(invocation, "/status", &state) != PIL_EXIT_OK) {
        printf("%sstate unknown%s\n", pil_report_style(PIL_STYLE_BAD), pil_report_style(PIL_STYLE_PLAIN));
        return NULL;
    }
    print_head(state, is_full);
    json_array_foreach(json_object_get(state, "views"), index, view) {
        char indent[PIL_NAME_BYTES_MAX + 8];
        snprintf(indent, sizeof indent, "  %s: ", text_of(view, "view"));
        print_troubles(view, indent);
    }
    return state;
}

static void print_hist(const struct pil_invocation *invocation, const json_t *page, const json_t *before) {
    struct pil_latency *series = pil_report_need(calloc(PIL_LATENCY_SERIES_MAX, sizeof *series));
    uint32_t count = read_chosen(invocation, page, before, series);
    double seconds = before != NULL ? (double)(number_of(page, "now_us") - number_of(before, "now_us")) / 1e6 : 0;
    bool is_one = count > 0 && is_group(&series[0], &series[count - 1]);
    for (uint32_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && is_group(&series[begin], &series[end]); end++) {
        }
        /* In a window, bars of one group would push the others out. */
        print_group(&series[begin], end - begin, seconds, is_one || pil_report_columns() == 0);
    }
    if (count == 0) {
        printf("  no requests%s\n", before != NULL ? "" : " yet");
    }
    free(series);
}

/* On a terminal, calls draw(page, previous page) once a second until interrupted; otherwise, or with --once, calls it
 * once without a previous page. --json prints the page instead. */
static int watch(const struct pil_invocation *invocation, const char *path,
                 void (*draw)(const struct pil_invocation *invocation, const json_t *page, const json_t *before)) {
    json_t *page = NULL, *before = NULL;
    int exit_code = fetch(invocation, path, &page);
    bool once = !isatty(STDOUT_FILENO) || pil_invocation_has(invocation, PIL_OPTION_ONCE) ||
                pil_invocation_has(invocation, PIL_OPTION_JSON);
    if (exit_code == PIL_EXIT_OK && pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(page);
        return PIL_EXIT_OK;
    }
    signal(SIGINT, on_interrupt);
    while (exit_code == PIL_EXIT_OK) {
        if (!once) {
            printf("\033[H\033[2J");
            pil_screen_begin();
        }
        draw(invocation, page, before);
        if (!once) {
            pil_screen_end();
        }
        fflush(stdout);
        json_decref(before);
        before = page;
        page = NULL;
        struct timespec second = {.tv_sec = 1};
        if (once || is_interrupted || nanosleep(&second, NULL) != 0 || is_interrupted) {
            break;
        }
        exit_code = fetch(invocation, path, &page);
    }
    json_decref(before);
    return exit_code;
}

static void draw_hist(const struct pil_invocation *invocation, const json_t *page, const json_t *before) {
    json_decref(print_health(invocation, false));
    printf("latency by stage, %s; ░ up to 1/4 of the fullest, ▒ 1/2, ▓ 3/4, █ more\n\n",
           before != NULL ? "last second" : "since start");
    print_hist(invocation, page, before);
}

int pil_cli_hist(const struct pil_invocation *invocation) {
    return watch(invocation, "/hist", draw_hist);
}

/* ---- top */

static void add_top_row(struct pil_table *table, const struct pil_latency *total, double seconds) {
    char text[24], number[PIL_REPORT_NUMBER_BYTES];
    pil_table_add(table, PIL_STYLE_PLAIN, total->protocol);
    pil_table_add(table, PIL_STYLE_PLAIN, view_text(total));
    pil_table_add(table, PIL_STYLE_PLAIN,
                  pil_report_count(seconds > 0 ? (uint64_t)((double)total->count / seconds) : total->count, number));
    pil_table_add(table, PIL_STYLE_PLAIN, pil_latency_text(total->p50_ns, text));
    pil_table_add(table, PIL_STYLE_PLAIN, pil_latency_text(total->p99_ns, text));
    pil_table_add(table, PIL_STYLE_PLAIN, pil_latency_text(total->p999_ns, text));
}

static void draw_top(const struct pil_invocation *invocation, const json_t *page, const json_t *before) {
    struct pil_latency *series = pil_report_need(calloc(PIL_LATENCY_SERIES_MAX, sizeof *series));
    uint32_t count = read_chosen(invocation, page, before, series);
    double seconds = before != NULL ? (double)(number_of(page, "now_us") - number_of(before, "now_us")) / 1e6 : 0;
    static const char *const heads[] = {"protocol", "view", NULL, "p50", "p99", "p99.9"};
    struct pil_table table;
    json_t *state = print_health(invocation, true);
    pil_table_init(&table, 6, 0x3c);
    table.cut = 1u << 1;
    for (size_t i = 0; i < 6; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, heads[i] != NULL ? heads[i] : seconds > 0 ? "requests/s" : "requests");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(series[i].stage, "total") == 0) {
            add_top_row(&table, &series[i], seconds);
        }
    }
    printf("\n");
    if (table.cell_count > 6) {
        pil_table_print(&table, 2);
    } else {
        printf("  no requests%s\n", before != NULL ? " in the last second" : " yet");
    }
    printf("\n");
    print_views(state);
    json_decref(state);
    pil_table_deinit(&table);
    free(series);
}

int pil_cli_top(const struct pil_invocation *invocation) {
    return watch(invocation, "/hist", draw_top);
}

/* ---- slowlog */

static void add_slow_request(struct pil_table *table, const json_t *slow, json_int_t now_us) {
    static const char *const spans[] = {"duration_us", "queue_us", "lookup_us", "encode_us"};
    char text[24];
    pil_table_add(table, PIL_STYLE_PLAIN, age_text(number_of(slow, "when_us"), now_us, text));
    for (size_t i = 0; i < 4; i++) {
        uint64_t us = (uint64_t)number_of(slow, spans[i]);
        pil_table_add(table, PIL_STYLE_PLAIN, us > 0 ? pil_latency_text(us * 1000, text) : "<1 µs");
    }
    pil_table_format(table, "%lld", (long long)number_of(slow, "keys"));
    pil_table_format(table, "%.200s", text_of(slow, "what"));
    pil_table_format(table, "%.100s", text_of(slow, "peer"));
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
           pil_latency_text((uint64_t)number_of(page, "threshold_us") * 1000, text), any ? ", newest first" : "");
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
    int exit_code = fetch(invocation, "/slowlog", &page);
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
