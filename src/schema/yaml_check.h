/* SPDX-License-Identifier: Apache-2.0
 * Checks mappings against the keys that they may have. */
#pragma once

#include "schema/yaml.h"

/* One key that a mapping may have. */
struct pil_yaml_key {
    const char *name;
    unsigned kinds; /* a set of pil_yaml_kind */
    bool is_required;
};
/* Splits a mapping: ret_values[i] is the value of keys[i], or NULL if it is missing, null, or wrong. Adds a problem for
 * each key that is unknown, given twice, missing, or of a wrong kind. `what` names the mapping in messages: "feature
 * trips". */
void pil_yaml_take(struct pil_yaml_problems *problems, const struct pil_yaml_node *node, const char *what,
                   const struct pil_yaml_key *keys, uint32_t key_count, const struct pil_yaml_node **ret_values);
