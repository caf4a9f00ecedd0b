/* SPDX-License-Identifier: Apache-2.0
 * A manifest: the description of one release. JSON, immutable once put; schemas/manifest.schema.json.
 * release id = first 16 hex digits of SHA-256 over the lines "project/view", canonical schema JSON, and each shard id
 * in hex in shard order: the same rows with the same schema are the same release, whenever and from whichever files
 * they were built. */
#pragma once

#include "release/layout.h"
#include "snapshot/verify.h"
#include "schema/view.h"

#include <jansson.h>

struct pil_manifest_shard {
    struct pil_sha256 id;
    uint64_t bytes;
    uint64_t row_count;
};

struct pil_manifest {
    struct pil_release_ref ref;
    struct pil_view *view;             /* owned: the schema */
    struct pil_manifest_shard *shards; /* 2^shard_bits of them, in order of shard index */
    uint32_t shard_count;
    uint64_t row_count;
    uint64_t bytes;
    int64_t created_us;
    char previous[PIL_RELEASE_ID_CHARS + 1]; /* "" when none */
    struct pil_text schema;                  /* owned: only of a parsed manifest; the text that the shards contain */
    json_t *document;                        /* owned: the whole manifest with profile, sources, counts, builder */
};

/* Computes the release id from schema and shards. NO_MEMORY. */
pil_status pil_manifest_identify(const struct pil_view *view, const struct pil_manifest_shard *shards,
                                 uint32_t shard_count, char ret_release[PIL_RELEASE_ID_CHARS + 1],
                                 struct pil_error *ret_error) PIL_CHECKED;

/* The document: the required members from `manifest`, which override those of `extra`, and `extra`'s other members
 * ("profile", "sources", "counts", "builder", …); `extra` may be NULL. NULL when memory is short. Owns: caller. */
json_t *pil_manifest_to_json(const struct pil_manifest *manifest, const json_t *extra);
/* Parses hostile text: checks every bound and name, and recomputes the release id (CORRUPT if it differs). */
pil_status pil_manifest_parse(struct pil_bytes text, struct pil_manifest **ret_manifest,
                              struct pil_error *ret_error) PIL_CHECKED;
void pil_manifest_destroy(struct pil_manifest **manifest);

/* Reads and parses a release's manifest; NOT_FOUND names the release. */
pil_status pil_manifest_read(struct pil_store *store, const struct pil_release_ref *ref,
                             struct pil_manifest **ret_manifest, struct pil_error *ret_error) PIL_CHECKED;
/* The place that a shard of the manifest must have. */
struct pil_verify_place pil_manifest_place(const struct pil_manifest *manifest, uint32_t shard_index);
/* Checks that all shards are in the store, with the right sizes, and say that they are in their places. IO: the message
 * names one that is not there or has another size. CORRUPT: one that is another shard. Cost: 4 KiB of each shard. */
pil_status pil_manifest_check_shards(struct pil_store *store, const struct pil_manifest *manifest,
                                     struct pil_error *ret_error) PIL_CHECKED;
/* Puts manifest->document (if NULL, the required members) once all its shards are in the store (IO: the message names a
 * missing one). EXISTS: the same release is there already, which is fine; it is not changed. If a collector may run at
 * the same time, the caller must hold leases on the manifest and its shards (release/lease.h). */
pil_status pil_manifest_publish(struct pil_store *store, const struct pil_manifest *manifest,
                                struct pil_error *ret_error) PIL_CHECKED;
