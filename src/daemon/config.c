/* SPDX-License-Identifier: Apache-2.0
 * The command line, and the values of `auto` on this machine. */
#include "daemon/config.h"
#include "base/nearest.h"

#include "base/machine.h"
#include "daemon/config_option.h"
#include "daemon/config_yaml.h"
#include "engine/engine.h"
#include "schema/yaml_check.h"
#include "server/server.h"
#include "store/scheme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLAG_BYTES = 64 };

static void flag_problem(struct pil_text *problems, const char *flag, const char *text) {
    pil_text_format(problems, "--%s: %s\n", flag, text);
}

static void read_listen_flag(struct pil_config *config, const char *text, struct pil_text *problems) {
    const char *equals = strchr(text, '=');
    struct pil_error error;
    struct pil_listener_settings *listener = NULL;
    char protocol[16] = "";
    if (equals == NULL || (size_t)(equals - text) >= sizeof protocol) {
        flag_problem(problems, "listen", "write PROTOCOL=ADDRESS, as in resp=unix:/tmp/p.sock");
        return;
    }
    memcpy(protocol, text, (size_t)(equals - text));
    if (pil_config_add_listener(config, protocol, equals + 1, &listener, &error) != PIL_STATUS_OK) {
        flag_problem(problems, "listen", error.text);
    }
}

/* Parses a descriptor number, which the supervisor or the user has given. */
static int read_fd(const char *flag, const char *text, struct pil_text *problems) {
    char *end = NULL;
    unsigned long fd = strtoul(text, &end, 10);
    if (*end != '\0' || end == text || fd > 1000000) {
        flag_problem(problems, flag, "must be a descriptor number");
        return -1;
    }
    return (int)fd;
}

static void flag_is_unknown(struct pil_text *problems, const char *flag, const char *key) {
    enum { NAMES_MAX = 64 };
    const char *names[NAMES_MAX] = {"config", "describe",     "listen",  "serve",
                                    "help",   "check_config", "version", "ready_fd"};
    const struct pil_config_option *option;
    uint32_t count = 8;
    for (uint32_t i = 0; (option = pil_config_option_at(i)) != NULL && count < NAMES_MAX; i++) {
        names[count++] = option->key;
    }
    const char *nearest = pil_nearest(key, names, count);
    struct pil_text text = {0};
    pil_text_format(&text, "no such flag%s", nearest != NULL ? "; did you mean --" : "; see pilliond --help");
    for (const char *c = nearest != NULL ? nearest : ""; *c != '\0'; c++) {
        pil_text_format(&text, "%c", *c == '_' ? '-' : *c);
    }
    flag_problem(problems, flag, pil_text_chars(&text));
    pil_text_deinit(&text);
}

/* The key of an option, as the YAML file has it, from its flag. */
static const struct pil_config_option *option_of_flag(const char *flag, char ret_key[FLAG_BYTES]) {
    snprintf(ret_key, FLAG_BYTES, "%s", flag);
    for (char *c = ret_key; *c != '\0'; c++) {
        *c = *c == '-' ? '_' : *c;
    }
    return pil_config_option_find(ret_key, strlen(ret_key));
}

static void value_is_missing(struct pil_text *problems, const char *flag) {
    static const char *const others[] = {"config", "describe", "role", "role-fd", "ready-fd", "listen", "serve"};
    char key[FLAG_BYTES];
    bool is_known = option_of_flag(flag, key) != NULL;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        is_known = is_known || strcmp(flag, others[i]) == 0;
    }
    if (is_known) {
        flag_problem(problems, flag, "needs a value");
    } else {
        flag_is_unknown(problems, flag, key);
    }
}

static void read_value_flag(struct pil_command_line *line, struct pil_config *config, const char *flag,
                            const char *value, struct pil_text *problems) {
    struct pil_error error;
    if (strcmp(flag, "config") == 0) {
        line->config_path = value;
    } else if (strcmp(flag, "describe") == 0) {
        line->describe = value;
    } else if (strcmp(flag, "role") == 0) {
        line->role = value;
    } else if (strcmp(flag, "role-fd") == 0) {
        line->role_fd = read_fd(flag, value, problems);
    } else if (strcmp(flag, "ready-fd") == 0) {
        line->ready_fd = read_fd(flag, value, problems);
    } else if (strcmp(flag, "listen") == 0) {
        read_listen_flag(config, value, problems);
    } else if (strcmp(flag, "serve") == 0) {
        if (pil_config_add_view(config, value, &error) != PIL_STATUS_OK) {
            flag_problem(problems, flag, error.text);
        }
    } else {
        char key[FLAG_BYTES];
        const struct pil_config_option *option = option_of_flag(flag, key);
        if (option == NULL) {
            flag_is_unknown(problems, flag, key);
        } else if (pil_config_option_set(config, option, value, &error) != PIL_STATUS_OK) {
            flag_problem(problems, flag, error.text);
        }
    }
}

/* Reads flags: --flag value, or --flag=value. `config_only`: only --config, whose file is read before the other flags.
 */
static void read_flags(int argc, char **argv, bool config_only, struct pil_command_line *line,
                       struct pil_config *config, struct pil_text *problems) {
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            if (!config_only) {
                pil_text_format(problems, "%s: not a flag; see pilliond --help\n", argv[i]);
            }
            continue;
        }
        char flag[FLAG_BYTES];
        const char *equals = strchr(argv[i], '=');
        size_t len = equals != NULL ? (size_t)(equals - argv[i]) - 2 : strlen(argv[i]) - 2;
        snprintf(flag, sizeof flag, "%.*s", (int)len, argv[i] + 2);
        bool *boolean = strcmp(flag, "check-config") == 0 ? &line->check_only
                        : strcmp(flag, "help") == 0       ? &line->help
                        : strcmp(flag, "version") == 0    ? &line->version
                                                          : NULL;
        if (boolean != NULL) {
            *boolean = true;
            continue;
        }
        const char *value = equals != NULL ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (value == NULL) {
            if (!config_only) {
                value_is_missing(problems, flag);
            }
        } else if (!config_only || strcmp(flag, "config") == 0) {
            read_value_flag(line, config, flag, value, problems);
        }
    }
}

enum { CLIENT_MEMORY_AUTO_MAX = 1 << 30 };

static void settle_auto(struct pil_config *config) {
    struct pil_settings *settings = &config->settings;
    uint64_t cores = pil_machine_cores();
    uint64_t workers = config->workers != 0 ? config->workers : cores;
    settings->worker_count = (uint32_t)(workers < PIL_SETTINGS_WORKERS_MAX ? workers : PIL_SETTINGS_WORKERS_MAX);

    uint64_t machine = pil_machine_memory(), limit = pil_machine_memory_limit();
    uint64_t automatic = limit < machine ? limit / 4 * 3 : machine / 2;
    settings->memory_budget = config->memory_budget != 0 ? config->memory_budget : automatic;
    uint64_t eighth = settings->memory_budget / 8;
    settings->limits.client_memory_max = config->client_memory != 0        ? config->client_memory
                                         : eighth < CLIENT_MEMORY_AUTO_MAX ? eighth
                                                                           : CLIENT_MEMORY_AUTO_MAX;

    /* Spinning pays only if the workers leave a core to the clients. */
    uint64_t automatic_us = settings->worker_count < cores ? 50 : 0;
    settings->spin_ns_max = 1000 * (config->spin_us != UINT64_MAX ? config->spin_us : automatic_us);
    for (uint32_t i = 0; i < settings->view_count; i++) {
        settings->views[i].staleness_bound_us = config->staleness_bound_ms * 1000;
    }
}

void pil_config_choose_engine(struct pil_config *config) {
    struct pil_settings *settings = &config->settings;
    struct pil_engine_options options;
    if (config->engine != 0) {
        settings->engine = (pil_engine_kind)(config->engine - 1);
        snprintf(settings->engine_reason, sizeof settings->engine_reason, "configured");
        return;
    }
    pil_server_engine_options(settings, &options);
    settings->engine = pil_engine_probe(&options, settings->engine_reason);
}

bool pil_config_leaves_memory(uint64_t memory_budget, uint64_t client_memory, struct pil_text *problems) {
    if (client_memory < memory_budget) {
        return true;
    }
    pil_text_format(problems,
                    "limits.client_memory: its %llu bytes leave nothing of memory_budget (%llu bytes) for releases; "
                    "lower it (a running daemon keeps it until a restart), or raise memory_budget\n",
                    (unsigned long long)client_memory, (unsigned long long)memory_budget);
    return false;
}

/* $PILLION_STORE, as for `pillion`, if neither the file nor a flag names a store. */
static void take_store_of_environment(struct pil_config *config, struct pil_text *problems) {
    const char *store = getenv("PILLION_STORE");
    struct pil_error error;
    if (config->store[0] == '\0' && store != NULL && store[0] != '\0' &&
        pil_config_option_set(config, pil_config_option_find("store", strlen("store")), store, &error) !=
            PIL_STATUS_OK) {
        pil_text_format(problems, "$PILLION_STORE: %s\n", error.text);
    }
}

static void check_whole(const struct pil_config *config, struct pil_text *problems) {
    const struct pil_settings *settings = &config->settings;
    struct pil_store *store = NULL;
    struct pil_error error;
    if (config->store[0] == '\0') {
        pil_text_format(problems,
                        "store: missing; name one with `store: " PIL_STORE_FORMS "`, --store or $PILLION_STORE\n");
    } else if (pil_store_open(config->store, false, &store, &error) == PIL_STATUS_INVALID) {
        pil_text_format(problems, "store: %s\n", error.text); /* other errors: a store may come later */
    }
    pil_store_close(&store);
    if (settings->view_count == 0) {
        pil_text_format(problems, "serve: nothing to serve; name a view with --serve PROJECT/VIEW@CHANNEL\n");
    }
    (void)pil_config_leaves_memory(settings->memory_budget, settings->limits.client_memory_max, problems);
    if (settings->listener_count == 0) {
        pil_text_format(problems, "listen: no listener; name one with --listen resp=unix:PATH\n");
    }
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(settings->listeners[i].address, settings->listeners[k].address) == 0) {
                pil_text_format(problems, "listen: %s is there twice; use an address once\n",
                                settings->listeners[i].address);
            }
        }
    }
}

pil_status pil_config_load(int argc, char **argv, struct pil_command_line *ret_line, struct pil_config *ret_config,
                           struct pil_text *problems) {
    struct pil_command_line line = {.ready_fd = -1, .role_fd = -1};
    struct pil_config config;
    size_t problems_before = problems->len;
    pil_config_defaults(&config);
    read_flags(argc, argv, true, &line, &config, problems);
    pil_status status =
        line.config_path != NULL ? pil_config_read_yaml(&config, line.config_path, problems) : PIL_STATUS_OK;
    line = (struct pil_command_line){.ready_fd = -1, .role_fd = -1};
    read_flags(argc, argv, false, &line, &config, problems);
    bool runs = line.describe == NULL && line.role == NULL && !line.help && !line.version;
    if (runs && status == PIL_STATUS_OK) {
        take_store_of_environment(&config, problems);
        settle_auto(&config);
        check_whole(&config, problems);
    }
    *ret_line = line;
    if (problems->failed || problems->len > problems_before) {
        return status != PIL_STATUS_OK ? status : PIL_STATUS_INVALID;
    }
    *ret_config = config;
    return PIL_STATUS_OK;
}
