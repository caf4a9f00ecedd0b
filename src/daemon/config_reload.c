/* SPDX-License-Identifier: Apache-2.0
 * Applies a new configuration to a running daemon. */
#include "base/log.h"
#include "daemon/config_option.h"
#include "node/slots.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void pil_config_changes_deinit(struct pil_config_changes *changes) {
    pil_text_deinit(&changes->changed);
    pil_text_deinit(&changes->kept);
}

static void add_name(struct pil_text *names, const char *name) {
    pil_text_format(names, "%s%s", names->len > 0 ? " " : "", name);
}

static void keep(struct pil_config_changes *changes, const char *name) {
    add_name(&changes->kept, name);
    changes->kept_count++;
}

/* `changes` may be NULL. */
static void reload_options(struct pil_config *running, const struct pil_config *wanted,
                           struct pil_config_changes *changes) {
    const struct pil_config_option *option;
    for (uint32_t i = 0; (option = pil_config_option_at(i)) != NULL; i++) {
        if (pil_config_option_is_equal(running, wanted, option)) {
            continue;
        }
        if (option->is_reloadable) {
            pil_config_option_copy(running, wanted, option);
        }
        if (changes != NULL && option->is_reloadable) {
            add_name(&changes->changed, option->key);
        } else if (changes != NULL) {
            keep(changes, option->key);
        }
    }
    running->settings.memory_budget = wanted->settings.memory_budget; /* resolved: `auto` follows the cgroup */
}

void pil_config_reload(struct pil_config *running, const struct pil_config *wanted,
                       struct pil_config_changes *ret_changes) {
    struct pil_settings *was = &running->settings;
    const struct pil_settings *is = &wanted->settings;
    *ret_changes = (struct pil_config_changes){0};
    reload_options(running, wanted, ret_changes);
    bool has_all_views = pil_slots_reload(was, is, &ret_changes->has_views);
    if (ret_changes->has_views) {
        add_name(&ret_changes->changed, "serve");
    }
    if (!has_all_views) {
        keep(ret_changes, "serve");
    }
    for (uint32_t i = 0; i < was->view_count; i++) {
        was->views[i].staleness_bound_us = running->staleness_bound_ms * 1000;
    }
    if (was->listener_count != is->listener_count || memcmp(was->listeners, is->listeners, sizeof is->listeners) != 0) {
        keep(ret_changes, "listen");
    }
}

pil_status pil_config_receive(struct pil_config *config, int fd, bool is_first, const char *component,
                              struct pil_error *ret_error) {
    struct pil_config *wanted = calloc(1, sizeof *wanted);
    if (wanted == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the configuration");
    }
    if (pread(fd, wanted, sizeof *wanted, 0) != sizeof *wanted ||
        wanted->settings.view_count > PIL_SETTINGS_VIEWS_MAX ||
        wanted->settings.listener_count > PIL_SETTINGS_LISTENERS_MAX) {
        free(wanted);
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "what the supervisor sent is not a configuration");
    }
    if (is_first) {
        *config = *wanted;
    } else {
        reload_options(config, wanted, NULL);
        pil_slots_follow(&config->settings, &wanted->settings);
    }
    free(wanted);
    pil_log_init(component, (pil_log_level)config->log_level, (pil_log_format)config->log_format);
    return PIL_STATUS_OK;
}
