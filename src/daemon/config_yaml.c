/* SPDX-License-Identifier: Apache-2.0
 * The YAML file of pilliond. Every mistake becomes a line with its place; nothing is applied twice. */
#include "daemon/config_internal.h"
#include "release/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

struct reader {
    struct pil_config *config;
    const char *path;
    struct pil_text *problems;
    yaml_document_t document;
};

static void problem(struct reader *reader, const yaml_node_t *node, const char *text) {
    pil_text_format(reader->problems, "%s:%zu:%zu: %s\n", reader->path, node->start_mark.line + 1,
                    node->start_mark.column + 1, text);
}

static void problem_error(struct reader *reader, const yaml_node_t *node, const struct pil_error *error) {
    problem(reader, node, error->text);
}

static yaml_node_t *node_at(struct reader *reader, int index) {
    return yaml_document_get_node(&reader->document, index);
}

/* The text of a scalar, or NULL with a problem told. */
static const char *scalar(struct reader *reader, yaml_node_t *node, const char *what) {
    if (node->type != YAML_SCALAR_NODE || strlen((const char *)node->data.scalar.value) != node->data.scalar.length) {
        struct pil_error error;
        pil_ignore(pil_fail(&error, PIL_STATUS_INVALID, "%s must be a single value", what), "told below");
        problem_error(reader, node, &error);
        return NULL;
    }
    return (const char *)node->data.scalar.value;
}

static void read_option(struct reader *reader, yaml_node_t *key, yaml_node_t *value, const char *prefix) {
    char name[128];
    const char *text = scalar(reader, key, "a key");
    if (text == NULL) {
        return;
    }
    snprintf(name, sizeof name, "%s%s", prefix, text);
    const struct pil_config_option *option = pil_config_option_find(name, strlen(name));
    struct pil_error error;
    if (option == NULL) {
        pil_ignore(pil_fail(&error, PIL_STATUS_INVALID, "unknown key '%s'; see pilliond --describe config", name),
                   "told below");
        problem_error(reader, key, &error);
        return;
    }
    const char *setting = scalar(reader, value, name);
    if (setting != NULL && pil_config_option_set(reader->config, option, setting, &error) != PIL_STATUS_OK) {
        problem_error(reader, value, &error);
    }
}

/* Takes a member that is not a single value out of a mapping; NULL when it is not there. */
static yaml_node_t *take_member(struct reader *reader, yaml_node_t *map, const char *name) {
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = node_at(reader, pair->key);
        if (key->type == YAML_SCALAR_NODE && strcmp((const char *)key->data.scalar.value, name) == 0) {
            yaml_node_t *value = node_at(reader, pair->value);
            *pair = *--map->data.mapping.pairs.top;
            return value;
        }
    }
    return NULL;
}

/* Fills fields[i] with the text of the member named keys[i]; other members are problems. */
static void read_fields(struct reader *reader, yaml_node_t *map, const char *const *keys, const char **fields,
                        yaml_node_t **nodes) {
    for (size_t i = 0; keys[i] != NULL; i++) {
        fields[i] = NULL;
        nodes[i] = map;
    }
    if (map->type != YAML_MAPPING_NODE) {
        problem(reader, map, "this must be a mapping, as in {key: value}");
        return;
    }
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++) {
        const char *name = scalar(reader, node_at(reader, pair->key), "a key");
        size_t i = 0;
        while (name != NULL && keys[i] != NULL && strcmp(keys[i], name) != 0) {
            i++;
        }
        if (name != NULL && keys[i] == NULL) {
            struct pil_error error;
            pil_ignore(
                pil_fail(&error, PIL_STATUS_INVALID, "unknown key '%s' here; see pilliond --describe config", name),
                "told below");
            problem_error(reader, node_at(reader, pair->key), &error);
        } else if (name != NULL) {
            nodes[i] = node_at(reader, pair->value);
            fields[i] = scalar(reader, nodes[i], name);
        }
    }
}

/* The values of a list, at most `max`. */
static uint32_t read_values(struct reader *reader, yaml_node_t *node, const char *what, uint32_t max,
                            const char **ret_values, yaml_node_t **ret_nodes) {
    uint32_t count = 0;
    if (node->type != YAML_SEQUENCE_NODE) {
        problem(reader, node, "this must be a list, as in [1000, 1001]");
        return 0;
    }
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        yaml_node_t *value = node_at(reader, *item);
        const char *text = scalar(reader, value, what);
        if (text != NULL && count == max) {
            problem(reader, value, "this list is too long");
            return count;
        }
        if (text != NULL) {
            ret_nodes[count] = value;
            ret_values[count++] = text;
        }
    }
    return count;
}

static uint32_t read_ids(struct reader *reader, yaml_node_t *node, const char *what,
                         uint32_t ids[PIL_SETTINGS_MAP_IDS_MAX]) {
    const char *texts[PIL_SETTINGS_MAP_IDS_MAX];
    yaml_node_t *nodes[PIL_SETTINGS_MAP_IDS_MAX];
    uint32_t count = read_values(reader, node, what, PIL_SETTINGS_MAP_IDS_MAX, texts, nodes);
    for (uint32_t i = 0; i < count; i++) {
        char *end = NULL;
        unsigned long id = strtoul(texts[i], &end, 10);
        if (texts[i][0] < '0' || texts[i][0] > '9' || *end != '\0' || id >= UINT32_MAX) {
            problem(reader, nodes[i], "this must be a numeric id, as `id -u` and `id -g` print it");
            id = UINT32_MAX; /* nobody's */
        }
        ids[i] = (uint32_t)id;
    }
    return count;
}

static void read_cgroups(struct reader *reader, yaml_node_t *node, struct pil_map_rule *rule) {
    const char *texts[PIL_SETTINGS_MAP_CGROUPS_MAX];
    yaml_node_t *nodes[PIL_SETTINGS_MAP_CGROUPS_MAX];
    uint32_t count = read_values(reader, node, "a cgroup", PIL_SETTINGS_MAP_CGROUPS_MAX, texts, nodes);
    for (uint32_t i = 0; i < count; i++) {
        if (texts[i][0] != '/' || strlen(texts[i]) >= sizeof rule->cgroups[0]) {
            problem(reader, nodes[i], "a cgroup is a path or glob that starts with /, of at most 127 bytes");
        } else {
            memcpy(rule->cgroups[rule->cgroup_count++], texts[i], strlen(texts[i]) + 1);
        }
    }
}

/* map: none, or {uids: […], gids: […], cgroups: […]} */
static void read_map(struct reader *reader, yaml_node_t *node, struct pil_map_rule *rule) {
    rule->is_given = true;
    if (node->type == YAML_SCALAR_NODE && strcmp((const char *)node->data.scalar.value, "none") == 0) {
        return;
    }
    if (node->type != YAML_MAPPING_NODE) {
        problem(reader, node, "map must be none or {uids: [...], gids: [...], cgroups: [...]}");
        return;
    }
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = node_at(reader, pair->key), *value = node_at(reader, pair->value);
        const char *name = scalar(reader, key, "a key");
        if (name != NULL && strcmp(name, "uids") == 0) {
            rule->uid_count = read_ids(reader, value, "a uid", rule->uids);
        } else if (name != NULL && strcmp(name, "gids") == 0) {
            rule->gid_count = read_ids(reader, value, "a gid", rule->gids);
        } else if (name != NULL && strcmp(name, "cgroups") == 0) {
            read_cgroups(reader, value, rule);
        } else if (name != NULL) {
            problem(reader, key, "map knows uids, gids and cgroups");
        }
    }
}

static void read_view(struct reader *reader, yaml_node_t *node) {
    static const char *const keys[] = {"view", "channel", NULL};
    const char *fields[2];
    yaml_node_t *nodes[2], *map = NULL;
    if (node->type == YAML_MAPPING_NODE) {
        map = take_member(reader, node, "map");
    }
    read_fields(reader, node, keys, fields, nodes);
    if (fields[0] == NULL || fields[1] == NULL) {
        problem(reader, node,
                "an entry of serve needs view and channel; write {view: PROJECT/VIEW, channel: production}");
        return;
    }
    char text[2 * PIL_CONFIG_TEXT_BYTES];
    struct pil_error error;
    snprintf(text, sizeof text, "%s@%s", fields[0], fields[1]);
    if (pil_config_add_view(reader->config, text, &error) != PIL_STATUS_OK) {
        problem_error(reader, nodes[0], &error);
    } else if (map != NULL) {
        struct pil_settings *settings = &reader->config->settings;
        read_map(reader, map, &settings->views[settings->view_count - 1].map);
    }
}

/* The index of `text` among NULL-terminated choices; problem and 0 when it is none. */
static uint32_t choose(struct reader *reader, yaml_node_t *node, const char *text, const char *const *choices,
                       const char *forms) {
    for (uint32_t i = 0; choices[i] != NULL; i++) {
        if (strcmp(choices[i], text) == 0) {
            return i;
        }
    }
    struct pil_error error;
    pil_ignore(pil_fail(&error, PIL_STATUS_INVALID, "'%s' is not possible here; choose %s", text, forms), "told below");
    problem_error(reader, node, &error);
    return 0;
}

static void read_listener(struct reader *reader, yaml_node_t *node) {
    enum { PROTOCOL, ADDRESS, MODE, GROUP, PUBLIC, STATUSES, EXPIRED, FIELD_COUNT };
    static const char *const keys[] = {"protocol", "address", "mode", "group", "public", "statuses", "expired", NULL};
    static const char *const booleans[] = {"false", "true", NULL}, *const expiry[] = {"serve", "hide", NULL};
    static const char *const statuses[] = {"strict", "feast-python", "feast-go", NULL};
    const char *fields[FIELD_COUNT];
    yaml_node_t *nodes[FIELD_COUNT];
    read_fields(reader, node, keys, fields, nodes);
    if (fields[PROTOCOL] == NULL || fields[ADDRESS] == NULL) {
        problem(reader, node,
                "an entry of listen needs protocol and address; write {protocol: resp, address: "
                "\"unix:/run/pillion/resp.sock\"}");
        return;
    }
    struct pil_listener_settings *listener = NULL;
    struct pil_error error;
    if (pil_config_add_listener(reader->config, fields[PROTOCOL], fields[ADDRESS], &listener, &error) !=
        PIL_STATUS_OK) {
        problem_error(reader, nodes[PROTOCOL], &error);
        return;
    }
    if (fields[MODE] != NULL) {
        char *end = NULL;
        unsigned long mode = strtoul(fields[MODE], &end, 8);
        if (*end != '\0' || end == fields[MODE] || mode > 0777) {
            problem(reader, nodes[MODE], "mode must be octal permissions; write \"0660\"");
        } else {
            listener->mode = (uint32_t)mode;
        }
    }
    if (fields[GROUP] != NULL && strlen(fields[GROUP]) < sizeof listener->group) {
        memcpy(listener->group, fields[GROUP], strlen(fields[GROUP]) + 1);
    } else if (fields[GROUP] != NULL) {
        problem(reader, nodes[GROUP], "this group name is too long");
    }
    listener->is_public =
        fields[PUBLIC] != NULL && choose(reader, nodes[PUBLIC], fields[PUBLIC], booleans, "true or false") == 1;
    listener->hide_expired =
        fields[EXPIRED] != NULL && choose(reader, nodes[EXPIRED], fields[EXPIRED], expiry, "serve or hide") == 1;
    if (fields[STATUSES] != NULL) {
        listener->statuses = (pil_status_mode)choose(reader, nodes[STATUSES], fields[STATUSES], statuses,
                                                     "strict, feast-python or feast-go");
    }
}

static void read_list(struct reader *reader, yaml_node_t *node, void (*read)(struct reader *, yaml_node_t *)) {
    if (node->type != YAML_SEQUENCE_NODE) {
        problem(reader, node, "this must be a list");
        return;
    }
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        read(reader, node_at(reader, *item));
    }
}

static void read_root(struct reader *reader, yaml_node_t *root) {
    if (root->type != YAML_MAPPING_NODE) {
        problem(reader, root, "the file must be a mapping of options");
        return;
    }
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = node_at(reader, pair->key), *value = node_at(reader, pair->value);
        const char *name = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : "";
        if (strcmp(name, "serve") == 0) {
            read_list(reader, value, read_view);
        } else if (strcmp(name, "listen") == 0) {
            read_list(reader, value, read_listener);
        } else if (strcmp(name, "limits") == 0 && value->type == YAML_MAPPING_NODE) {
            for (yaml_node_pair_t *limit = value->data.mapping.pairs.start; limit < value->data.mapping.pairs.top;
                 limit++) {
                read_option(reader, node_at(reader, limit->key), node_at(reader, limit->value), "limits.");
            }
        } else {
            read_option(reader, key, value, "");
        }
    }
}

static void read_stream(struct reader *reader, FILE *file) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        pil_text_format(reader->problems, "%s: no memory\n", reader->path);
        return;
    }
    yaml_parser_set_input_file(&parser, file);
    if (!yaml_parser_load(&parser, &reader->document)) {
        pil_text_format(reader->problems, "%s:%zu:%zu: %s; mend the YAML\n", reader->path, parser.problem_mark.line + 1,
                        parser.problem_mark.column + 1, parser.problem != NULL ? parser.problem : "unreadable");
        yaml_parser_delete(&parser);
        return;
    }
    yaml_node_t *root = yaml_document_get_root_node(&reader->document);
    if (root != NULL) {
        read_root(reader, root);
    }
    yaml_document_delete(&reader->document);
    yaml_parser_delete(&parser);
}

void pil_config_read_yaml(struct pil_config *config, const char *path, struct pil_text *problems) {
    struct reader reader = {.config = config, .path = path, .problems = problems};
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        pil_text_format(problems, "%s: %m; name a readable file\n", path);
        return;
    }
    read_stream(&reader, file);
    fclose(file);
}
