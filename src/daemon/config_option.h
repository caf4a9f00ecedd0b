/* SPDX-License-Identifier: Apache-2.0
 * The table of options, and the conversion of text into values. The YAML file, the command line and reloads share them.
 */
#pragma once

#include "daemon/config.h"

#include <stddef.h>

typedef enum pil_option_kind {
    PIL_OPTION_TEXT,
    PIL_OPTION_COUNT,
    PIL_OPTION_BYTES,
    PIL_OPTION_DURATION,         /* milliseconds */
    PIL_OPTION_DURATION_US,      /* microseconds */
    PIL_OPTION_CHOICE,           /* index into choices */
    PIL_OPTION_AUTO_COUNT,       /* 0 is auto */
    PIL_OPTION_AUTO_BYTES,       /* 0 is auto */
    PIL_OPTION_AUTO_DURATION_US, /* UINT64_MAX is auto */
} pil_option_kind;

struct pil_config_option {
    const char *key;
    pil_option_kind kind;
    size_t offset; /* in struct pil_config */
    size_t bytes;  /* size of the field: 4 or 8, or that of a text's array */
    const char *default_text;
    uint64_t min, max;
    const char *choices; /* "a|b|c" */
    bool is_reloadable;
    const char *help;
};

const struct pil_config_option *pil_config_option_find(const char *key, size_t key_len);
/* NULL after the last option. */
const struct pil_config_option *pil_config_option_at(uint32_t index);
pil_status pil_config_option_set(struct pil_config *config, const struct pil_config_option *option, const char *text,
                                 struct pil_error *ret_error) PIL_CHECKED;
bool pil_config_option_is_equal(const struct pil_config *a, const struct pil_config *b,
                                const struct pil_config_option *option);
/* For people: "number", "bytes", "duration", "choice" or "text"; and what is possible: "1 to 64, or auto". */
const char *pil_config_option_type(const struct pil_config_option *option);
void pil_config_option_append_allowed(struct pil_text *text, const struct pil_config_option *option);
void pil_config_option_copy(struct pil_config *to, const struct pil_config *from,
                            const struct pil_config_option *option);
void pil_config_defaults(struct pil_config *config);
/* Adds the view "PROJECT/VIEW@CHANNEL". */
pil_status pil_config_add_view(struct pil_config *config, const char *text, struct pil_error *ret_error) PIL_CHECKED;
/* Checks "unix:PATH" or "tcp:HOST:PORT". The host is resolved only when the listener is opened. */
pil_status pil_config_check_address(const char *address, struct pil_error *ret_error) PIL_CHECKED;
/* Adds a listener with default values for all fields but protocol and address; the caller may change them. */
pil_status pil_config_add_listener(struct pil_config *config, const char *protocol, const char *address,
                                   struct pil_listener_settings **ret_listener,
                                   struct pil_error *ret_error) PIL_CHECKED;
