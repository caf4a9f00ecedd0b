/* SPDX-License-Identifier: Apache-2.0
 * A small tree made from YAML or JSON, with the place of each node, and the list of all problems of the text. Both
 * forms of a project become such a tree, so that one set of rules checks both; so does the configuration of pilliond.
 * The tree knows nothing about either. Aliases and tags are refused: people read such files, and aliases make small
 * files huge. */
#pragma once

#include "base/status.h"
#include "base/text.h"

#include <jansson.h>

typedef enum pil_yaml_kind { PIL_YAML_SCALAR = 1, PIL_YAML_SEQUENCE = 2, PIL_YAML_MAPPING = 4 } pil_yaml_kind;

struct pil_yaml_node {
    pil_yaml_kind kind;
    bool is_plain; /* a scalar without quotes, which may mean null, true, false or a number */
    uint32_t line; /* 1-based, as is the column (in characters); 0 in a tree made from JSON */
    uint32_t column;
    char *text;                     /* scalars: UTF-8 without a NUL inside; else NULL */
    struct pil_yaml_node *children; /* the elements of a list; or key, value, key, value… of a mapping */
    uint32_t child_count;
};

/* Problems, in the order in which they were found; zero-initialised is empty. The code that finds problems need not
 * check for memory: a text that could not be copied is NULL, a problem that could not be stored is lost, and
 * `no_memory` stays set. */
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
/* Appends "file:line:column: what; what to do\n" for each problem, in file order. OK: there are none. INVALID: there
 * are some. NO_MEMORY: memory was short, now or when problems were found; *lines may hold some of them. */
pil_status pil_yaml_problems_write(struct pil_yaml_problems *problems, const char *file_name,
                                   struct pil_text *lines) PIL_CHECKED;
/* A copy of a text, which may be NULL; zeroed memory. When memory is short, both return NULL and set no_memory. Owns:
 * the caller (free). */
char *pil_yaml_problems_copy(struct pil_yaml_problems *problems, const char *text);
void *pil_yaml_problems_alloc(struct pil_yaml_problems *problems, size_t count, size_t bytes);
void pil_yaml_problems_deinit(struct pil_yaml_problems *problems);

/* Reads one document. INVALID: the text is not YAML; a problem says where. NO_MEMORY. After OK there is a tree, even if
 * problems were added (an alias reads as null). */
pil_status pil_yaml_parse(struct pil_bytes text, struct pil_yaml_node *ret_root,
                          struct pil_yaml_problems *problems) PIL_CHECKED;
/* The same from JSON. */
pil_status pil_yaml_from_json(const json_t *json, struct pil_yaml_node *ret_root,
                              struct pil_yaml_problems *problems) PIL_CHECKED;
void pil_yaml_node_deinit(struct pil_yaml_node *node);

/* Whether the node is a plain null: an empty value, ~ or null. */
bool pil_yaml_is_null(const struct pil_yaml_node *node);
/* The JSON value of a node: plain scalars by the core schema of YAML 1.2 (null, true, false, decimal numbers), all
 * others as text; as_text: every scalar that is not null becomes text. A mapping becomes an empty object. NULL when
 * memory is short. Owns: caller. */
json_t *pil_yaml_to_json(const struct pil_yaml_node *node, bool as_text);

/* Prepares foreign text for a message: truncates it to 68 bytes and replaces control characters by '?'. Returns
 * `buffer`. */
enum { PIL_YAML_QUOTE_BYTES = 72 };
const char *pil_yaml_quote(const char *text, char buffer[PIL_YAML_QUOTE_BYTES]);
#define PIL_YAML_QUOTE(text) pil_yaml_quote(text, (char[PIL_YAML_QUOTE_BYTES]){0})
