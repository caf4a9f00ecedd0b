/* SPDX-License-Identifier: Apache-2.0
 * Configuration of pilliond: one table of options defines the YAML keys, the command line flags, the checks and the
 * reference page. Plain data: the supervisor passes it to its children as bytes. */
#pragma once

#include "base/log.h"
#include "base/text.h"
#include "server/settings.h"

enum { PIL_CONFIG_TEXT_BYTES = 1024 };

struct pil_config {
    struct pil_settings settings;
    char store[PIL_CONFIG_TEXT_BYTES];
    char user[64];          /* the user to become when started as root; "": stay */
    uint64_t log_level;     /* pil_log_level */
    uint64_t log_format;    /* pil_log_format */
    uint64_t workers;       /* 0: auto */
    uint64_t engine;        /* 0: auto, else pil_engine_kind + 1 */
    uint64_t memory_budget; /* 0: auto */
    uint64_t client_memory; /* 0: auto */
    uint64_t spin_us;       /* UINT64_MAX: auto */
    uint64_t staleness_bound_ms;
    uint64_t huge_pages;     /* 0: auto, 1: off */
    uint64_t fetch_priority; /* 0: background, 1: normal */
};

/* The flags that are not configuration. */
struct pil_command_line {
    const char *config_path; /* NULL: none */
    const char *describe;    /* the name of a table, or NULL */
    bool check_only, help, version;
    int ready_fd; /* -1: none */
    int role_fd;  /* -1: this is the supervisor */
    const char *role;
};

/* Applies the defaults, then the file, then the flags, then resolves `auto` values from the machine and the cgroup, but
 * for the engine, which pil_config_choose_engine chooses.
 * Every mistake is one line of *problems: "file:line:column: what; what to do" or "--flag: what; what to do". INVALID:
 * there were mistakes, or memory for *problems was short, which has failed then. The error of reading the file. */
pil_status pil_config_load(int argc, char **argv, struct pil_command_line *ret_line, struct pil_config *ret_config,
                           struct pil_text *problems) PIL_CHECKED;
/* Returns false, with a line added to *problems, if clients may have all of the budget: no release would fit. */
bool pil_config_leaves_memory(uint64_t memory_budget, uint64_t client_memory, struct pil_text *problems);
/* Sets settings.engine and its reason; `auto` probes what the calling process may do. So call it in the process that
 * serves, or as its user, after privileges were given up. */
void pil_config_choose_engine(struct pil_config *config);
/* The result of a reload: names of options, separated by blanks. */
struct pil_config_changes {
    struct pil_text changed;
    struct pil_text kept; /* options that differ and need a restart */
    uint32_t kept_count;
    bool has_views; /* views were added or removed */
};
void pil_config_changes_deinit(struct pil_config_changes *changes);
/* Copies into `running` what can be taken from `wanted`, as pil_config_load made it, without a restart. A new view of
 * `wanted` gets the slot that it had before, or a free one; a view that `wanted` lacks is marked as removed. */
void pil_config_reload(struct pil_config *running, const struct pil_config *wanted,
                       struct pil_config_changes *ret_changes);
/* For a child: takes the configuration that the supervisor sent in a memfd. is_first: all of it; later only what
 * pil_config_reload may change, because other threads read the rest. Sets up the log accordingly. CORRUPT: it is not a
 * configuration. NO_MEMORY. */
pil_status pil_config_receive(struct pil_config *config, int fd, bool is_first, const char *component,
                              struct pil_error *ret_error) PIL_CHECKED;
/* Write docs/reference/config.md; deploy/pilliond.yaml; the help. */
void pil_config_describe(struct pil_text *page);
void pil_config_example(struct pil_text *page);
void pil_config_usage(struct pil_text *page);
