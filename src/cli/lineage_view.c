/* SPDX-License-Identifier: Apache-2.0
 * Draws the lineage. It comes from a store, so its content is foreign and may have any form. */
#include "cli/lineage_view.h"

#include "cli/table.h"

#include <stdio.h>
#include <string.h>

enum { SOURCES_SHOWN = 20, PASSED_SHOWN = 5 };

/* The member, if it is a number that can count; otherwise 0. */
static uint64_t count_of(const json_t *object, const char *member) {
    json_int_t count = json_integer_value(json_object_get(object, member));
    return count > 0 ? (uint64_t)count : 0;
}

/* What the rows of a count are, in the words of the builder's report; for an unknown count its name. */
static void append_label(struct pil_text *text, const char *name) {
    static const char *const labels[][2] = {{"late", "superseded by newer rows"}, {"duplicates", "duplicate"},
                                            {"conflicts", "in conflict"},         {"after_as_of", "after --as-of"},
                                            {"null_keys", "without a key"},       {"bad_rows", "bad"}};
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        if (strcmp(labels[i][0], name) == 0) {
            pil_text_format(text, "%s", labels[i][1]);
            return;
        }
    }
    for (const char *letter = name; *letter != '\0'; letter++) {
        pil_text_format(text, "%c", *letter == '_' ? ' ' : *letter);
    }
}

/* "read: 1,234 rows in, 1,200 out (34 superseded by newer rows)". */
static void print_counts(const json_t *counts) {
    char number[PIL_REPORT_NUMBER_BYTES], rows[PIL_REPORT_THINGS_BYTES];
    struct pil_text others = {0};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)counts, name, value) {
        uint64_t count = count_of(counts, name);
        bool is_in_or_out = strncmp(name, "rows_", 5) == 0, is_of_values = strcmp(name, "rounded") == 0;
        if (count > 0 && !is_in_or_out && !is_of_values) {
            pil_text_format(&others, "%s%s ", others.len > 0 ? ", " : " (", pil_report_count(count, number));
            append_label(&others, name);
        }
    }
    pil_text_format(&others, "%s", others.len > 0 ? ")" : "");
    printf("%s in, ", pil_report_things(count_of(counts, "rows_in"), "row", rows));
    struct pil_text shown = {0};
    printf("%s out%s\n", pil_report_count(count_of(counts, "rows_out"), number),
           pil_report_printable(pil_report_text(&others), &shown));
    pil_text_deinit(&shown);
    pil_text_deinit(&others);
}

static void print_sources(const json_t *sources) {
    char number[PIL_REPORT_NUMBER_BYTES];
    struct pil_table table;
    size_t count = json_array_size(sources);
    pil_table_init(&table, 3, 1 << 1 | 1 << 2);
    pil_table_add(&table, PIL_STYLE_BOLD, "SOURCE");
    pil_table_add(&table, PIL_STYLE_BOLD, "ROWS");
    pil_table_add(&table, PIL_STYLE_BOLD, "BYTES");
    for (size_t i = 0; i < count && i < SOURCES_SHOWN; i++) {
        const json_t *source = json_array_get(sources, i);
        const char *path = json_string_value(json_object_get(source, "path"));
        pil_table_add(&table, PIL_STYLE_PLAIN, path != NULL ? path : "(query)");
        pil_table_add(&table, PIL_STYLE_PLAIN, pil_report_count(count_of(source, "rows"), number));
        pil_table_add(&table, PIL_STYLE_PLAIN, path != NULL ? pil_report_bytes(count_of(source, "bytes"), number) : "");
    }
    pil_table_print(&table, 2);
    pil_table_deinit(&table);
    if (count > SOURCES_SHOWN) {
        printf("  … and %s; --json shows them\n",
               pil_report_things(count - SOURCES_SHOWN, "more source", (char[PIL_REPORT_THINGS_BYTES]){0}));
    }
}

/* "  not read: 7: a, b, c, d, e, …": the manifest may name less than it counts. */
static void print_not_read(const json_t *not_read) {
    char number[PIL_REPORT_NUMBER_BYTES];
    const json_t *paths = json_object_get(not_read, "paths");
    uint64_t count = count_of(not_read, "count");
    if (count == 0) {
        return;
    }
    printf("  not read: %s", pil_report_things(count, "other file", (char[PIL_REPORT_THINGS_BYTES]){0}));
    for (size_t i = 0; i < json_array_size(paths) && i < PASSED_SHOWN; i++) {
        struct pil_text shown = {0};
        const char *path = json_string_value(json_array_get(paths, i));
        printf("%s%s", i == 0 ? ": " : ", ", pil_report_printable(path != NULL ? path : "", &shown));
        pil_text_deinit(&shown);
    }
    if (count > PASSED_SHOWN) {
        printf(" and %s more", pil_report_count(count - PASSED_SHOWN, number));
    }
    printf("\n");
}

void pil_lineage_view_print(const json_t *manifest) {
    const json_t *counts = json_object_get(manifest, "counts"), *sources = json_object_get(manifest, "sources");
    if (json_object_size(counts) == 0 && json_array_size(sources) == 0) {
        return;
    }
    printf("\nread: ");
    print_counts(counts);
    print_sources(sources);
    print_not_read(json_object_get(manifest, "not_read"));
}
