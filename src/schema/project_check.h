/* SPDX-License-Identifier: Apache-2.0
 * The rules of the project file, over the tree that yaml.h makes of YAML or JSON. For this module only. Checking goes
 * on after a mistake with the best guess, so that all are found and none causes others; a project with problems is
 * thrown away. Without memory there is nothing to go on with: names are NULL then, lists are empty, and whoever walks
 * over one stops (struct pil_yaml_problems). */
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

/* The whole project; the outcome is good when no problem was added, and there was memory. */
void pil_check_project(struct pil_check *check, const struct pil_yaml_node *root);
/* One feature view into *ret_view, which is zeroed. The entities of the project are there already. */
void pil_check_view(struct pil_check *check, const struct pil_yaml_node *node, struct pil_project_view *ret_view);

/* "feature trips", or "feature" when it has no name: what messages call a node. */
void pil_check_label(const struct pil_yaml_node *node, const char *noun, char ret_label[PIL_CHECK_LABEL_BYTES]);
/* Copy of a name, "" for NULL; a bad one is a problem, but taken. NULL: no memory. */
char *pil_check_name(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key);
/* Copy of a text, NULL for NULL, and without memory. Empty or longer than bytes_max is a problem. */
char *pil_check_text(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key,
                     size_t bytes_max);
/* The text of an element of a list, NULL (and a problem) when it is none. */
const char *pil_check_element(struct pil_check *check, const struct pil_yaml_node *node, const char *label,
                              const char *key);
/* Whether the name was not in the set yet; puts it in. "" is never in it, nor is NULL. */
bool pil_check_is_new(struct pil_check *check, json_t **set, const char *name);
/* What the elements of a list become: zeroed memory for so many of `bytes` each, count_max at most; more are a problem.
 * *ret_count is 0 for a list that is NULL, and without memory. Owns: the caller (free). */
struct pil_check_room {
    const char *what;
    uint32_t count_max;
    size_t bytes;
};
void *pil_check_list(struct pil_check *check, const struct pil_yaml_node *list, const struct pil_check_room *room,
                     uint32_t *ret_count);
/* "; did you mean NAME?" or "" */
enum { PIL_CHECK_HINT_BYTES = 64 + PIL_YAML_QUOTE_BYTES };
const char *pil_check_hint(struct pil_check *check, const char *word, const char *const *names, uint32_t count,
                           char buffer[PIL_CHECK_HINT_BYTES]);
