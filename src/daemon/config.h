/* SPDX-License-Identifier: Apache-2.0
 * Configuration of pilliond: one table of options yields the YAML keys, the command line flags, the checks and the
 * reference page. Plain data: the supervisor hands it to its children as bytes. */
#pragma once

#include "base/log.h"
#include "base/text.h"
#include "server/settings.h"

enum { PIL_CONFIG_TEXT_BYTES = 1024 };

struct pil_config {
    struct pil_settings settings;
    char store[PIL_CONFIG_TEXT_BYTES];
    char user[64];          /* switch to it when started as root; "" stays */
    uint64_t log_level;     /* pil_log_level */
    uint64_t log_format;    /* pil_log_format */
    uint64_t workers;       /* 0: auto */
    uint64_t engine;        /* 0: auto, else pil_engine_kind + 1 */
    uint64_t memory_budget; /* 0: auto */
    uint64_t spin_us;       /* UINT64_MAX: auto */
    uint64_t staleness_bound_ms;
    uint64_t huge_pages;     /* 0: auto, 1: off */
    uint64_t fetch_priority; /* 0: background, 1: normal */
};

/* What the command line asks for beside configuring. */
struct pil_command_line {
    const char *config_path; /* NULL: none */
    const char *describe;    /* NULL, or a table's name */
    bool check_only, help, version;
    int ready_fd; /* -1: none */
    int role_fd;  /* -1: supervisor */
    const char *role;
};

/* Defaults, then the file, then the flags. Every mistake is one line of *problems: "file:line:column: what; what to do"
 * or "--flag: what; what to do". Then `auto` values are settled from the machine and the cgroup. INVALID when there was
 * any, or no memory to name it: then *problems has failed. */
pil_status pil_config_load(int argc, char **argv, struct pil_command_line *ret_line, struct pil_config *ret_config,
                           struct pil_text *problems) PIL_CHECKED;
/* What a reload came to: names of options with blanks between. */
struct pil_config_changes {
    struct pil_text changed;
    struct pil_text kept; /* those that differ and need a restart */
    uint32_t kept_count;
    bool has_views; /* views were added or removed */
};
void pil_config_changes_deinit(struct pil_config_changes *changes);
/* What `running` may take from `wanted`, as it was loaded, without a restart; nothing else is written. A view that
 * `wanted` has more gets the slot that it had before, or a free one; a view that it lacks is marked as removed. */
void pil_config_reload(struct pil_config *running, const struct pil_config *wanted,
                       struct pil_config_changes *ret_changes);
/* In a child: what the supervisor sent in a memfd. All of it at first; later what pil_config_reload has taken there,
 * for other threads read the rest. Logs from here on as it says. CORRUPT: it is not a configuration. */
pil_status pil_config_receive(struct pil_config *config, int fd, bool is_first, const char *component,
                              struct pil_error *ret_error) PIL_CHECKED;
/* docs/reference/config.md */
void pil_config_describe(struct pil_text *page);
void pil_config_usage(struct pil_text *page);
