/* SPDX-License-Identifier: Apache-2.0
 * A sink for tests: short runs, so that everything is split somewhere, collected into one text. */
#pragma once

#include "base/sink.h"

#include <stdlib.h>

struct collect {
    struct pil_sink sink; /* first: grow gets its address */
    uint8_t run[PIL_SINK_RESERVE_MAX];
    char *text;
    size_t len, capacity;
};

static inline bool collect_grow(struct pil_sink *sink) {
    struct collect *collect = (struct collect *)(void *)sink;
    size_t run_len = collect->sink.at != NULL ? (size_t)(collect->sink.at - collect->run) : 0;
    if (collect->len + run_len + 1 > collect->capacity) {
        collect->capacity = 2 * collect->capacity + sizeof collect->run + 1;
        collect->text = realloc(collect->text, collect->capacity);
    }
    if (collect->text == NULL) {
        abort();
    }
    if (run_len > 0) {
        memcpy(collect->text + collect->len, collect->run, run_len);
    }
    collect->len += run_len;
    collect->text[collect->len] = '\0';
    collect->sink.at = collect->run;
    collect->sink.end = collect->run + sizeof collect->run;
    return true;
}

static inline void collect_init(struct collect *collect) {
    memset(collect, 0, sizeof *collect);
    collect->sink.grow = collect_grow;
}

/* What was written so far, with a NUL behind it. */
static inline const char *collect_text(struct collect *collect) {
    collect_grow(&collect->sink);
    return collect->text;
}

static inline struct pil_bytes collect_bytes(struct collect *collect) {
    collect_grow(&collect->sink);
    return pil_bytes_from(collect->text, collect->len);
}

static inline void collect_deinit(struct collect *collect) {
    free(collect->text);
}
