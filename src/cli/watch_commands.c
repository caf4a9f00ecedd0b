/* SPDX-License-Identifier: Apache-2.0
 * status, hist, top, slowlog: what a running pilliond is doing, drawn. */
#include "base/clock.h"
#include "cli/admin_client.h"
#include "cli/report.h"

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

/* "3 s", "12 min", "5 h", "9 d" */
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

static int fetch(const struct pil_invocation *invocation, const char *path, json_t **ret_page) {
    struct pil_error error = {0};
    pil_status status = pil_admin_fetch(pil_admin_address(invocation), path, ret_page, &error);
    return status == PIL_STATUS_OK ? PIL_EXIT_OK : pil_report_failure(status, &error);
}

/* ---- status */

static void print_views(const json_t *page) {
    struct pil_table table;
    char number[PIL_REPORT_NUMBER_BYTES], age[24];
    json_int_t now_us = number_of(page, "now_us");
    size_t index;
    const json_t *view;
    pil_table_init(&table, 9, 1u << 3 | 1u << 4 | 1u << 5);
    static const char *const heads[] = {"view", "channel",      "release",   "rows",        "memory",
                                        "kept", "newest event", "published", "channel read"};
    for (size_t i = 0; i < 9; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, heads[i]);
    }
    json_array_foreach(json_object_get(page, "views"), index, view) {
        bool has_release = json_object_get(view, "release") != NULL;
        pil_table_format(&table, "%s/%s", text_of(view, "project"), text_of(view, "view"));
        pil_table_format(&table, "%s%s", text_of(view, "channel"),
                         json_is_true(json_object_get(view, "pinned")) ? " (pinned)" : "");
        pil_table_add(&table, has_release ? PIL_STYLE_GOOD : PIL_STYLE_BAD,
                      has_release ? text_of(view, "release") : "none");
        pil_table_add(&table, PIL_STYLE_PLAIN, pil_report_count((uint64_t)number_of(view, "rows"), number));
        pil_table_add(&table, PIL_STYLE_PLAIN, pil_report_bytes((uint64_t)number_of(view, "held_bytes"), number));
        pil_table_format(&table, "%lld", (long long)number_of(view, "held_releases"));
        pil_table_add(&table, PIL_STYLE_PLAIN, age_text(number_of(view, "newest_event_us"), now_us, age));
        pil_table_add(&table, PIL_STYLE_PLAIN, age_text(number_of(view, "published_us"), now_us, age));
        pil_table_add(&table, PIL_STYLE_PLAIN, age_text(number_of(view, "checked_us"), now_us, age));
    }
    pil_table_print(&table, 2);
    pil_table_deinit(&table);
    json_array_foreach(json_object_get(page, "views"), index, view) {
        const json_t *refused = json_object_get(view, "refused");
        if (refused != NULL) {
            printf("  %s%s/%s: release %s not taken (%s): %s%s\n", pil_report_style(PIL_STYLE_BAD),
                   text_of(view, "project"), text_of(view, "view"), text_of(refused, "release"),
                   text_of(refused, "result"), text_of(refused, "why"), pil_report_style(PIL_STYLE_PLAIN));
        }
    }
}

static void print_status(const json_t *page) {
    char number[PIL_REPORT_NUMBER_BYTES], age[24];
    bool ready = json_is_true(json_object_get(page, "ready"));
    size_t index;
    const json_t *listener;
    printf("%s%s%s  pilliond %s, up %s, %s (%s), %lld workers, budget %s",
           pil_report_style(ready ? PIL_STYLE_GOOD : PIL_STYLE_BAD), ready ? "ready" : "not ready",
           pil_report_style(PIL_STYLE_PLAIN), text_of(page, "version"),
           age_text(number_of(page, "started_us"), number_of(page, "now_us"), age), text_of(page, "engine"),
           text_of(page, "engine_reason"), (long long)number_of(page, "workers"),
           pil_report_bytes((uint64_t)number_of(page, "memory_budget"), number));
    printf(", restarts: server %lld, fetcher %lld\n", (long long)number_of(page, "server_restarts"),
           (long long)number_of(page, "fetcher_restarts"));
    json_array_foreach(json_object_get(page, "listeners"), index, listener) {
        printf("  %-6s %s\n", text_of(listener, "protocol"), text_of(listener, "address"));
    }
    print_views(page);
}

/* Who maps what: `status --mapped`. */
static void print_mapped(const json_t *page) {
    struct pil_table table;
    char number[PIL_REPORT_NUMBER_BYTES], age[24];
    size_t index;
    const json_t *holder;
    const json_t *holders = json_object_get(page, "holders");
    static const char *const heads[] = {"pid",     "uid",    "program", "view",  "generation",
                                        "release", "memory", "since",   "cgroup"};
    if (json_array_size(holders) == 0) {
        printf("no client maps a release\n");
        return;
    }
    pil_table_init(&table, 9, 1u << 0 | 1u << 1 | 1u << 4 | 1u << 6);
    for (size_t i = 0; i < 9; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, heads[i]);
    }
    json_array_foreach(holders, index, holder) {
        bool live = json_is_true(json_object_get(holder, "live"));
        pil_table_format(&table, "%lld", (long long)number_of(holder, "pid"));
        pil_table_format(&table, "%lld", (long long)number_of(holder, "uid"));
        pil_table_add(&table, PIL_STYLE_PLAIN, text_of(holder, "name"));
        pil_table_format(&table, "%s/%s", text_of(holder, "project"), text_of(holder, "view"));
        pil_table_format(&table, "%lld", (long long)number_of(holder, "generation"));
        pil_table_add(&table, live ? PIL_STYLE_GOOD : PIL_STYLE_BAD, text_of(holder, "release"));
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

/* A row of shades, one cell a bin: how full it is against the fullest. */
static void print_shades(const struct pil_latency *latency) {
    static const char *const shades[] = {" ", "░", "▒", "▓", "█"};
    uint64_t most = 1;
    for (uint32_t bin = 0; bin < PIL_LATENCY_BINS; bin++) {
        most = latency->bins[bin] > most ? latency->bins[bin] : most;
    }
    for (uint32_t bin = 0; bin < PIL_LATENCY_BINS; bin++) {
        uint64_t count = latency->bins[bin];
        fputs(shades[count == 0 ? 0 : 1 + (count * 3 + most - 1) / most], stdout);
    }
}

/* A duration, flush right in `columns`; µ is two bytes and one column. */
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

/* A bar of eighths of cells. */
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
        printf(" ┤");
        print_bar(latency->bins[bin], most);
        printf(" %.2f %%\n", 100.0 * (double)latency->bins[bin] / (double)latency->count);
    }
}

static bool is_group(const struct pil_latency *a, const struct pil_latency *b) {
    return strcmp(a->protocol, b->protocol) == 0 && strcmp(a->view, b->view) == 0;
}

static void print_group(const struct pil_latency *series, uint32_t count, double seconds) {
    char number[PIL_REPORT_NUMBER_BYTES];
    const struct pil_latency *total = &series[count - 1]; /* stages come in order; total is the last */
    printf("  %s%s %s%s  %s requests", pil_report_style(PIL_STYLE_BOLD), total->protocol,
           strcmp(total->view, "-") == 0 ? "(no view)" : total->view, pil_report_style(PIL_STYLE_PLAIN),
           pil_report_count(total->count, number));
    if (seconds > 0) {
        printf(", %s/s", pil_report_count((uint64_t)((double)total->count / seconds), number));
    }
    printf("\n%s            │1µs   10    100   1ms   10    100   1s  │      p50       p99     p99.9       max%s\n",
           pil_report_style(PIL_STYLE_DIM), pil_report_style(PIL_STYLE_PLAIN));
    for (uint32_t i = 0; i < count; i++) {
        print_stage(&series[i]);
    }
    if (strcmp(total->stage, "total") == 0) {
        print_bars(total);
    }
    printf("\n");
}

static void print_hist(const json_t *page, const json_t *before) {
    struct pil_latency *series = calloc(PIL_LATENCY_SERIES_MAX, sizeof *series);
    uint32_t count = series != NULL ? pil_latency_read(page, before, series, PIL_LATENCY_SERIES_MAX) : 0;
    double seconds = before != NULL ? (double)(number_of(page, "now_us") - number_of(before, "now_us")) / 1e6 : 0;
    for (uint32_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && is_group(&series[begin], &series[end]); end++) {
        }
        print_group(&series[begin], end - begin, seconds);
    }
    if (count == 0) {
        printf("  no requests yet\n");
    }
    free(series);
}

/* Calls draw(page, page before) once a second on a terminal until interrupted; once for what was so far, otherwise. */
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
        }
        draw(invocation, page, before);
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
    (void)invocation;
    printf("latency by stage, %s\n\n", before != NULL ? "last second" : "since start");
    print_hist(page, before);
}

int pil_cli_hist(const struct pil_invocation *invocation) {
    return watch(invocation, "/hist", draw_hist);
}

/* ---- top */

static void print_top_row(struct pil_table *table, const struct pil_latency *total, double seconds) {
    char text[24], number[PIL_REPORT_NUMBER_BYTES];
    pil_table_format(table, "%s", total->protocol);
    pil_table_format(table, "%.200s", strcmp(total->view, "-") == 0 ? "(no view)" : total->view);
    pil_table_add(table, PIL_STYLE_PLAIN,
                  pil_report_count(seconds > 0 ? (uint64_t)((double)total->count / seconds) : total->count, number));
    pil_table_add(table, PIL_STYLE_PLAIN, pil_latency_text(total->p50_ns, text));
    pil_table_add(table, PIL_STYLE_PLAIN, pil_latency_text(total->p99_ns, text));
    pil_table_add(table, PIL_STYLE_PLAIN, pil_latency_text(total->p999_ns, text));
}

static void draw_top(const struct pil_invocation *invocation, const json_t *page, const json_t *before) {
    struct pil_latency *series = calloc(PIL_LATENCY_SERIES_MAX, sizeof *series);
    uint32_t count = series != NULL ? pil_latency_read(page, before, series, PIL_LATENCY_SERIES_MAX) : 0;
    double seconds = before != NULL ? (double)(number_of(page, "now_us") - number_of(before, "now_us")) / 1e6 : 0;
    static const char *const heads[] = {"protocol", "view", NULL, "p50", "p99", "p99.9"};
    json_t *state = NULL;
    struct pil_table table;
    if (fetch(invocation, "/status", &state) == PIL_EXIT_OK) {
        print_status(state);
        json_decref(state);
    }
    pil_table_init(&table, 6, 0x3c);
    for (size_t i = 0; i < 6; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, heads[i] != NULL ? heads[i] : seconds > 0 ? "requests/s" : "requests");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(series[i].stage, "total") == 0) {
            print_top_row(&table, &series[i], seconds);
        }
    }
    printf("\n");
    pil_table_print(&table, 2);
    pil_table_deinit(&table);
    free(series);
}

int pil_cli_top(const struct pil_invocation *invocation) {
    return watch(invocation, "/hist", draw_top);
}

/* ---- slowlog */

int pil_cli_slowlog(const struct pil_invocation *invocation) {
    static const char *const heads[] = {"when", "total", "queue", "lookup", "encode", "keys", "request", "from"};
    json_t *page = NULL;
    int exit_code = fetch(invocation, "/slowlog", &page);
    if (exit_code != PIL_EXIT_OK) {
        return exit_code;
    }
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(page);
        return PIL_EXIT_OK;
    }
    struct pil_table table;
    size_t index;
    const json_t *slow;
    char text[24], when[PIL_CLOCK_TEXT_BYTES];
    pil_table_init(&table, 8, 0x3e);
    for (size_t i = 0; i < 8; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, heads[i]);
    }
    json_array_foreach(json_object_get(page, "requests"), index, slow) {
        static const char *const spans[] = {"duration_us", "queue_us", "lookup_us", "encode_us"};
        pil_clock_format_us(number_of(slow, "when_us"), when);
        pil_table_add(&table, PIL_STYLE_PLAIN, when);
        for (size_t i = 0; i < 4; i++) {
            pil_table_add(&table, PIL_STYLE_PLAIN, pil_latency_text((uint64_t)number_of(slow, spans[i]) * 1000, text));
        }
        pil_table_format(&table, "%lld", (long long)number_of(slow, "keys"));
        pil_table_format(&table, "%.100s", text_of(slow, "what"));
        pil_table_format(&table, "%.60s", text_of(slow, "peer"));
    }
    printf("requests over %s, newest first\n",
           pil_latency_text((uint64_t)number_of(page, "threshold_us") * 1000, text));
    pil_table_print(&table, 2);
    pil_table_deinit(&table);
    json_decref(page);
    return PIL_EXIT_OK;
}
