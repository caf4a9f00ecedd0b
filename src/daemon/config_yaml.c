/* SPDX-License-Identifier: Apache-2.0
 * The YAML file of pilliond, read through the same tree as project files, which also locates and formats mistakes. */
#include "daemon/config_yaml.h"

#include "base/panic.h"
#include "base/sys.h"
#include "daemon/config_option.h"
#include "peer/rule.h"
#include "schema/yaml_check.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILE_BYTES_MAX = 1 << 20, OPTION_KEYS_MAX = 28, LIST_ITEMS_MAX = PIL_PEER_RULE_IDS_MAX };

struct reader {
    struct pil_config *config;
    struct pil_yaml_problems problems;
};

/* Collects the options "PREFIXname" as keys of one mapping. */
static uint32_t option_keys(const char *prefix, struct pil_yaml_key keys[OPTION_KEYS_MAX],
                            const struct pil_config_option *ret_options[OPTION_KEYS_MAX]) {
    const struct pil_config_option *option;
    uint32_t count = 0;
    for (uint32_t i = 0; (option = pil_config_option_at(i)) != NULL; i++) {
        bool is_inside = strncmp(option->key, prefix, strlen(prefix)) == 0;
        const char *name = option->key + (is_inside ? strlen(prefix) : 0);
        if (is_inside && strchr(name, '.') == NULL) {
            PIL_ASSERT(count < OPTION_KEYS_MAX);
            keys[count] = (struct pil_yaml_key){name, PIL_YAML_SCALAR, false};
            ret_options[count++] = option;
        }
    }
    return count;
}

static void set_options(struct reader *reader, const struct pil_config_option *const *options, uint32_t count,
                        const struct pil_yaml_node *const *values) {
    struct pil_error error;
    for (uint32_t i = 0; i < count; i++) {
        if (values[i] != NULL &&
            pil_config_option_set(reader->config, options[i], values[i]->text, &error) != PIL_STATUS_OK) {
            pil_yaml_problem_add(&reader->problems, values[i], "%s", error.text);
        }
    }
}

static void read_limits(struct reader *reader, const struct pil_yaml_node *node) {
    struct pil_yaml_key keys[OPTION_KEYS_MAX];
    const struct pil_config_option *options[OPTION_KEYS_MAX];
    const struct pil_yaml_node *values[OPTION_KEYS_MAX];
    uint32_t count = option_keys("limits.", keys, options);
    pil_yaml_take(&reader->problems, node, "limits", keys, count, values);
    set_options(reader, options, count, values);
}

/* Collects the elements of a list that are single values; the others, and those beyond `max`, are problems. The list
 * may be NULL. */
static uint32_t take_values(struct reader *reader, const struct pil_yaml_node *list, const char *what, uint32_t max,
                            const struct pil_yaml_node *ret_values[LIST_ITEMS_MAX]) {
    uint32_t count = 0;
    for (uint32_t i = 0; list != NULL && i < list->child_count; i++) {
        const struct pil_yaml_node *value = &list->children[i];
        if (value->kind != PIL_YAML_SCALAR || pil_yaml_is_null(value)) {
            pil_yaml_problem_add(&reader->problems, value, "%s: must be one value", what);
        } else if (count == max) {
            pil_yaml_problem_add(&reader->problems, value, "%s: more than %u; remove some", what, max);
            return count;
        } else {
            ret_values[count++] = value;
        }
    }
    return count;
}

static uint32_t read_ids(struct reader *reader, const struct pil_yaml_node *list, const char *what,
                         uint32_t ids[PIL_PEER_RULE_IDS_MAX]) {
    const struct pil_yaml_node *values[LIST_ITEMS_MAX];
    uint32_t count = take_values(reader, list, what, PIL_PEER_RULE_IDS_MAX, values);
    for (uint32_t i = 0; i < count; i++) {
        char *end = NULL;
        unsigned long id = strtoul(values[i]->text, &end, 10);
        if (values[i]->text[0] < '0' || values[i]->text[0] > '9' || *end != '\0' || id >= UINT32_MAX) {
            pil_yaml_problem_add(&reader->problems, values[i],
                                 "this must be a numeric id, as `id -u` and `id -g` print it");
        }
        ids[i] = (uint32_t)id;
    }
    return count;
}

static void read_cgroups(struct reader *reader, const struct pil_yaml_node *list, struct pil_peer_rule *rule) {
    const struct pil_yaml_node *values[LIST_ITEMS_MAX];
    uint32_t count = take_values(reader, list, "cgroups", PIL_PEER_RULE_CGROUPS_MAX, values);
    for (uint32_t i = 0; i < count; i++) {
        if (values[i]->text[0] != '/' || strlen(values[i]->text) >= sizeof rule->cgroups[0]) {
            pil_yaml_problem_add(&reader->problems, values[i],
                                 "a cgroup is a path or glob that starts with /, of at most %zu bytes",
                                 sizeof rule->cgroups[0] - 1);
        } else {
            memcpy(rule->cgroups[rule->cgroup_count++], values[i]->text, strlen(values[i]->text) + 1);
        }
    }
}

/* Reads the rule of a key: none, or {uids: […], gids: […], cgroups: […]}. */
static void read_rule(struct reader *reader, const struct pil_yaml_node *node, const char *key,
                      struct pil_peer_rule *rule) {
    static const struct pil_yaml_key keys[] = {
        {"uids", PIL_YAML_SEQUENCE, false}, {"gids", PIL_YAML_SEQUENCE, false}, {"cgroups", PIL_YAML_SEQUENCE, false}};
    const struct pil_yaml_node *values[3];
    rule->is_given = true;
    if (node->kind == PIL_YAML_SCALAR) {
        if (strcmp(node->text, "none") != 0) {
            pil_yaml_problem_add(&reader->problems, node,
                                 "%s must be none or {uids: [...], gids: [...], cgroups: [...]}", key);
        }
        return;
    }
    pil_yaml_take(&reader->problems, node, key, keys, 3, values);
    rule->uid_count = read_ids(reader, values[0], "uids", rule->uids);
    rule->gid_count = read_ids(reader, values[1], "gids", rule->gids);
    read_cgroups(reader, values[2], rule);
}

static void read_view(struct reader *reader, const struct pil_yaml_node *node) {
    enum { VIEW, CHANNEL, READ, MAP, FIELD_COUNT };
    static const struct pil_yaml_key keys[] = {{"view", PIL_YAML_SCALAR, true},
                                               {"channel", PIL_YAML_SCALAR, true},
                                               {"read", PIL_YAML_SCALAR | PIL_YAML_MAPPING, false},
                                               {"map", PIL_YAML_SCALAR | PIL_YAML_MAPPING, false}};
    const struct pil_yaml_node *values[FIELD_COUNT];
    struct pil_settings *settings = &reader->config->settings;
    char text[2 * PIL_CONFIG_TEXT_BYTES];
    struct pil_error error;
    pil_yaml_take(&reader->problems, node, "entry of serve", keys, FIELD_COUNT, values);
    if (values[VIEW] == NULL || values[CHANNEL] == NULL) {
        return;
    }
    snprintf(text, sizeof text, "%s@%s", values[VIEW]->text, values[CHANNEL]->text);
    if (pil_config_add_view(reader->config, text, &error) != PIL_STATUS_OK) {
        pil_yaml_problem_add(&reader->problems, values[VIEW], "%s", error.text);
        return;
    }
    struct pil_view_settings *view = &settings->views[settings->view_count - 1];
    if (values[READ] != NULL) {
        read_rule(reader, values[READ], "read", &view->read);
    }
    if (values[MAP] != NULL) {
        read_rule(reader, values[MAP], "map", &view->map);
    }
}

/* The index of a value among NULL-terminated choices; 0 if there is no value. A value that is not among them is a
 * problem, and gives 0. */
static uint32_t choose(struct reader *reader, const struct pil_yaml_node *value, const char *const *choices,
                       const char *forms) {
    uint32_t i = 0;
    while (value != NULL && choices[i] != NULL && strcmp(choices[i], value->text) != 0) {
        i++;
    }
    if (value != NULL && choices[i] == NULL) {
        pil_yaml_problem_add(&reader->problems, value, "'%s' is not possible here; choose %s",
                             PIL_YAML_QUOTE(value->text), forms);
    }
    return value != NULL && choices[i] != NULL ? i : 0;
}

static void read_socket(struct reader *reader, const struct pil_yaml_node *mode, const struct pil_yaml_node *group,
                        struct pil_listener_settings *listener) {
    if (mode != NULL) {
        char *end = NULL;
        unsigned long bits = strtoul(mode->text, &end, 8);
        if (mode->text[0] < '0' || mode->text[0] > '7' || *end != '\0' || bits > 0777) {
            pil_yaml_problem_add(&reader->problems, mode, "mode must be octal permissions; write \"0660\"");
        } else {
            listener->mode = (uint32_t)bits;
        }
    }
    if (group != NULL && strlen(group->text) >= sizeof listener->group) {
        pil_yaml_problem_add(&reader->problems, group, "this group name is too long; %zu bytes are possible",
                             sizeof listener->group - 1);
    } else if (group != NULL) {
        memcpy(listener->group, group->text, strlen(group->text) + 1);
    }
}

static void read_listener(struct reader *reader, const struct pil_yaml_node *node) {
    enum { PROTOCOL, ADDRESS, MODE, GROUP, PUBLIC, STATUSES, EXPIRED, FIELD_COUNT };
    static const struct pil_yaml_key keys[] = {
        {"protocol", PIL_YAML_SCALAR, true}, {"address", PIL_YAML_SCALAR, true}, {"mode", PIL_YAML_SCALAR, false},
        {"group", PIL_YAML_SCALAR, false},   {"public", PIL_YAML_SCALAR, false}, {"statuses", PIL_YAML_SCALAR, false},
        {"expired", PIL_YAML_SCALAR, false}};
    static const char *const booleans[] = {"false", "true", NULL}, *const expiry[] = {"serve", "hide", NULL};
    static const char *const statuses[] = {"strict", "feast-python", "feast-go", NULL};
    const struct pil_yaml_node *values[FIELD_COUNT];
    struct pil_listener_settings *listener = NULL;
    struct pil_error error;
    pil_yaml_take(&reader->problems, node, "entry of listen", keys, FIELD_COUNT, values);
    if (values[PROTOCOL] == NULL || values[ADDRESS] == NULL) {
        return;
    }
    if (pil_config_check_address(values[ADDRESS]->text, &error) != PIL_STATUS_OK) {
        pil_yaml_problem_add(&reader->problems, values[ADDRESS], "%s", error.text);
    } else if (pil_config_add_listener(reader->config, values[PROTOCOL]->text, values[ADDRESS]->text, &listener,
                                       &error) != PIL_STATUS_OK) {
        pil_yaml_problem_add(&reader->problems, values[PROTOCOL], "%s", error.text);
    } else {
        read_socket(reader, values[MODE], values[GROUP], listener);
        listener->is_public = choose(reader, values[PUBLIC], booleans, "true or false") == 1;
        listener->hide_expired = choose(reader, values[EXPIRED], expiry, "serve or hide") == 1;
        listener->statuses =
            (pil_status_mode)choose(reader, values[STATUSES], statuses, "strict, feast-python or feast-go");
    }
}

static void read_list(struct reader *reader, const struct pil_yaml_node *list,
                      void (*read)(struct reader *, const struct pil_yaml_node *)) {
    for (uint32_t i = 0; list != NULL && i < list->child_count; i++) {
        read(reader, &list->children[i]);
    }
}

static void read_root(struct reader *reader, const struct pil_yaml_node *root) {
    struct pil_yaml_key keys[OPTION_KEYS_MAX + 3];
    const struct pil_config_option *options[OPTION_KEYS_MAX];
    const struct pil_yaml_node *values[OPTION_KEYS_MAX + 3];
    uint32_t count = option_keys("", keys, options);
    keys[count] = (struct pil_yaml_key){"serve", PIL_YAML_SEQUENCE, false};
    keys[count + 1] = (struct pil_yaml_key){"listen", PIL_YAML_SEQUENCE, false};
    keys[count + 2] = (struct pil_yaml_key){"limits", PIL_YAML_MAPPING, false};
    pil_yaml_take(&reader->problems, root, "configuration", keys, count + 3, values);
    set_options(reader, options, count, values);
    read_list(reader, values[count], read_view);
    read_list(reader, values[count + 1], read_listener);
    if (values[count + 2] != NULL) {
        read_limits(reader, values[count + 2]);
    }
}

pil_status pil_config_read_yaml(struct pil_config *config, const char *path, struct pil_text *problems) {
    struct reader reader = {.config = config};
    struct pil_yaml_node root;
    struct pil_text text;
    struct pil_error error;
    pil_status status = pil_sys_read_file(path, FILE_BYTES_MAX, &text, &error);
    if (status != PIL_STATUS_OK) {
        pil_text_format(problems, "%s:1:1: %s; name a file that can be read\n", path, error.text);
        return status;
    }
    if (pil_yaml_parse(pil_text_bytes(&text), &root, &reader.problems) == PIL_STATUS_OK) {
        if (!pil_yaml_is_null(&root)) { /* an empty file has no options */
            read_root(&reader, &root);
        }
        pil_yaml_node_deinit(&root);
    }
    if (pil_yaml_problems_write(&reader.problems, path, problems) == PIL_STATUS_NO_MEMORY) {
        pil_text_format(problems, "%s:1:1: no memory to read it; free some\n", path);
    }
    pil_yaml_problems_deinit(&reader.problems);
    pil_text_deinit(&text);
    return PIL_STATUS_OK;
}
