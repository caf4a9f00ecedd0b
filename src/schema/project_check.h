/* SPDX-License-Identifier: Apache-2.0
 * The rules of the project file, applied to the tree that yaml.h makes of YAML or JSON. Used only in this module. After
 * a mistake checking goes on with the best guess, so that all mistakes are found and none causes others; a project with
 * problems is discarded. When memory is short, names are NULL, lists are empty, and loops over lists stop
 * (struct pil_yaml_problems). */
#pragma once

#include "schema/internal.h"
#include "schema/project.h"
#include "schema/yaml_check.h"

enum {
    PIL_CHECK_LABEL_BYTES = 128,
    PIL_CHECK_TEXT_BYTES_MAX = 4096, /* descriptions, owners, paths, columns, tags */
    PIL_CHECK_SQL_BYTES_MAX = 65536, /* query, setup */
};

struct pil_check {
    struct pil_yaml_problems *problems;
    struct pil_project *project;
};

/* Checks the whole project. The project is valid if no problem was added and problems->no_memory is not set. */
void pil_check_project(struct pil_check *check, const struct pil_yaml_node *root);
/* Checks one feature view into *ret_view, which must be zeroed. The project's entities must have been checked before.
 */
void pil_check_view(struct pil_check *check, const struct pil_yaml_node *node, struct pil_project_view *ret_view);

/* The keys of a source that only csv sources have, in this order after those that all have. */
enum {
    PIL_CSV_HEADER,
    PIL_CSV_COLUMN_NAMES,
    PIL_CSV_NULL_VALUES,
    PIL_CSV_DELIMITER, /* this and the following ones are one character */
    PIL_CSV_QUOTE,
    PIL_CSV_ESCAPE,
    PIL_CSV_COMMENT,
    PIL_CSV_DECIMAL,
    PIL_CSV_THOUSANDS,
    PIL_CSV_KEYS,
};
extern const struct pil_yaml_key pil_project_csv_keys[PIL_CSV_KEYS];
/* Checks the values of these keys, NULL where a key is not given; without is_csv all of them are problems. Returns the
 * options that differ from the defaults, by key. NULL when memory is short. Owns: the caller. */
json_t *pil_project_check_csv(struct pil_check *check, bool is_csv, const char *label,
                              const struct pil_yaml_node *const values[PIL_CSV_KEYS]);

/* The name of a node in messages: "feature trips", or "feature" if the node has no name. */
void pil_check_label(const struct pil_yaml_node *node, const char *noun, char ret_label[PIL_CHECK_LABEL_BYTES]);
/* Copies a name; a missing node gives "". An invalid name is added as a problem and copied nevertheless. NULL when
 * memory is short. */
char *pil_check_name(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key);
/* Copies a text; NULL if the node is missing or memory is short. An empty text, or one longer than bytes_max, is a
 * problem. */
char *pil_check_text(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key,
                     size_t bytes_max);
/* Reads true or false into *ret_value, which stays as it is if the node is missing. Returns false, and adds a problem,
 * if the node is neither. */
bool pil_check_bool(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key,
                    bool *ret_value);
/* The text of a list element; NULL, and a problem, if the element is not a text. */
const char *pil_check_element(struct pil_check *check, const struct pil_yaml_node *node, const char *label,
                              const char *key);
/* Adds the name to the set; returns whether it was new. "" and NULL are never added and always new. */
bool pil_check_is_new(struct pil_check *check, json_t **set, const char *name);
/* Allocates zeroed memory for the elements of a list, `bytes` each; more than count_max elements are a problem.
 * *ret_count is 0 if the list is NULL or memory is short. Owns: the caller (free). */
struct pil_check_room {
    const char *what;
    uint32_t count_max;
    size_t bytes;
};
void *pil_check_list(struct pil_check *check, const struct pil_yaml_node *list, const struct pil_check_room *room,
                     uint32_t *ret_count);
/* Returns `buffer` with ", or did you mean NAME?" or "". */
enum { PIL_CHECK_HINT_BYTES = 64 + PIL_YAML_QUOTE_BYTES };
const char *pil_check_hint(struct pil_check *check, const char *word, const char *const *names, uint32_t count,
                           char buffer[PIL_CHECK_HINT_BYTES]);
