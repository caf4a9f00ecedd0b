/* SPDX-License-Identifier: Apache-2.0
 * The commands hist and top: watch what a running pilliond does. On a terminal they fill the window again once a second
 * and read keys; otherwise they print once. What must be seen comes first: readiness, what is wrong, then the views in
 * the order that the user chose. */
#include "cli/admin_client.h"
#include "cli/hist_view.h"
#include "cli/screen.h"
#include "cli/status_view.h"
#include "cli/table.h"
#include "cli/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A protocol and a view, with its requests of the last second, or since the start; or a view without requests. */
struct row {
    char name[PIL_LATENCY_VIEW_BYTES];
    const struct pil_latency *stages; /* the last one is the total */
    uint32_t stage_count;             /* 0: no requests */
    const json_t *view;               /* of the page /status; NULL: requests that named no view */
    double hits;                      /* share of the view's lookups; -1: there were none */
};

/* The pages of two moments; `before` are NULL at first. */
struct watch {
    const struct pil_invocation *invocation;
    json_t *hist, *hist_before;
    json_t *status, *status_before;
    struct pil_error error; /* why the pages could not be read this time; "": they were */
    char order;             /* the key of the order */
    struct pil_latency *series;
    struct row *rows; /* PIL_LATENCY_SERIES_MAX */
    uint32_t row_count;
    double seconds;    /* between the moments; 0: since the start */
    bool has_projects; /* the served views are of several projects */
};

/* ---- Orders */

/* NULL: no request was answered. Errors before a lookup have no total. */
static const struct pil_latency *total_of(const struct row *row) {
    const struct pil_latency *last = row->stage_count > 0 ? &row->stages[row->stage_count - 1] : NULL;
    return last != NULL && strcmp(last->stage, "total") == 0 ? last : NULL;
}

static uint64_t requests_of(const struct row *row) {
    return total_of(row) != NULL ? total_of(row)->count : 0;
}

static int by_name(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 || x->stage_count == 0 || y->stage_count == 0 ? order
                                                                    : strcmp(x->stages->protocol, y->stages->protocol);
}

static int by_rate(const void *a, const void *b) {
    uint64_t x = requests_of(a), y = requests_of(b);
    return x != y ? (x < y) - (x > y) : by_name(a, b);
}

static int by_p99(const void *a, const void *b) {
    const struct pil_latency *x = total_of(a), *y = total_of(b);
    uint64_t x_ns = x != NULL ? x->p99_ns : 0, y_ns = y != NULL ? y->p99_ns : 0;
    return x_ns != y_ns ? (x_ns < y_ns) - (x_ns > y_ns) : by_name(a, b);
}

/* The fewest hits first; views without lookups last. */
static int by_hits(const void *a, const void *b) {
    double x = ((const struct row *)a)->hits, y = ((const struct row *)b)->hits;
    x = x < 0 ? 2 : x;
    y = y < 0 ? 2 : y;
    return x < y ? -1 : x > y ? 1 : by_name(a, b);
}

static const struct {
    char key;
    const char *name;
    int (*compare)(const void *, const void *);
} orders[] = {{'r', "rate", by_rate}, {'p', "p99", by_p99}, {'n', "name", by_name}, {'h', "hits", by_hits}};
enum { ORDER_COUNT = sizeof orders / sizeof orders[0] };

static size_t order_of(char key) {
    size_t i = 0;
    while (i < ORDER_COUNT && orders[i].key != key) {
        i++;
    }
    return i;
}

static int read_order(const struct pil_invocation *invocation, char *ret_key) {
    const char *wanted = invocation->values[PIL_OPTION_SORT];
    *ret_key = orders[0].key;
    for (size_t i = 0; i < ORDER_COUNT && wanted != NULL; i++) {
        if (strcmp(orders[i].name, wanted) == 0) {
            *ret_key = orders[i].key;
            return PIL_EXIT_OK;
        }
    }
    return wanted == NULL ? PIL_EXIT_OK : pil_report_usage("--sort %s: expected rate, p99, name or hits", wanted);
}

/* ---- Rows */

/* Whether --view, if it is given, names the view, with or without its project. */
static bool is_chosen(const struct pil_invocation *invocation, const char *name) {
    const char *wanted = invocation->values[PIL_OPTION_VIEW], *slash = strchr(name, '/');
    return wanted == NULL || strcmp(name, wanted) == 0 || (slash != NULL && strcmp(slash + 1, wanted) == 0);
}

static void name_of(const json_t *view, char ret_name[PIL_LATENCY_VIEW_BYTES]) {
    snprintf(ret_name, PIL_LATENCY_VIEW_BYTES, "%s/%s", pil_page_text(view, "project"), pil_page_text(view, "view"));
}

static const json_t *find_view(const json_t *status, const char *name) {
    size_t index;
    const json_t *view;
    json_array_foreach(json_object_get(status, "views"), index, view) {
        char other[PIL_LATENCY_VIEW_BYTES];
        name_of(view, other);
        if (strcmp(other, name) == 0) {
            return view;
        }
    }
    return NULL;
}

/* The share of lookups that found a row, between the two moments. */
static double hits_of(const struct watch *watch, const json_t *view, const char *name) {
    const json_t *now = json_object_get(view, "lookups");
    const json_t *before = json_object_get(find_view(watch->status_before, name), "lookups");
    json_int_t hits = pil_page_number(now, "hit"), missed = pil_page_number(now, "not_found");
    if (hits >= pil_page_number(before, "hit") && missed >= pil_page_number(before, "not_found")) {
        hits -= pil_page_number(before, "hit"); /* after a restart the server counts from 0 */
        missed -= pil_page_number(before, "not_found");
    }
    return hits + missed > 0 ? (double)hits / (double)(hits + missed) : -1;
}

static struct row *add_row(struct watch *watch, const char *name) {
    struct row *row = &watch->rows[watch->row_count++];
    *row = (struct row){.view = find_view(watch->status, name)};
    snprintf(row->name, sizeof row->name, "%s", name);
    row->hits = hits_of(watch, row->view, name);
    return row;
}

static bool is_same(const struct pil_latency *a, const struct pil_latency *b) {
    return strcmp(a->protocol, b->protocol) == 0 && strcmp(a->view, b->view) == 0;
}

static void read_rows(struct watch *watch) {
    uint32_t count = pil_latency_read(watch->hist, watch->hist_before, watch->series, PIL_LATENCY_SERIES_MAX);
    size_t index;
    const json_t *view;
    watch->row_count = 0;
    watch->seconds =
        watch->hist_before != NULL
            ? (double)(pil_page_number(watch->hist, "now_us") - pil_page_number(watch->hist_before, "now_us")) / 1e6
            : 0;
    for (uint32_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && is_same(&watch->series[begin], &watch->series[end]); end++) {
        }
        if (is_chosen(watch->invocation, watch->series[begin].view)) {
            struct row *row = add_row(watch, watch->series[begin].view);
            row->stages = &watch->series[begin];
            row->stage_count = end - begin;
        }
    }
    uint32_t with_requests = watch->row_count;
    const char *project = NULL;
    watch->has_projects = false;
    json_array_foreach(json_object_get(watch->status, "views"), index, view) {
        char name[PIL_LATENCY_VIEW_BYTES];
        bool is_there = false;
        project = project != NULL ? project : pil_page_text(view, "project");
        watch->has_projects = watch->has_projects || strcmp(project, pil_page_text(view, "project")) != 0;
        name_of(view, name);
        for (uint32_t i = 0; i < with_requests; i++) {
            is_there = is_there || strcmp(watch->rows[i].name, name) == 0;
        }
        if (!is_there && is_chosen(watch->invocation, name) && watch->row_count < PIL_LATENCY_SERIES_MAX) {
            add_row(watch, name);
        }
    }
    qsort(watch->rows, watch->row_count, sizeof *watch->rows, orders[order_of(watch->order)].compare);
}

/* ---- What both commands draw first */

/* All that is wrong, a line each: with the server, then with its views. */
static void collect_troubles(const struct watch *watch, struct pil_text *lines) {
    size_t index;
    const json_t *view;
    pil_status_troubles(watch->status, lines);
    json_array_foreach(json_object_get(watch->status, "views"), index, view) {
        struct pil_text own = {0};
        pil_status_view_troubles(view, &own);
        for (const char *line = pil_report_text(&own); *line != '\0';) {
            size_t len = strcspn(line, "\n");
            pil_text_format(lines, "%s: %.*s\n", pil_page_text(view, "view"), (int)len, line);
            line += len + 1;
        }
        pil_text_deinit(&own);
    }
}

/* In a window what is wrong takes a third of the lines at most, so that there is room for the rest. */
static void print_health(const struct watch *watch, bool is_window) {
    struct pil_text lines = {0};
    size_t count = 0, rows = pil_screen_rows(), most = is_window && rows > 0 ? rows / 3 : SIZE_MAX;
    if (watch->error.text[0] != '\0') {
        printf("%sno answer%s  %s\n", pil_report_style(PIL_STYLE_BAD), pil_report_style(PIL_STYLE_PLAIN),
               watch->error.text);
        return;
    }
    pil_status_print_head(watch->status);
    collect_troubles(watch, &lines);
    for (const char *at = pil_report_text(&lines); *at != '\0'; at++) {
        count += *at == '\n';
    }
    most = count > most && most > 1 ? most - 1 : most; /* the last line says that there are more */
    size_t shown = pil_status_print_troubles(&lines, "  ", most);
    if (shown < count) {
        printf("  %s… and %zu more; `pillion status` has them all%s\n", pil_report_style(PIL_STYLE_BAD), count - shown,
               pil_report_style(PIL_STYLE_PLAIN));
    }
    pil_text_deinit(&lines);
}

/* ---- hist */

static void draw_hist(const struct watch *watch, bool is_window) {
    bool is_one = watch->row_count == 1;
    uint64_t requests = 0;
    print_health(watch, is_window);
    printf("%s; of the fullest bin: ░ ≤1/4 ▒ ≤1/2 ▓ ≤3/4 █ more\n\n",
           watch->seconds > 0 ? "last second" : "since start");
    for (uint32_t i = 0; i < watch->row_count; i++) {
        const struct row *row = &watch->rows[i];
        requests += requests_of(row);
        if (row->stage_count > 0) { /* in a window, the bars of one view would push the others out */
            pil_hist_view_print(row->stages, row->stage_count, watch->seconds, is_one || !is_window);
        }
    }
    if (requests == 0) {
        printf("  no requests%s\n", watch->seconds > 0 ? "" : " yet");
    }
}

/* ---- top */

/* In the order of what a window can best do without, from the last one: `from` is the width from which on a column is
 * shown. */
static const struct {
    const char *head;
    size_t from;
    bool is_right;
} columns[] = {{"protocol", 0, false}, {"view", 0, false},   {"requests/s", 0, true}, {"p50", 80, true},
               {"p99", 0, true},       {"p99.9", 110, true}, {"hits", 70, true},      {"newest event", 110, true},
               {"state", 0, false}};
enum { COLUMN_COUNT = sizeof columns / sizeof columns[0], VIEW_COLUMN = 1, RATE_COLUMN = 2, STATE_COLUMN = 8 };

/* The text of a cell; the text "-" stands for what there is not. */
static void write_cell(const struct watch *watch, const struct row *row, size_t column, char ret_text[64]) {
    const struct pil_latency *total = total_of(row);
    double count = (double)requests_of(row);
    char state[PIL_PAGE_TIME_BYTES + 8];
    snprintf(ret_text, 64, "-");
    switch (column) {
    case 0: snprintf(ret_text, 64, "%s", total != NULL ? total->protocol : "-"); return;
    case RATE_COLUMN:
        pil_report_count((uint64_t)(watch->seconds > 0 ? count / watch->seconds : count), ret_text);
        return;
    case 6:
        if (row->hits >= 0) {
            snprintf(ret_text, 64, "%.1f %%", 100 * row->hits);
        }
        return;
    case 7:
        if (json_is_true(json_object_get(row->view, "static"))) {
            snprintf(ret_text, 64, "static");
        } else if (row->view != NULL) {
            pil_page_age(pil_page_number(row->view, "newest_event_us"), pil_page_number(watch->status, "now_us"),
                         ret_text);
        }
        return;
    case STATE_COLUMN:
        snprintf(ret_text, 64, "%s", row->view != NULL ? pil_status_view_state(row->view, state) : "-");
        return;
    default: break;
    }
    if (total != NULL) {
        pil_latency_text(column == 3 ? total->p50_ns : column == 4 ? total->p99_ns : total->p999_ns, ret_text);
    }
}

/* With its project only where there are several: a narrow window has no room to spare. */
static const char *short_name(const struct watch *watch, const struct row *row) {
    const char *slash = strchr(row->name, '/');
    return row->view == NULL ? "(no view)" : watch->has_projects || slash == NULL ? row->name : slash + 1;
}

static void add_cells(const struct watch *watch, const struct row *row, size_t window, struct pil_table *table) {
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        char text[64];
        if (window < columns[i].from) {
            continue;
        }
        if (i == VIEW_COLUMN) {
            pil_table_add(table, PIL_STYLE_PLAIN, short_name(watch, row));
            continue;
        }
        write_cell(watch, row, i, text);
        bool is_good = i != STATE_COLUMN || strcmp(text, "ok") == 0 || strcmp(text, "pinned") == 0 || text[0] == '-';
        pil_table_add(table, is_good ? PIL_STYLE_PLAIN : PIL_STYLE_BAD, text);
    }
}

static void draw_top(const struct watch *watch, bool is_window) {
    struct pil_table table;
    size_t window = pil_report_columns();
    uint64_t right = 0;
    uint32_t count = 0;
    window = window == 0 ? SIZE_MAX : window;
    print_health(watch, is_window);
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (window >= columns[i].from) {
            right |= (uint64_t)columns[i].is_right << count++;
        }
    }
    pil_table_init(&table, count, right);
    table.cut = 1u << VIEW_COLUMN;
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (window >= columns[i].from) {
            pil_table_add(&table, PIL_STYLE_BOLD,
                          i == RATE_COLUMN && watch->seconds <= 0 ? "requests" : columns[i].head);
        }
    }
    for (uint32_t i = 0; i < watch->row_count; i++) {
        if (watch->rows[i].view != NULL || total_of(&watch->rows[i]) != NULL) {
            add_cells(watch, &watch->rows[i], window, &table);
        }
    }
    printf("\n");
    pil_table_print(&table, 2);
    pil_table_deinit(&table);
}

/* ---- Watching */

/* Reads both pages. The earlier ones stay until they were read. */
static pil_status read_pages(struct watch *watch) {
    json_t *hist = NULL, *status = NULL;
    pil_status read = pil_admin_page_try(watch->invocation, "/hist", &hist, &watch->error);
    if (read == PIL_STATUS_OK) {
        read = pil_admin_page_try(watch->invocation, "/status", &status, &watch->error);
    }
    if (read != PIL_STATUS_OK) {
        json_decref(hist);
        return read;
    }
    watch->error.text[0] = '\0';
    json_decref(watch->hist_before);
    json_decref(watch->status_before);
    watch->hist_before = watch->hist;
    watch->status_before = watch->status;
    watch->hist = hist;
    watch->status = status;
    return PIL_STATUS_OK;
}

/* A view that --view names must be served, or have had requests. */
static int check_view(const struct watch *watch) {
    const char *wanted = watch->invocation->values[PIL_OPTION_VIEW];
    const json_t *views = json_object_get(watch->status, "views"), *view;
    size_t index, count = 0;
    struct pil_text hint = {0};
    struct pil_error error;
    if (wanted == NULL || watch->row_count > 0) {
        return PIL_EXIT_OK;
    }
    const char **names = pil_report_need(calloc(json_array_size(views) + 1, sizeof *names));
    char(*room)[PIL_LATENCY_VIEW_BYTES] = pil_report_need(calloc(json_array_size(views) + 1, sizeof *room));
    json_array_foreach(views, index, view) {
        name_of(view, room[count]);
        names[count] = strchr(wanted, '/') != NULL ? room[count] : pil_page_text(view, "view");
        count++;
    }
    pil_status status = pil_fail(&error, PIL_STATUS_NOT_FOUND, "no view '%s' is served here%s", wanted,
                                 pil_report_hint(wanted, names, (uint32_t)count, &hint));
    free(names);
    free(room);
    pil_text_deinit(&hint);
    return pil_report_failure(status, &error);
}

/* Prints the page /hist, without series that --view leaves out. */
static void print_json(const struct watch *watch) {
    json_t *all = json_object_get(watch->hist, "series");
    for (size_t i = json_array_size(all); i > 0; i--) {
        if (!is_chosen(watch->invocation, pil_page_text(json_array_get(all, i - 1), "view"))) {
            json_array_remove(all, i - 1);
        }
    }
    pil_report_json(json_incref(watch->hist));
}

static void draw_window(struct watch *watch, void (*draw)(const struct watch *watch, bool is_window)) {
    char footer[128];
    snprintf(footer, sizeof footer, "q quit; sort by r rate, p p99, n name, h hits (now %s)",
             orders[order_of(watch->order)].name);
    pil_screen_begin();
    read_rows(watch);
    draw(watch, true);
    pil_screen_end(footer);
}

/* Draws once a second until `q`. A server that does not answer is asked again: it may be starting. */
static void run_window(struct watch *watch, void (*draw)(const struct watch *watch, bool is_window)) {
    enum { SECOND_MS = 1000 };
    int key = PIL_KEY_NONE;
    pil_terminal_enter();
    while (key != 'q' && key != PIL_KEY_END) {
        draw_window(watch, draw);
        key = pil_terminal_key(SECOND_MS);
        if (key > 0 && order_of((char)key) < ORDER_COUNT) {
            watch->order = (char)key;
        } else if (key == PIL_KEY_NONE) {
            pil_ignore(read_pages(watch), "shown");
        }
    }
    pil_terminal_leave();
}

static bool is_window(const struct pil_invocation *invocation) {
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) == 1 && (terminal == NULL || strcmp(terminal, "dumb") != 0) &&
           !pil_invocation_has(invocation, PIL_OPTION_ONCE) && !pil_invocation_has(invocation, PIL_OPTION_JSON);
}

static int watch(const struct pil_invocation *invocation, void (*draw)(const struct watch *watch, bool is_window)) {
    struct watch watch = {.invocation = invocation};
    int exit_code = read_order(invocation, &watch.order);
    if (exit_code != PIL_EXIT_OK) {
        return exit_code;
    }
    pil_status status = read_pages(&watch);
    if (status != PIL_STATUS_OK) {
        return pil_report_failure(status, &watch.error);
    }
    watch.series = pil_report_need(calloc(PIL_LATENCY_SERIES_MAX, sizeof *watch.series));
    watch.rows = pil_report_need(calloc(PIL_LATENCY_SERIES_MAX, sizeof *watch.rows));
    read_rows(&watch);
    exit_code = check_view(&watch);
    if (exit_code == PIL_EXIT_OK && pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        print_json(&watch);
    } else if (exit_code == PIL_EXIT_OK && is_window(invocation)) {
        run_window(&watch, draw);
    } else if (exit_code == PIL_EXIT_OK) {
        draw(&watch, false);
    }
    json_decref(watch.hist);
    json_decref(watch.hist_before);
    json_decref(watch.status);
    json_decref(watch.status_before);
    free(watch.series);
    free(watch.rows);
    return exit_code;
}

int pil_cli_hist(const struct pil_invocation *invocation) {
    return watch(invocation, draw_hist);
}

int pil_cli_top(const struct pil_invocation *invocation) {
    return watch(invocation, draw_top);
}
