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

/* Problems, in the order found. Zero-initialised is empty. Who finds them never checks for memory: what could not be
 * copied is NULL, a problem that could not be kept is lost, and `no_memory` says so, until the end. */
struct pil_yaml_problem {
    uint32_t line, column;
    char *text; /* "what; what to do" */
};
struct pil_yaml_problems {
    struct pil_yaml_problem *items;
    uint32_t count, capacity;
    bool no_memory;
};

void pil_yaml_problem_add(struct pil_yaml_problems *problems, const struct pil_yaml_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Appends "file:line:column: what; what to do\n" for each, in file order. OK: there are none; INVALID: there are;
 * NO_MEMORY, now or when they were found: nothing else is known, and *lines may hold some of them. */
pil_status pil_yaml_problems_write(struct pil_yaml_problems *problems, const char *file_name,
                                   struct pil_text *lines) PIL_CHECKED;
/* Copy of a text, NULL for NULL; zeroed memory. Owns: the caller (free). NULL: no memory, which is remembered. */
char *pil_yaml_problems_copy(struct pil_yaml_problems *problems, const char *text);
void *pil_yaml_problems_alloc(struct pil_yaml_problems *problems, size_t count, size_t bytes);
void pil_yaml_problems_deinit(struct pil_yaml_problems *problems);

/* Reads one document. INVALID when the text is no YAML (a problem says where), NO_MEMORY: then there is no tree.
 * Otherwise there is one, also when problems were added (an alias reads as null). */
pil_status pil_yaml_parse(struct pil_bytes text, struct pil_yaml_node *ret_root,
                          struct pil_yaml_problems *problems) PIL_CHECKED;
/* The same from JSON. */
pil_status pil_yaml_from_json(const json_t *json, struct pil_yaml_node *ret_root,
                              struct pil_yaml_problems *problems) PIL_CHECKED;
void pil_yaml_node_deinit(struct pil_yaml_node *node);

/* Whether it is a plain null: nothing, ~ or null. */
bool pil_yaml_is_null(const struct pil_yaml_node *node);
/* The JSON value that a node stands for: plain scalars by the core schema of YAML 1.2 (null, true, false, decimal
 * numbers), all others are text; as_text: every scalar that is not null is text. NULL: no memory. Owns: caller. */
json_t *pil_yaml_to_json(const struct pil_yaml_node *node, bool as_text);

/* Text from outside for a message: cut at about 60 bytes, control characters as '?'. Returns `buffer`. */
enum { PIL_YAML_QUOTE_BYTES = 72 };
const char *pil_yaml_quote(const char *text, char buffer[PIL_YAML_QUOTE_BYTES]);
#define PIL_YAML_QUOTE(text) pil_yaml_quote(text, (char[PIL_YAML_QUOTE_BYTES]){0})
