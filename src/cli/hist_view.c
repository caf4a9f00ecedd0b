/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/hist_view.h"
#include "cli/report.h"

enum { BAR_CELLS = 40, BAR_MARGIN = 26, STAGE_COLUMNS = 76 };

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

/* Whether the window has no room for p99.9 and max. */
static bool is_narrow(void) {
    size_t columns = pil_report_columns();
    return columns > 0 && columns < STAGE_COLUMNS;
}

static void print_stage(const struct pil_latency *latency) {
    printf("    %-7s │", latency->stage);
    print_shades(latency);
    printf("│");
    print_latency(latency->p50_ns, 9);
    print_latency(latency->p99_ns, 10);
    if (!is_narrow()) {
        print_latency(latency->p999_ns, 10);
        print_latency(latency->max_ns, 10);
    }
    printf("\n");
}

/* Prints a bar whose length is a multiple of an eighth of a cell. */
static void print_bar(uint64_t count, uint64_t most) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    size_t columns = pil_report_columns();
    uint64_t cells = columns == 0 || columns >= BAR_MARGIN + BAR_CELLS ? BAR_CELLS
                     : columns > BAR_MARGIN                            ? columns - BAR_MARGIN
                                                                       : 1;
    uint64_t length = most == 0 ? 0 : (count * cells * 8 + most - 1) / most;
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

const char *pil_hist_view_name(const struct pil_latency *latency) {
    return strcmp(latency->view, "-") == 0 ? "(no view)" : latency->view;
}

void pil_hist_view_print(const struct pil_latency *series, uint32_t count, double seconds, bool has_bars) {
    char number[PIL_REPORT_NUMBER_BYTES], things[PIL_REPORT_THINGS_BYTES];
    const struct pil_latency *total = &series[count - 1]; /* stages come in order; total is the last */
    printf("  %s%s %s%s\n    %s", pil_report_style(PIL_STYLE_BOLD), total->protocol, pil_hist_view_name(total),
           pil_report_style(PIL_STYLE_PLAIN), pil_report_things(total->count, "request", things));
    if (seconds > 0) {
        printf(", %s/s", pil_report_count((uint64_t)((double)total->count / seconds), number));
    }
    /* Each bin is one column and each decade three; every second decade has a label. */
    printf("\n%s            │1µs   100µs 10ms  1s   │      p50       p99%s%s\n", pil_report_style(PIL_STYLE_DIM),
           is_narrow() ? "" : "     p99.9       max", pil_report_style(PIL_STYLE_PLAIN));
    for (uint32_t i = 0; i < count; i++) {
        print_stage(&series[i]);
    }
    if (has_bars && strcmp(total->stage, "total") == 0) {
        printf("\n");
        print_bars(total);
    }
    printf("\n");
}
