/* SPDX-License-Identifier: Apache-2.0
 * The profile comes from a store: text from outside, of any shape. */
#include "cli/profile_view.h"

#include "cli/report.h"

#include <stdio.h>

enum { BARS = 24, BUCKETS_MAX = 1024, NAME_COLUMNS = 40, TOP_SHOWN = 3, TOP_COLUMNS = 16 };

static void append_json_scalar(struct pil_text *text, const json_t *value) {
    if (json_is_integer(value)) {
        pil_text_format(text, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        pil_text_format(text, "%.5g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        pil_text_format(text, json_is_true(value) ? "true" : "false");
    } else if (json_is_string(value)) {
        pil_report_append_printable(text, pil_bytes_from(json_string_value(value), json_string_length(value)),
                                    TOP_COLUMNS);
    }
}

static void add_member(struct pil_table *table, const json_t *feature, const char *member) {
    struct pil_text text = {0};
    append_json_scalar(&text, json_object_get(feature, member));
    pil_table_add(table, PIL_STYLE_PLAIN, pil_text_chars(&text));
    pil_text_deinit(&text);
}

/* Buckets into at most BARS bars, each an eighth-block high by its share of the highest. */
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
        double height = bars[i] > 0 ? bars[i] / highest * 7 : -1; /* something is never drawn as nothing */
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

static void add_feature(struct pil_table *table, const char *name, const json_t *feature) {
    struct pil_text text = {0};
    pil_report_append_printable(&text, pil_bytes_from_text(name), NAME_COLUMNS);
    pil_table_add(table, PIL_STYLE_PLAIN, pil_text_chars(&text));
    pil_text_clear(&text);
    add_member(table, feature, "count");
    add_member(table, feature, "nulls");
    add_member(table, feature, "distinct");
    add_member(table, feature, "min");
    add_member(table, feature, "mean");
    add_member(table, feature, "max");
    append_bars(&text, json_object_get(json_object_get(feature, "histogram"), "counts"));
    pil_table_add(table, PIL_STYLE_GOOD, pil_text_chars(&text));
    pil_text_clear(&text);
    const char *measure = json_string_value(json_object_get(feature, "measure"));
    append_top(&text, json_object_get(feature, "top"));
    if (text.len == 0 && measure != NULL && strcmp(measure, "value") != 0) {
        pil_text_format(&text, strcmp(measure, "length") == 0 ? "(of lengths)" : "(of elements)");
    }
    pil_table_add(table, PIL_STYLE_DIM, pil_text_chars(&text));
    pil_text_deinit(&text);
}

void pil_profile_view_print(const json_t *profile) {
    static const char *const head[] = {"FEATURE", "COUNT", "NULLS",     "DISTINCT", "MIN",
                                       "MEAN",    "MAX",   "HISTOGRAM", "MOST"};
    struct pil_table table;
    const char *name;
    json_t *feature;
    pil_table_init(&table, 9, 0x7e);
    for (size_t i = 0; i < 9; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, head[i]);
    }
    json_object_foreach(json_object_get(profile, "features"), name, feature) {
        add_feature(&table, name, feature);
    }
    if (table.cell_count > table.column_count) {
        printf("\nprofile\n");
        pil_table_print(&table, 2);
    }
    pil_table_deinit(&table);
}
