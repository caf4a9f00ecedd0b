/* SPDX-License-Identifier: Apache-2.0
 * A small tree over YAML text or over JSON, with the place of each node, and the list of everything that is wrong with
 * it. Both forms of a project go through one such tree, so that one set of rules checks both, and so does the
 * configuration of pilliond; it knows nothing about either. Aliases and tags are refused: such files are read by
 * people, and aliases make small files huge. */
#pragma once

#include "base/status.h"
#include "base/text.h"

#include <jansson.h>

typedef enum pil_yaml_kind { PIL_YAML_SCALAR = 1, PIL_YAML_SEQUENCE = 2, PIL_YAML_MAPPING = 4 } pil_yaml_kind;

struct pil_yaml_node {
    pil_yaml_kind kind;
    bool is_plain; /* scalar without quotes: may stand for null, true, false or a number */
    uint32_t line; /* 1-based, as is the column (in characters); 0 in a tree made from JSON */
    uint32_t column;
    char *text;                     /* scalars: UTF-8 without a NUL inside; else NULL */
    struct pil_yaml_node *children; /* elements; or key, value, key, value… */
    uint32_t child_count;
};

/* Problems, in the order found. Zero-initialised is empty. */
struct pil_yaml_problem {
    uint32_t line, column;
    char *text; /* "what; what to do" */
};
struct pil_yaml_problems {
    struct pil_yaml_problem *items;
    uint32_t count, capacity;
};

void pil_yaml_problem_add(struct pil_yaml_problems *problems, const struct pil_yaml_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "file:line:column: what; what to do\n" for each, in file order. */
void pil_yaml_problems_write(struct pil_yaml_problems *problems, const char *file_name, struct pil_text *lines);
void pil_yaml_problems_deinit(struct pil_yaml_problems *problems);

/* Reads one document. INVALID when the text is no YAML (a problem says where): then there is no tree. Otherwise there
 * is one, also when problems were added (an alias reads as null). */
pil_status pil_yaml_parse(struct pil_bytes text, struct pil_yaml_node *ret_root,
                          struct pil_yaml_problems *problems) PIL_CHECKED;
/* The same from JSON. */
pil_status pil_yaml_from_json(const json_t *json, struct pil_yaml_node *ret_root,
                              struct pil_yaml_problems *problems) PIL_CHECKED;
void pil_yaml_node_deinit(struct pil_yaml_node *node);

/* Whether it is a plain null: nothing, ~ or null. */
bool pil_yaml_is_null(const struct pil_yaml_node *node);
/* The JSON value that a node stands for: plain scalars by the core schema of YAML 1.2 (null, true, false, decimal
 * numbers), all others are text; as_text: every scalar that is not null is text. Owns: caller. */
json_t *pil_yaml_to_json(const struct pil_yaml_node *node, bool as_text);

/* One key that a mapping may have. */
struct pil_yaml_key {
    const char *name;
    unsigned kinds; /* of pil_yaml_kind, or'ed */
    bool is_required;
};
/* Takes a mapping apart: ret_values[i] is the value of keys[i], or NULL when it is not there, null, or wrong. Adds a
 * problem for each key that is unknown, double, missing, or of a wrong kind. `what` names the mapping: "feature trips".
 */
void pil_yaml_take(struct pil_yaml_problems *problems, const struct pil_yaml_node *node, const char *what,
                   const struct pil_yaml_key *keys, uint32_t key_count, const struct pil_yaml_node **ret_values);

/* Text from outside for a message: cut at about 60 bytes, control characters as '?'. Returns `buffer`. */
enum { PIL_YAML_QUOTE_BYTES = 72 };
const char *pil_yaml_quote(const char *text, char buffer[PIL_YAML_QUOTE_BYTES]);
#define PIL_YAML_QUOTE(text) pil_yaml_quote(text, (char[PIL_YAML_QUOTE_BYTES]){0})

/* The one of `candidates` that `word` was probably meant to be; NULL when none is near. */
const char *pil_yaml_nearest(const char *word, const char *const *candidates, uint32_t count);
