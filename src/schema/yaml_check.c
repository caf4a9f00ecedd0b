/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/yaml_check.h"
#include "base/nearest.h"
#include "schema/internal.h"

enum { SUGGEST_PROBLEMS_MAX = 100 };

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
    const char *nearest = problems->count < SUGGEST_PROBLEMS_MAX ? pil_nearest(at->text, names, key_count) : NULL;
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
