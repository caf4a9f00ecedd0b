/* SPDX-License-Identifier: Apache-2.0
 * The list of problems with their places. */
#include "schema/yaml.h"
#include "schema/internal.h"

#include <stdarg.h>

void pil_yaml_problem_add(struct pil_yaml_problems *problems, const struct pil_yaml_node *at, const char *format, ...) {
    char text[PIL_ERROR_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    PIL_ASSERT(problems->count <= problems->capacity);
    if (problems->count == problems->capacity) {
        uint32_t capacity = problems->capacity > 0 ? 2 * problems->capacity : 16;
        struct pil_yaml_problem *items = realloc(problems->items, capacity * sizeof *items);
        if (items == NULL) {
            problems->no_memory = true;
            return;
        }
        problems->items = items;
        problems->capacity = capacity;
    }
    char *copy = pil_yaml_problems_copy(problems, text);
    if (copy != NULL) {
        problems->items[problems->count++] = (struct pil_yaml_problem){at->line, at->column, copy};
    }
}

char *pil_yaml_problems_copy(struct pil_yaml_problems *problems, const char *text) {
    char *copy;
    if (!pil_schema_copy(text, &copy)) {
        problems->no_memory = true;
    }
    return copy;
}

void *pil_yaml_problems_alloc(struct pil_yaml_problems *problems, size_t count, size_t bytes) {
    void *memory = pil_schema_alloc(count, bytes);
    if (memory == NULL) {
        problems->no_memory = true;
    }
    return memory;
}

struct sorted {
    const struct pil_yaml_problem *problem;
    uint32_t found;
};

static int compare(uint32_t a, uint32_t b) {
    return (a > b) - (a < b);
}

static int compare_places(const void *left, const void *right) {
    const struct sorted *a = left, *b = right;
    int by_line = compare(a->problem->line, b->problem->line),
        by_column = compare(a->problem->column, b->problem->column);
    return by_line != 0 ? by_line : by_column != 0 ? by_column : compare(a->found, b->found);
}

pil_status pil_yaml_problems_write(struct pil_yaml_problems *problems, const char *file_name, struct pil_text *lines) {
    struct sorted *order = pil_yaml_problems_alloc(problems, problems->count, sizeof *order);
    if (problems->no_memory) {
        free(order);
        return PIL_STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < problems->count; i++) {
        order[i] = (struct sorted){&problems->items[i], i};
    }
    qsort(order, problems->count, sizeof *order, compare_places);
    for (uint32_t i = 0; i < problems->count; i++) {
        const struct pil_yaml_problem *problem = order[i].problem;
        pil_text_format(lines, "%s:%u:%u: %s\n", file_name, problem->line, problem->column, problem->text);
    }
    free(order);
    return lines->failed ? PIL_STATUS_NO_MEMORY : problems->count > 0 ? PIL_STATUS_INVALID : PIL_STATUS_OK;
}

void pil_yaml_problems_deinit(struct pil_yaml_problems *problems) {
    for (uint32_t i = 0; i < problems->count; i++) {
        free(problems->items[i].text);
    }
    free(problems->items);
    *problems = (struct pil_yaml_problems){0};
}

const char *pil_yaml_quote(const char *text, char buffer[PIL_YAML_QUOTE_BYTES]) {
    const size_t room = PIL_YAML_QUOTE_BYTES - 4;
    size_t len = strlen(text), kept = len;
    if (len > room) {
        kept = room;
        while (kept > 0 && ((uint8_t)text[kept] & 0xc0) == 0x80) { /* do not cut inside a character */
            kept--;
        }
    }
    for (size_t i = 0; i < kept; i++) {
        uint8_t c = (uint8_t)text[i];
        bool is_c1 = c == 0xc2 && (uint8_t)text[i + 1] >= 0x80 && (uint8_t)text[i + 1] < 0xa0;
        bool is_c1_end = i > 0 && (uint8_t)text[i - 1] == 0xc2 && c >= 0x80 && c < 0xa0;
        buffer[i] = (char)(c < 0x20 || c == 0x7f || is_c1 || is_c1_end ? '?' : c);
    }
    memcpy(buffer + kept, "...", 4);
    if (kept == len) {
        buffer[kept] = '\0';
    }
    return buffer;
}
