/* SPDX-License-Identifier: Apache-2.0
 * Tables with aligned columns. */
#include "cli/table.h"

#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>

enum { CUT_MIN = 8 };

struct pil_table_cell {
    char *text;
    size_t width; /* characters */
    pil_style style;
};

static size_t width_of(const char *text) {
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += (*text & 0xc0) != 0x80; /* does not count continuation bytes */
    }
    return width;
}

void pil_table_init(struct pil_table *table, uint32_t column_count, uint64_t right) {
    *table = (struct pil_table){.column_count = column_count, .right = right};
}

void pil_table_deinit(struct pil_table *table) {
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->cells[i].text);
    }
    free(table->cells);
    *table = (struct pil_table){0};
}

void pil_table_add(struct pil_table *table, pil_style style, const char *text) {
    if ((table->cell_count & (table->cell_count - 1)) == 0) { /* doubles at powers of two */
        size_t capacity = table->cell_count == 0 ? 1 : 2 * table->cell_count;
        table->cells = pil_report_need(realloc(table->cells, capacity * sizeof *table->cells));
    }
    struct pil_text printable = {0};
    char *owned = pil_report_need(strdup(pil_report_printable(text, &printable)));
    pil_text_deinit(&printable);
    table->cells[table->cell_count++] =
        (struct pil_table_cell){.text = owned, .width = width_of(owned), .style = style};
}

void pil_table_format(struct pil_table *table, const char *format, ...) {
    struct pil_text text = {0};
    va_list arguments;
    va_start(arguments, format);
    pil_text_format_v(&text, format, arguments);
    va_end(arguments);
    pil_table_add(table, PIL_STYLE_PLAIN, pil_report_text(&text));
    pil_text_deinit(&text);
}

/* Narrows the columns that may be truncated, the widest first, until a line fits the terminal. */
static void fit(const struct pil_table *table, int indent, size_t *widths) {
    size_t columns = pil_report_columns(), line = (size_t)indent + 2 * (size_t)(table->column_count - 1);
    for (uint32_t i = 0; i < table->column_count; i++) {
        line += widths[i];
    }
    for (; columns > 0 && line > columns; line--) {
        size_t *widest = NULL;
        for (uint32_t i = 0; i < table->column_count && i < 64; i++) {
            if ((table->cut >> i & 1) != 0 && widths[i] > CUT_MIN && (widest == NULL || widths[i] > *widest)) {
                widest = &widths[i];
            }
        }
        if (widest == NULL) {
            return;
        }
        --*widest;
    }
}

/* The number of bytes of the first `width` characters. */
static int bytes_of(const char *text, size_t width) {
    const char *at = text;
    for (; *at != '\0' && (width > 0 || (*at & 0xc0) == 0x80); at++) {
        width -= (*at & 0xc0) != 0x80;
    }
    return (int)(at - text);
}

void pil_table_print(const struct pil_table *table, int indent) {
    PIL_ASSERT(table->cell_count % table->column_count == 0);
    size_t *widths = pil_report_need(calloc(table->column_count, sizeof *widths));
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t *width = &widths[i % table->column_count];
        *width = table->cells[i].width > *width ? table->cells[i].width : *width;
    }
    fit(table, indent, widths);
    for (size_t i = 0; i < table->cell_count; i++) {
        const struct pil_table_cell *cell = &table->cells[i];
        uint32_t column = (uint32_t)(i % table->column_count);
        bool last = column + 1 == table->column_count, right = column < 64 && (table->right >> column & 1) != 0;
        bool is_cut = cell->width > widths[column];
        int blanks = is_cut ? 0 : (int)(widths[column] - cell->width);
        pil_style style = i < table->column_count ? PIL_STYLE_BOLD : cell->style;
        printf("%*s%s%.*s%s%s%*s%s", (column == 0 ? indent : 2) + (right ? blanks : 0), "",
               style != PIL_STYLE_PLAIN ? pil_report_style(style) : "",
               bytes_of(cell->text, is_cut ? widths[column] - 1 : cell->width), cell->text, is_cut ? "…" : "",
               style != PIL_STYLE_PLAIN ? pil_report_style(PIL_STYLE_PLAIN) : "", right || last ? 0 : blanks, "",
               last ? "\n" : "");
    }
    free(widths);
}
