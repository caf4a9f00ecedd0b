/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/yaml_check.h"
#include "schema/internal.h"

enum { SUGGEST_PROBLEMS_MAX = 100, NEAREST_BYTES_MAX = 64 };

/* ---- Words */

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* How many bytes are missing, too much or wrong, or neighbours that are swapped (optimal string alignment). Both words
 * have at most NEAREST_BYTES_MAX bytes. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t rows[3][NEAREST_BYTES_MAX + 1];
    for (size_t k = 0; k <= b_len; k++) {
        rows[0][k] = k;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t k = 1; k <= b_len; k++) {
            row[k] = smaller(before[k - 1] + (a[i - 1] != b[k - 1]), smaller(before[k], row[k - 1]) + 1);
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1]) {
                row[k] = smaller(row[k], earlier[k - 2] + 1);
            }
        }
    }
    return rows[a_len % 3][b_len];
}

const char *pil_yaml_nearest(const char *word, const char *const *candidates, uint32_t count) {
    size_t len = strlen(word);
    /* At most a third of the word's bytes, and at most 3, may be wrong. */
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
    PIL_ASSERT(key_count <= sizeof names / sizeof names[0]);
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
                             PIL_YAML_QUOTE(at->text), pil_text_chars(&known));
    }
    problems->no_memory = problems->no_memory || known.failed;
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
