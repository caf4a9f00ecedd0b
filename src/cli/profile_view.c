/* SPDX-License-Identifier: Apache-2.0
 * Draws a profile. It comes from a store, so its content is foreign and may have any form. */
#include "cli/profile_view.h"

#include "base/clock.h"
#include "cli/table.h"

#include <math.h>
#include <stdio.h>

enum { BARS = 32, BUCKETS_MAX = 1024, TOP_SHOWN = 3, TOP_COLUMNS = 16 };

static void append_json_scalar(struct pil_text *text, const json_t *value) {
    if (json_is_integer(value)) {
        pil_text_format(text, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        pil_text_format(text, "%.5g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        pil_text_format(text, json_is_true(value) ? "true" : "false");
    } else if (json_is_string(value)) {
        pil_text_append_printable(text, pil_bytes_from(json_string_value(value), json_string_length(value)),
                                  TOP_COLUMNS);
    }
}

/* Adds min, mean or max; those of timestamps are in microseconds. */
static void add_member(struct pil_table *table, const json_t *feature, const char *member, struct pil_type type) {
    const json_t *value = json_object_get(feature, member);
    struct pil_text text = {0};
    if (type.shape == PIL_SHAPE_SCALAR && type.scalar == PIL_SCALAR_UNIX_TIMESTAMP && json_is_number(value) &&
        fabs(json_number_value(value)) < 1e18) {
        char time[PIL_CLOCK_TEXT_BYTES];
        pil_clock_format_us((int64_t)(json_number_value(value) / 1e6) * 1000000, time);
        pil_text_format(&text, "%s", time);
    } else {
        append_json_scalar(&text, value);
    }
    pil_table_add(table, PIL_STYLE_PLAIN, pil_report_text(&text));
    pil_text_deinit(&text);
}

/* Merges the buckets into at most BARS bars, whose heights in eighths of a block are relative to the highest bar. */
static void append_bars(struct pil_text *text, const json_t *counts) {
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    size_t count = json_array_size(counts);
    double bars[BARS] = {0}, highest = 0;
    if (count == 0 || count > BUCKETS_MAX) {
        return;
    }
    size_t used = count < BARS ? count : BARS;
    for (size_t i = 0; i < count; i++) {
        double *bar = &bars[i * used / count];
        *bar += json_number_value(json_array_get(counts, i));
        highest = *bar > highest ? *bar : highest;
    }
    for (size_t i = 0; i < used && highest > 0; i++) {
        double height = bars[i] > 0 ? bars[i] / highest * 7 : -1; /* a bar above 0 is never drawn as a blank */
        pil_text_format(text, "%s", blocks[(int)(height + 1)]);
    }
}

static void append_top(struct pil_text *text, const json_t *top) {
    for (size_t i = 0; i < json_array_size(top) && i < TOP_SHOWN; i++) {
        const json_t *entry = json_array_get(top, i);
        pil_text_format(text, "%s", text->len > 0 ? ", " : "");
        append_json_scalar(text, json_object_get(entry, "value"));
        pil_text_format(text, " ×%lld", (long long)json_integer_value(json_object_get(entry, "count")));
    }
}

static void add_count(struct pil_table *table, const json_t *feature, const char *member) {
    char number[PIL_REPORT_NUMBER_BYTES];
    const json_t *count = json_object_get(feature, member);
    bool is_count = json_is_integer(count) && json_integer_value(count) >= 0;
    pil_table_add(table, PIL_STYLE_PLAIN,
                  is_count ? pil_report_count((uint64_t)json_integer_value(count), number) : "");
}

static void add_feature(struct pil_table *table, const struct pil_feature *feature, const json_t *profile) {
    struct pil_text text = {0};
    const char *measure = json_string_value(json_object_get(profile, "measure"));
    /* Of texts and lists no values are compared, but their lengths or elements. */
    bool is_of_values = measure == NULL || strcmp(measure, "value") == 0;
    pil_table_format(table, "%s%s", feature->name,
                     is_of_values                     ? ""
                     : strcmp(measure, "length") == 0 ? " (lengths)"
                                                      : " (elements)");
    add_count(table, profile, "count");
    add_count(table, profile, "nulls");
    add_count(table, profile, "distinct");
    add_member(table, profile, "min", feature->type);
    add_member(table, profile, "mean", feature->type);
    add_member(table, profile, "max", feature->type);
    append_bars(&text, json_object_get(json_object_get(profile, "histogram"), "counts"));
    pil_table_add(table, PIL_STYLE_GOOD, pil_report_text(&text));
    pil_text_clear(&text);
    append_top(&text, json_object_get(profile, "top"));
    pil_table_add(table, PIL_STYLE_DIM, pil_report_text(&text));
    pil_text_deinit(&text);
}

void pil_profile_view_print(const json_t *profile, const struct pil_view *view) {
    static const char *const head[] = {"FEATURE", "COUNT", "NULLS",     "DISTINCT", "MIN",
                                       "MEAN",    "MAX",   "HISTOGRAM", "MOST"};
    struct pil_table table;
    pil_table_init(&table, 9, 0x7e);
    for (size_t i = 0; i < 9; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, head[i]);
    }
    for (uint32_t i = 0; i < view->feature_count; i++) {
        const json_t *features = json_object_get(profile, "features");
        const json_t *feature = json_object_get(features, view->features[i].name);
        if (feature != NULL) {
            add_feature(&table, &view->features[i], feature);
        }
    }
    if (table.cell_count > table.column_count) {
        printf("\nprofile\n");
        pil_table_print(&table, 2);
    }
    pil_table_deinit(&table);
}
