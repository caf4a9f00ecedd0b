/* SPDX-License-Identifier: Apache-2.0
 * The releases and channels of a store, read once. Others may change the store during and after the reading. */
#pragma once

#include "release/channel.h"

struct pil_catalog_release {
    struct pil_release_ref ref;
    int64_t modified_us; /* when its manifest was put */
};

struct pil_catalog_channel {
    struct pil_release_ref ref; /* without release */
    struct pil_channel channel; /* only its name is set unless status is OK */
    pil_status status;
    struct pil_error error;
};

/* Both lists in byte order of project, view and name. */
struct pil_catalog {
    struct pil_catalog_release *releases;
    size_t release_count;
    struct pil_catalog_channel *channels;
    size_t channel_count;
};

/* Reads the catalog of one project, or of all if `project` is ""; of one of its views, or of all if `view` is "". A
 * channel that cannot be read does not fail the call, except NO_MEMORY. Owns: caller (pil_catalog_deinit). */
pil_status pil_catalog_read(struct pil_store *store, const char *project, const char *view,
                            struct pil_catalog *ret_catalog, struct pil_error *ret_error) PIL_CHECKED;
void pil_catalog_deinit(struct pil_catalog *catalog);

/* Whether a and b name the same view. */
bool pil_catalog_same_view(const struct pil_release_ref *a, const struct pil_release_ref *b);
