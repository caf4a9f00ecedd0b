/* SPDX-License-Identifier: Apache-2.0
 * Mappings taken apart by the keys that they may have, and what was probably meant by a word that is none. */
#pragma once

#include "schema/yaml.h"

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

/* The one of `candidates` that `word` was probably meant to be; NULL when none is near. */
const char *pil_yaml_nearest(const char *word, const char *const *candidates, uint32_t count);
