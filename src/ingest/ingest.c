/* SPDX-License-Identifier: Apache-2.0
 * Creating and destroying a build, and the names of flaws; the phases are in encode.c, merge.c and publish.c. */
#include "ingest/internal.h"

#include <stdlib.h>

const char *pil_ingest_phase_text(pil_ingest_phase phase) {
    static const char *const texts[] = {"read", "merge", "write"};
    return phase < PIL_INGEST_PHASE_COUNT ? texts[phase] : "?";
}

const char *pil_ingest_flaw_text(pil_ingest_flaw flaw) {
    /* clang-format off */
    static const char *const texts[] = {
        "none",
#define X(name, text) text,
        PIL_INGEST_FLAW_TABLE(X)
#undef X
    };
    /* clang-format on */
    return flaw < sizeof texts / sizeof texts[0] ? texts[flaw] : "?";
}

pil_status pil_ingest_create(const struct pil_ingest_options *options, struct pil_ingest **ret_ingest,
                             struct pil_error *ret_error) {
    if (options->memory_bytes < PIL_INGEST_MEMORY_MIN) {
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "a memory limit of %zu MiB; a build needs at least %zu MiB beside its front end",
                        options->memory_bytes >> 20, PIL_INGEST_MEMORY_MIN >> 20);
    }
    struct pil_ingest *ingest = calloc(1, sizeof *ingest);
    if (ingest == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory");
    }
    ingest->options = *options;
    ingest->budget.cap = options->memory_bytes;
    ingest->budget.outside = options->outside_bytes;
    ingest->view = pil_view_clone(options->view);
    ingest->options.view = ingest->view;
    ingest->options.temporary = NULL; /* the partitions keep a copy */
    ingest->profile = ingest->view != NULL ? pil_profile_create(ingest->view) : NULL;
    ingest->cells = calloc(PIL_INGEST_CELLS, sizeof *ingest->cells);
    pil_status status = PIL_STATUS_OK;
    if (ingest->profile == NULL || ingest->cells == NULL) {
        status = pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory");
    } else {
        /* The records in memory at the end of READ stay there, beside the row addresses and the file of one shard
         * (merge.c, publish.c). At worst, for rows of 16 bytes, these take 2.9 times the records. */
        status = pil_partitions_create(&ingest->budget, options->memory_bytes / 16 * 5, options->temporary,
                                       &ingest->partitions, ret_error);
    }
    if (status != PIL_STATUS_OK) {
        pil_ingest_destroy(&ingest);
        return status;
    }
    *ret_ingest = ingest;
    return PIL_STATUS_OK;
}

void pil_ingest_destroy(struct pil_ingest **ingest) {
    struct pil_ingest *old = *ingest;
    *ingest = NULL;
    if (old == NULL) {
        return;
    }
    pil_partitions_destroy(&old->partitions);
    pil_profile_destroy(&old->profile);
    pil_view_destroy(&old->view);
    free(old->cells);
    free(old);
}
