/* SPDX-License-Identifier: Apache-2.0
 * Helpers that all checks of a project use. */
#include "schema/json_text.h"
#include "base/nearest.h"
#include "schema/name.h"
#include "schema/project_check.h"

enum { HINT_PROBLEMS_MAX = 100 }; /* after this many problems similar names are no longer searched */

void pil_check_label(const struct pil_yaml_node *node, const char *noun, char ret_label[PIL_CHECK_LABEL_BYTES]) {
    snprintf(ret_label, PIL_CHECK_LABEL_BYTES, "%s", noun);
    for (uint32_t i = 0; node->kind == PIL_YAML_MAPPING && i + 1 < node->child_count; i += 2) {
        const struct pil_yaml_node *key = &node->children[i], *value = &node->children[i + 1];
        if (key->text != NULL && strcmp(key->text, "name") == 0 && value->text != NULL && value->text[0] != '\0') {
            snprintf(ret_label, PIL_CHECK_LABEL_BYTES, "%s %s", noun, PIL_YAML_QUOTE(value->text));
            return;
        }
    }
}

char *pil_check_name(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key) {
    if (node == NULL) {
        return pil_yaml_problems_copy(check->problems, "");
    }
    if (!pil_name_is_valid(pil_bytes_from_text(node->text))) {
        pil_yaml_problem_add(check->problems, node,
                             "%s: %s '%s' is not a valid name; begin with a letter or _, go on with letters, digits, _ "
                             "and -, at most %d in all",
                             label, key, PIL_YAML_QUOTE(node->text), PIL_NAME_BYTES_MAX);
    }
    return pil_yaml_problems_copy(check->problems, node->text);
}

char *pil_check_text(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key,
                     size_t bytes_max) {
    if (node == NULL) {
        return NULL;
    }
    if (node->text[0] == '\0') {
        pil_yaml_problem_add(check->problems, node, "%s: %s is empty; give it a text or remove it", label, key);
    } else if (strlen(node->text) > bytes_max) {
        pil_yaml_problem_add(check->problems, node, "%s: %s has %zu bytes; at most %zu are possible", label, key,
                             strlen(node->text), bytes_max);
    }
    return pil_yaml_problems_copy(check->problems, node->text);
}

bool pil_check_bool(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key,
                    bool *ret_value) {
    if (node == NULL) {
        return true;
    }
    bool is_true = strcmp(node->text, "true") == 0;
    if (!is_true && strcmp(node->text, "false") != 0) {
        pil_yaml_problem_add(check->problems, node, "%s: %s is '%s'; write true or false", label, key,
                             PIL_YAML_QUOTE(node->text));
        return false;
    }
    *ret_value = is_true;
    return true;
}

const char *pil_check_element(struct pil_check *check, const struct pil_yaml_node *node, const char *label,
                              const char *key) {
    if (node->kind == PIL_YAML_SCALAR && !pil_yaml_is_null(node) && node->text[0] != '\0') {
        return node->text;
    }
    pil_yaml_problem_add(check->problems, node, "%s: each element of %s must be one text; fix this one", label, key);
    return NULL;
}

bool pil_check_is_new(struct pil_check *check, json_t **set, const char *name) {
    if (name == NULL || name[0] == '\0') {
        return true;
    }
    if (json_object_get(*set, name) != NULL) {
        return false;
    }
    pil_json_set(set, name, json_true());
    check->problems->no_memory |= *set == NULL;
    return true;
}

static uint32_t count_of(struct pil_check *check, const struct pil_yaml_node *list, const char *what,
                         uint32_t count_max) {
    if (list == NULL) {
        return 0;
    }
    if (list->child_count > count_max) {
        pil_yaml_problem_add(check->problems, list, "%u %s; at most %u are possible", list->child_count, what,
                             count_max);
        return count_max;
    }
    return list->child_count;
}

void *pil_check_list(struct pil_check *check, const struct pil_yaml_node *list, const struct pil_check_room *room,
                     uint32_t *ret_count) {
    PIL_ASSERT(room->bytes > 0 && room->count_max > 0);
    uint32_t count = count_of(check, list, room->what, room->count_max);
    void *elements = pil_yaml_problems_alloc(check->problems, count, room->bytes);
    *ret_count = check->problems->no_memory ? 0 : count;
    return elements;
}

const char *pil_check_hint(struct pil_check *check, const char *word, const char *const *names, uint32_t count,
                           char buffer[PIL_CHECK_HINT_BYTES]) {
    const char *nearest = check->problems->count < HINT_PROBLEMS_MAX ? pil_nearest(word, names, count) : NULL;
    buffer[0] = '\0';
    if (nearest != NULL) {
        snprintf(buffer, PIL_CHECK_HINT_BYTES, ", or did you mean %s?", PIL_YAML_QUOTE(nearest));
    }
    return buffer;
}
