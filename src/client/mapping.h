/* SPDX-License-Identifier: Apache-2.0
 * The releases that the server granted and this process has mapped: reference-counted, prefaulted and unmapped in
 * slices. Under the client's lock. Holds data only: the session informs the server. For this module only. */
#pragma once

#include "cache/serving.h"

struct pillion_client;

struct pil_mapping {
    struct pil_release *release;
    struct pil_serving serving; /* what calls read: the release as a chain */
    uint64_t generation;
    int64_t created_us;
    uint64_t connection; /* number of the connection that granted it */
    uint32_t view;
    uint32_t references;      /* from compiled plans and from the client's table of views */
    bool is_dropped;          /* the server was told that this process no longer uses it */
    uint32_t prefault_shard;  /* the shard up to which page tables are filled */
    uint64_t prefault_offset; /* the same within that shard */
    uint32_t seen;            /* scratch memory of pil_client_validate */
    struct pil_mapping *next; /* on one of the lists below */
};

/* Mappings without references. */
struct pil_mapping_lists {
    struct pil_mapping *retired;  /* to be unmapped, slice after slice */
    struct pil_mapping *unmapped; /* the session reports them to the server and frees them */
};

/* Releases a reference and sets *mapping to NULL; the last release retires the mapping. */
void pil_mapping_release(struct pil_mapping_lists *lists, struct pil_mapping **mapping);
/* Fills the page tables of new mappings, then unmaps retired ones, in slices of at most 0.1 ms; starts no slice after
 * `duration_ns`. Returns whether work may be left. */
bool pil_mapping_work(struct pillion_client *client, uint64_t duration_ns);
/* Unmaps all retired mappings at once. */
void pil_mapping_unmap_all(struct pil_mapping_lists *lists);
