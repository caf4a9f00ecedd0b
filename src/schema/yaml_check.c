/* SPDX-License-Identifier: Apache-2.0
 * Problems with their places, mappings taken apart, "did you mean". */
#include "schema/yaml.h"
#include "schema/internal.h"

#include <stdarg.h>

enum { SUGGEST_PROBLEMS_MAX = 100, NEAREST_BYTES_MAX = 64 };

/* ---- Problems */

void pil_yaml_problem_add(struct pil_yaml_problems *problems, const struct pil_yaml_node *at, const char *format, ...) {
    char text[PIL_ERROR_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (problems->count == problems->capacity) {
        problems->capacity = problems->capacity > 0 ? 2 * problems->capacity : 16;
        problems->items = realloc(problems->items, problems->capacity * sizeof *problems->items);
        PIL_ASSERT(problems->items != NULL);
    }
    problems->items[problems->count++] = (struct pil_yaml_problem){at->line, at->column, pil_schema_copy(text)};
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

void pil_yaml_problems_write(struct pil_yaml_problems *problems, const char *file_name, struct pil_text *lines) {
    struct sorted *order = pil_schema_alloc(problems->count, sizeof *order);
    for (uint32_t i = 0; i < problems->count; i++) {
        order[i] = (struct sorted){&problems->items[i], i};
    }
    qsort(order, problems->count, sizeof *order, compare_places);
    for (uint32_t i = 0; i < problems->count; i++) {
        const struct pil_yaml_problem *problem = order[i].problem;
        pil_text_format(lines, "%s:%u:%u: %s\n", file_name, problem->line, problem->column, problem->text);
    }
    free(order);
}

void pil_yaml_problems_deinit(struct pil_yaml_problems *problems) {
    for (uint32_t i = 0; i < problems->count; i++) {
        free(problems->items[i].text);
    }
    free(problems->items);
    *problems = (struct pil_yaml_problems){0};
}

/* ---- Words */

const char *pil_yaml_quote(const char *text, char buffer[PIL_YAML_QUOTE_BYTES]) {
    const size_t room = PIL_YAML_QUOTE_BYTES - 4;
    size_t len = strlen(text), kept = len;
    if (len > room) {
        kept = room;
        while (kept > 0 && ((uint8_t)text[kept] & 0xc0) == 0x80) { /* not inside a character */
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

/* Levenshtein distance; both words at most NEAREST_BYTES_MAX long. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t row[NEAREST_BYTES_MAX + 1];
    for (size_t i = 0; i <= b_len; i++) {
        row[i] = i;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t k = 1; k <= b_len; k++) {
            size_t best = diagonal + (a[i - 1] != b[k - 1]);
            diagonal = row[k];
            best = best < row[k] + 1 ? best : row[k] + 1;
            row[k] = best < row[k - 1] + 1 ? best : row[k - 1] + 1;
        }
    }
    return row[b_len];
}

const char *pil_yaml_nearest(const char *word, const char *const *candidates, uint32_t count) {
    size_t len = strlen(word);
    /* At most a third of the word may be wrong, and 3 characters. */
    size_t best = len / 3 < 3 ? len / 3 + 1 : 4;
    const char *nearest = NULL;
    for (uint32_t i = 0; i < count && len <= NEAREST_BYTES_MAX; i++) {
        size_t other = strlen(candidates[i]);
        size_t apart = other > len ? other - len : len - other;
        if (other > NEAREST_BYTES_MAX || apart >= best) {
            continue;
        }
        size_t found = distance(word, len, candidates[i], other);
        if (found < best) {
            best = found;
            nearest = candidates[i];
        }
    }
    return nearest;
}

/* ---- Mappings */

static const char *kind_text(unsigned kinds) {
    switch (kinds) {
    case PIL_YAML_SCALAR: return "one value";
    case PIL_YAML_SEQUENCE: return "a list, [a, b] or lines with -";
    case PIL_YAML_MAPPING: return "a mapping, {key: value} or lines with key: value";
    default: return "one value or a list";
    }
}

static void add_unknown_key(struct pil_yaml_problems *problems, const struct pil_yaml_node *at, const char *what,
                            const struct pil_yaml_key *keys, uint32_t key_count) {
    const char *names[32];
    struct pil_text known = {0};
    for (uint32_t i = 0; i < key_count; i++) {
        names[i] = keys[i].name;
        pil_text_format(&known, "%s%s", i > 0 ? ", " : "", keys[i].name);
    }
    const char *nearest = problems->count < SUGGEST_PROBLEMS_MAX ? pil_yaml_nearest(at->text, names, key_count) : NULL;
    if (nearest != NULL) {
        pil_yaml_problem_add(problems, at, "%s: unknown key %s; did you mean %s?", what, PIL_YAML_QUOTE(at->text),
                             nearest);
    } else {
        pil_yaml_problem_add(problems, at, "%s: unknown key %s; remove it (known are %s)", what,
                             PIL_YAML_QUOTE(at->text), known.data);
    }
    pil_text_deinit(&known);
}

static uint32_t find_key(const char *name, const struct pil_yaml_key *keys, uint32_t key_count) {
    uint32_t i = 0;
    while (i < key_count && strcmp(keys[i].name, name) != 0) {
        i++;
    }
    return i;
}

void pil_yaml_take(struct pil_yaml_problems *problems, const struct pil_yaml_node *node, const char *what,
                   const struct pil_yaml_key *keys, uint32_t key_count, const struct pil_yaml_node **ret_values) {
    uint32_t seen = 0;
    PIL_ASSERT(key_count < 32);
    for (uint32_t i = 0; i < key_count; i++) {
        ret_values[i] = NULL;
    }
    if (node->kind != PIL_YAML_MAPPING) {
        pil_yaml_problem_add(problems, node, "%s: must be %s", what, kind_text(PIL_YAML_MAPPING));
        return;
    }
    for (uint32_t i = 0; i + 1 < node->child_count; i += 2) {
        const struct pil_yaml_node *key = &node->children[i], *value = &node->children[i + 1];
        if (key->kind != PIL_YAML_SCALAR || key->text == NULL) {
            pil_yaml_problem_add(problems, key, "%s: a key must be one word; look at the brackets here", what);
            continue;
        }
        uint32_t index = find_key(key->text, keys, key_count);
        if (index == key_count) {
            add_unknown_key(problems, key, what, keys, key_count);
            continue;
        }
        if (seen & (1u << index)) {
            pil_yaml_problem_add(problems, key, "%s: key %s stands twice; keep one", what, key->text);
            continue;
        }
        seen |= 1u << index;
        if (pil_yaml_is_null(value)) {
            if (keys[index].is_required) {
                pil_yaml_problem_add(problems, value, "%s: %s is empty; give it %s", what, key->text,
                                     kind_text(keys[index].kinds));
            }
        } else if ((value->kind & keys[index].kinds) == 0) {
            pil_yaml_problem_add(problems, value, "%s: %s has the wrong form; it must be %s", what, key->text,
                                 kind_text(keys[index].kinds));
        } else {
            ret_values[index] = value;
        }
    }
    for (uint32_t i = 0; i < key_count; i++) {
        if (keys[i].is_required && !(seen & (1u << i))) {
            pil_yaml_problem_add(problems, node, "%s: %s is missing; add it", what, keys[i].name);
        }
    }
}
