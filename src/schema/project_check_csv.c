/* SPDX-License-Identifier: Apache-2.0
 * Checks the options of csv sources: how values, quotes, comments and nulls are spelled in the files. */
#include "schema/json_text.h"
#include "schema/project_check.h"

enum { CSV_NULL_VALUES_MAX = 64, CSV_COLUMNS_MAX = 1 << 16 };

const struct pil_yaml_key pil_project_csv_keys[PIL_CSV_KEYS] = {
    [PIL_CSV_HEADER] = {"header", PIL_YAML_SCALAR, false},
    [PIL_CSV_COLUMN_NAMES] = {"column_names", PIL_YAML_SEQUENCE, false},
    [PIL_CSV_NULL_VALUES] = {"null_values", PIL_YAML_SEQUENCE, false},
    [PIL_CSV_DELIMITER] = {"delimiter", PIL_YAML_SCALAR, false},
    [PIL_CSV_QUOTE] = {"quote", PIL_YAML_SCALAR, false},
    [PIL_CSV_ESCAPE] = {"escape", PIL_YAML_SCALAR, false},
    [PIL_CSV_COMMENT] = {"comment", PIL_YAML_SCALAR, false},
    [PIL_CSV_DECIMAL] = {"decimal_separator", PIL_YAML_SCALAR, false},
    [PIL_CSV_THOUSANDS] = {"thousands", PIL_YAML_SCALAR, false},
};

struct csv_check {
    struct pil_check *check;
    const char *label;
    const struct pil_yaml_node *const *values; /* [PIL_CSV_KEYS]; NULL where the key is not given */
    json_t *options;
};

static void check_header(struct csv_check *of) {
    const struct pil_yaml_node *header = of->values[PIL_CSV_HEADER], *names = of->values[PIL_CSV_COLUMN_NAMES];
    struct pil_yaml_problems *problems = of->check->problems;
    bool has_header = true;
    if (!pil_check_bool(of->check, header, of->label, "header", &has_header)) {
        return;
    }
    if (!has_header && names == NULL) {
        pil_yaml_problem_add(problems, header, "%s: header: false needs column_names: [a, b]; add it", of->label);
    } else if (has_header && names != NULL) {
        pil_yaml_problem_add(problems, names,
                             "%s: column_names are for files without a header; add header: false, or name columns in "
                             "field_mapping",
                             of->label);
    } else if (!has_header) {
        pil_json_set(&of->options, "header", json_false());
    }
}

/* A list of texts, of which every scalar is one: the null value NULL, too. */
static void check_texts(struct csv_check *of, unsigned option, uint32_t count_max) {
    const struct pil_yaml_node *list = of->values[option];
    const char *key = pil_project_csv_keys[option].name;
    if (list == NULL) {
        return;
    }
    if (list->child_count > count_max) {
        pil_yaml_problem_add(of->check->problems, list, "%s: %u %s; at most %u are possible", of->label,
                             list->child_count, key, count_max);
        return;
    }
    json_t *texts = json_array();
    for (uint32_t i = 0; i < list->child_count; i++) {
        const struct pil_yaml_node *element = &list->children[i];
        if (element->kind != PIL_YAML_SCALAR || element->text == NULL) {
            pil_yaml_problem_add(of->check->problems, element, "%s: each element of %s must be one text; fix this one",
                                 of->label, key);
        } else if (strlen(element->text) > PIL_CHECK_TEXT_BYTES_MAX || strpbrk(element->text, "\r\n") != NULL) {
            pil_yaml_problem_add(of->check->problems, element,
                                 "%s: %s has a text of several lines or more than %d bytes; fix it", of->label, key,
                                 PIL_CHECK_TEXT_BYTES_MAX);
        } else {
            pil_json_append(&texts, json_string(element->text));
        }
    }
    pil_json_set(&of->options, key, texts);
}

/* One ASCII character that is neither a letter nor a digit; "" is for files without quotes. */
static void check_character(struct csv_check *of, unsigned option) {
    const struct pil_yaml_node *node = of->values[option];
    const char *key = pil_project_csv_keys[option].name;
    if (node == NULL) {
        return;
    }
    unsigned char c = (unsigned char)node->text[0];
    bool is_word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    bool is_none = c == '\0' && option == PIL_CSV_QUOTE;
    if (!is_none && (c == '\0' || node->text[1] != '\0' || is_word || c >= 127 || (c < ' ' && c != '\t' && c != 1))) {
        pil_yaml_problem_add(of->check->problems, node,
                             "%s: %s is '%s'; write one character of ASCII that is no letter or digit%s", of->label,
                             key, PIL_YAML_QUOTE(node->text),
                             option == PIL_CSV_DELIMITER ? " (a tab: \"\\t\" in double quotes)" : "");
        return;
    }
    pil_json_set(&of->options, key, json_string(node->text));
}

/* Whether the options give two roles to one character. */
static void check_roles(struct csv_check *of, const unsigned *roles, const char *const *defaults, size_t count) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i + 1; k < count; k++) {
            const struct pil_yaml_node *a = of->values[roles[i]], *b = of->values[roles[k]];
            const char *left = a != NULL ? a->text : defaults[i], *right = b != NULL ? b->text : defaults[k];
            if (left[0] != '\0' && strcmp(left, right) == 0 && (a != NULL || b != NULL)) {
                pil_yaml_problem_add(of->check->problems, b != NULL ? b : a,
                                     "%s: %s and %s are both '%s'; change one of them", of->label,
                                     pil_project_csv_keys[roles[i]].name, pil_project_csv_keys[roles[k]].name,
                                     PIL_YAML_QUOTE(left));
            }
        }
    }
}

json_t *pil_project_check_csv(struct pil_check *check, bool is_csv, const char *label,
                              const struct pil_yaml_node *const values[PIL_CSV_KEYS]) {
    static const unsigned of_lines[] = {PIL_CSV_DELIMITER, PIL_CSV_QUOTE, PIL_CSV_COMMENT};
    static const unsigned of_escapes[] = {PIL_CSV_DELIMITER, PIL_CSV_ESCAPE, PIL_CSV_COMMENT};
    static const unsigned of_numbers[] = {PIL_CSV_DECIMAL, PIL_CSV_THOUSANDS};
    struct csv_check of = {.check = check, .label = label, .values = values, .options = json_object()};
    for (unsigned i = 0; i < PIL_CSV_KEYS && !is_csv; i++) {
        if (values[i] != NULL) {
            pil_yaml_problem_add(check->problems, values[i], "%s: %s needs type csv; change the type or remove %s",
                                 label, pil_project_csv_keys[i].name, pil_project_csv_keys[i].name);
        }
    }
    if (is_csv) {
        check_header(&of);
        check_texts(&of, PIL_CSV_COLUMN_NAMES, CSV_COLUMNS_MAX);
        check_texts(&of, PIL_CSV_NULL_VALUES, CSV_NULL_VALUES_MAX);
        for (unsigned i = PIL_CSV_DELIMITER; i < PIL_CSV_KEYS; i++) {
            check_character(&of, i);
        }
        check_roles(&of, of_lines, (const char *const[]){"", "\"", ""}, 3);
        check_roles(&of, of_escapes, (const char *const[]){"", "", ""}, 3);
        check_roles(&of, of_numbers, (const char *const[]){".", ""}, 2);
    }
    check->problems->no_memory |= of.options == NULL;
    return of.options;
}
