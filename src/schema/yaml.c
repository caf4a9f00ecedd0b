/* SPDX-License-Identifier: Apache-2.0
 * The tree: built from YAML events or JSON, converted to JSON. Problems are in yaml_problem.c, checks of mappings in
 * yaml_check.c. */
#include "schema/yaml.h"
#include "schema/internal.h"
#include "schema/json_text.h"

#include <errno.h>
#include <math.h>
#include <yaml.h>

enum { DEPTH_MAX = 32 };

/* ---- From YAML */

struct builder {
    yaml_parser_t parser;
    struct pil_bytes text;
    struct pil_yaml_problems *problems;
};

static struct pil_yaml_node node_at(yaml_mark_t mark) {
    return (struct pil_yaml_node){.kind = PIL_YAML_SCALAR,
                                  .is_plain = true,
                                  .line = (uint32_t)mark.line + 1,
                                  .column = (uint32_t)mark.column + 1};
}

/* Adds libyaml's error. Errors of its reader (bytes that are not UTF-8) have a byte offset instead of a mark. */
static void add_syntax_problem(struct builder *builder) {
    const yaml_parser_t *parser = &builder->parser;
    const char *what = parser->problem != NULL ? parser->problem : "not YAML";
    if (parser->error == YAML_MEMORY_ERROR) {
        builder->problems->no_memory = true;
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        yaml_mark_t mark = {0};
        for (size_t i = 0; i < parser->problem_offset && i < builder->text.len; i++) {
            bool is_break = builder->text.data[i] == '\n';
            mark.line += is_break;
            mark.column = is_break ? 0 : mark.column + 1;
        }
        struct pil_yaml_node at = node_at(mark);
        pil_yaml_problem_add(builder->problems, &at, "%s; save the file as UTF-8 without control characters", what);
        return;
    }
    struct pil_yaml_node at = node_at(parser->problem_mark);
    pil_yaml_problem_add(builder->problems, &at, "%s%s%s; look at quotes, brackets, colons and indentation here",
                         parser->context != NULL ? parser->context : "", parser->context != NULL ? ", " : "", what);
}

/* Appends a child; may move the earlier children. NULL when memory is short. */
static struct pil_yaml_node *append(struct pil_yaml_problems *problems, struct pil_yaml_node *parent) {
    uint32_t count = parent->child_count;
    if ((count & (count - 1)) == 0) { /* the capacity is the power of two that has been reached */
        struct pil_yaml_node *grown =
            realloc(parent->children, (count > 0 ? 2 * (size_t)count : 1) * sizeof *parent->children);
        if (grown == NULL) {
            problems->no_memory = true;
            return NULL;
        }
        parent->children = grown;
    }
    parent->children[count] = (struct pil_yaml_node){.kind = PIL_YAML_SCALAR, .is_plain = true};
    parent->child_count++;
    return &parent->children[count];
}

/* Copies the text of a scalar. A NUL is a problem, and the copy ends there. */
static char *scalar_text(struct pil_yaml_problems *problems, const struct pil_yaml_node *at, const char *value,
                         size_t len) {
    if (memchr(value, '\0', len) != NULL) {
        pil_yaml_problem_add(problems, at, "text with a NUL character; remove it");
    }
    return pil_yaml_problems_copy(problems, value); /* NUL-terminated by libyaml and jansson */
}

static bool build(struct builder *builder, yaml_event_t *event, int depth, struct pil_yaml_node *ret_node);

static bool build_children(struct builder *builder, yaml_event_type_t end, int depth, struct pil_yaml_node *node) {
    if (depth >= DEPTH_MAX) {
        pil_yaml_problem_add(builder->problems, node, "nested more than %d deep; nothing here is", DEPTH_MAX);
        return false;
    }
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&builder->parser, &event)) {
            add_syntax_problem(builder);
            return false;
        }
        if (event.type == end) {
            yaml_event_delete(&event);
            return true;
        }
        struct pil_yaml_node *child = append(builder->problems, node);
        if (child == NULL) {
            yaml_event_delete(&event);
            return false;
        }
        if (!build(builder, &event, depth + 1, child)) {
            return false;
        }
    }
}

/* Builds a node from the event and, for a list or mapping, from the events of its children. Deletes the event. */
static bool build(struct builder *builder, yaml_event_t *event, int depth, struct pil_yaml_node *ret_node) {
    *ret_node = node_at(event->start_mark);
    const yaml_char_t *tag = NULL;
    bool good = true;
    /* Not a switch, because only events that begin a node get here. */
    if (event->type == YAML_SCALAR_EVENT) {
        tag = event->data.scalar.tag;
        ret_node->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        ret_node->text =
            scalar_text(builder->problems, ret_node, (const char *)event->data.scalar.value, event->data.scalar.length);
    } else if (event->type == YAML_ALIAS_EVENT) {
        pil_yaml_problem_add(builder->problems, ret_node, "alias *%s; aliases are not supported, write the value out",
                             PIL_YAML_QUOTE((const char *)event->data.alias.anchor));
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        tag = event->data.sequence_start.tag;
        ret_node->kind = PIL_YAML_SEQUENCE;
        good = build_children(builder, YAML_SEQUENCE_END_EVENT, depth, ret_node);
    } else {
        PIL_ASSERT(event->type == YAML_MAPPING_START_EVENT);
        tag = event->data.mapping_start.tag;
        ret_node->kind = PIL_YAML_MAPPING;
        good = build_children(builder, YAML_MAPPING_END_EVENT, depth, ret_node);
    }
    if (tag != NULL) {
        pil_yaml_problem_add(builder->problems, ret_node, "tag %s; tags are not supported, remove it",
                             PIL_YAML_QUOTE((const char *)tag));
    }
    yaml_event_delete(event);
    return good;
}

/* Builds the tree of the stream, which must have one document. */
static bool build_stream(struct builder *builder, struct pil_yaml_node *ret_root) {
    bool has_root = false;
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&builder->parser, &event)) {
            add_syntax_problem(builder);
            return false;
        }
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && has_root) {
            struct pil_yaml_node at = node_at(event.start_mark);
            pil_yaml_problem_add(builder->problems, &at, "a second document; put one in each file");
            yaml_event_delete(&event);
            return true;
        }
        if (type == YAML_STREAM_START_EVENT || type == YAML_STREAM_END_EVENT || type == YAML_DOCUMENT_START_EVENT ||
            type == YAML_DOCUMENT_END_EVENT) {
            yaml_event_delete(&event);
            if (type == YAML_STREAM_END_EVENT) {
                return true;
            }
            continue;
        }
        has_root = true;
        if (!build(builder, &event, 0, ret_root)) {
            return false;
        }
    }
}

pil_status pil_yaml_parse(struct pil_bytes text, struct pil_yaml_node *ret_root, struct pil_yaml_problems *problems) {
    struct builder builder = {.text = text, .problems = problems};
    struct pil_yaml_node root = node_at((yaml_mark_t){0}); /* an empty file reads as null */
    if (!yaml_parser_initialize(&builder.parser)) {
        return PIL_STATUS_NO_MEMORY;
    }
    yaml_parser_set_input_string(&builder.parser, text.len > 0 ? text.data : (const uint8_t *)"", text.len);
    bool good = build_stream(&builder, &root);
    yaml_parser_delete(&builder.parser);
    if (!good || problems->no_memory) {
        pil_yaml_node_deinit(&root);
        return problems->no_memory ? PIL_STATUS_NO_MEMORY : PIL_STATUS_INVALID;
    }
    *ret_root = root;
    return PIL_STATUS_OK;
}

void pil_yaml_node_deinit(struct pil_yaml_node *node) {
    for (uint32_t i = 0; i < node->child_count; i++) {
        pil_yaml_node_deinit(&node->children[i]);
    }
    free(node->children);
    free(node->text);
    *node = (struct pil_yaml_node){.kind = PIL_YAML_SCALAR, .is_plain = true};
}

/* ---- From JSON */

static char *number_text(struct pil_yaml_problems *problems, const json_t *json) {
    char text[32];
    if (json_is_integer(json)) {
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(json));
        return pil_yaml_problems_copy(problems, text);
    }
    snprintf(text, sizeof text, "%.17g", json_real_value(json)); /* 17 digits are exact */
    if (strpbrk(text, ".e") == NULL) {
        snprintf(text, sizeof text, "%.1f", json_real_value(json)); /* a point, so that it stays a real */
    }
    return pil_yaml_problems_copy(problems, text);
}

/* Converts JSON into *ret_node. ret_node NULL: append was short of memory. */
static bool convert(const json_t *json, int depth, struct pil_yaml_node *ret_node, struct pil_yaml_problems *problems) {
    if (ret_node == NULL) {
        return false;
    }
    *ret_node = (struct pil_yaml_node){.kind = PIL_YAML_SCALAR, .is_plain = true};
    if (depth > DEPTH_MAX) {
        pil_yaml_problem_add(problems, ret_node, "nested more than %d deep; nothing here is", DEPTH_MAX);
        return false;
    }
    if (json_is_object(json)) {
        ret_node->kind = PIL_YAML_MAPPING;
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)json, key, value) {
            struct pil_yaml_node *name = append(problems, ret_node);
            if (name == NULL) {
                return false;
            }
            name->is_plain = false;
            name->text = pil_yaml_problems_copy(problems, key);
            if (!convert(value, depth + 1, append(problems, ret_node), problems)) {
                return false;
            }
        }
    } else if (json_is_array(json)) {
        ret_node->kind = PIL_YAML_SEQUENCE;
        for (size_t i = 0; i < json_array_size(json); i++) {
            if (!convert(json_array_get(json, i), depth + 1, append(problems, ret_node), problems)) {
                return false;
            }
        }
    } else if (json_is_string(json)) {
        ret_node->is_plain = false;
        ret_node->text = scalar_text(problems, ret_node, json_string_value(json), json_string_length(json));
    } else if (json_is_number(json)) {
        ret_node->text = number_text(problems, json);
    } else if (json_is_boolean(json)) {
        ret_node->text = pil_yaml_problems_copy(problems, json_is_true(json) ? "true" : "false");
    }
    return true;
}

pil_status pil_yaml_from_json(const json_t *json, struct pil_yaml_node *ret_root, struct pil_yaml_problems *problems) {
    struct pil_yaml_node root;
    if (!convert(json, 0, &root, problems) || problems->no_memory) {
        pil_yaml_node_deinit(&root);
        return problems->no_memory ? PIL_STATUS_NO_MEMORY : PIL_STATUS_INVALID;
    }
    *ret_root = root;
    return PIL_STATUS_OK;
}

/* ---- To JSON */

bool pil_yaml_is_null(const struct pil_yaml_node *node) {
    return node->kind == PIL_YAML_SCALAR && node->is_plain &&
           (node->text == NULL || node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0 || strcmp(node->text, "Null") == 0 || strcmp(node->text, "NULL") == 0);
}

static bool is_one_of(const char *text, const char *lower, const char *title, const char *upper) {
    return strcmp(text, lower) == 0 || strcmp(text, title) == 0 || strcmp(text, upper) == 0;
}

/* YAML 1.2.2, section 10.3.2: an optional sign and digits, or with a point and an exponent. Returns false if the text
 * is not such a number. */
static bool number_from(const char *text, json_t **ret_number) {
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    size_t whole = strspn(digits, "0123456789");
    const char *at = digits + whole;
    size_t fraction = 0;
    if (*at == '.') {
        fraction = strspn(at + 1, "0123456789");
        at += 1 + fraction;
    }
    if (whole + fraction == 0) {
        return false;
    }
    if (*at == '\0' && at == digits + whole) {
        errno = 0;
        long long value = strtoll(text, NULL, 10);
        if (errno == 0) {
            *ret_number = json_integer(value);
            return true;
        }
    }
    if (*at == 'e' || *at == 'E') {
        at += 1 + (at[1] == '-' || at[1] == '+');
        size_t exponent = strspn(at, "0123456789");
        at += exponent;
        if (exponent == 0) {
            return false;
        }
    }
    double value = strtod(text, NULL);
    if (*at != '\0' || !isfinite(value)) {
        return false;
    }
    *ret_number = json_real(value);
    return true;
}

static json_t *scalar_to_json(const struct pil_yaml_node *node, bool as_text) {
    if (pil_yaml_is_null(node)) {
        return json_null();
    }
    if (node->is_plain && !as_text) {
        if (is_one_of(node->text, "true", "True", "TRUE")) {
            return json_true();
        }
        if (is_one_of(node->text, "false", "False", "FALSE")) {
            return json_false();
        }
        json_t *number;
        if (number_from(node->text, &number)) {
            return number;
        }
    }
    return json_string(node->text);
}

json_t *pil_yaml_to_json(const struct pil_yaml_node *node, bool as_text) {
    json_t *json = node->kind == PIL_YAML_SCALAR     ? scalar_to_json(node, as_text)
                   : node->kind == PIL_YAML_SEQUENCE ? json_array()
                                                     : json_object();
    if (node->kind == PIL_YAML_SEQUENCE) {
        for (uint32_t i = 0; i < node->child_count; i++) {
            pil_json_append(&json, pil_yaml_to_json(&node->children[i], as_text));
        }
    }
    return json;
}
