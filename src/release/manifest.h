/* SPDX-License-Identifier: Apache-2.0
 * A manifest: what one release is. JSON, immutable once put; schemas/manifest.schema.json.
 * release id = first 16 hex digits of SHA-256 over the lines "project/view", canonical schema JSON, and each shard id
 * in hex in shard order: the same rows under the same schema are the same release, whenever and from whatever files
 * they were built. */
#pragma once

#include "release/layout.h"
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
    struct pil_text schema;                  /* owned: of a parsed manifest, as the shards have it */
    json_t *document;                        /* owned: the whole manifest with profile, sources, counts, builder */
};

/* Computes the release id of (schema, shards). NO_MEMORY. */
pil_status pil_manifest_identify(const struct pil_view *view, const struct pil_manifest_shard *shards,
                                 uint32_t shard_count, char ret_release[PIL_RELEASE_ID_CHARS + 1],
                                 struct pil_error *ret_error) PIL_CHECKED;

/* The document: required members from `manifest`, then `extra`'s members ("profile", "sources", "counts", "builder", …)
 * beside them. Canonical text. NULL: no memory. Owns: caller. */
json_t *pil_manifest_to_json(const struct pil_manifest *manifest, const json_t *extra);
/* Hostile text in; every bound and name checked, the release id recomputed (CORRUPT when it differs). */
pil_status pil_manifest_parse(struct pil_bytes text, struct pil_manifest **ret_manifest,
                              struct pil_error *ret_error) PIL_CHECKED;
void pil_manifest_destroy(struct pil_manifest **manifest);

/* Reads and parses a release's manifest; NOT_FOUND names the release. */
pil_status pil_manifest_read(struct pil_store *store, const struct pil_release_ref *ref,
                             struct pil_manifest **ret_manifest, struct pil_error *ret_error) PIL_CHECKED;
/* Whether all its shards are in the store, with their sizes; IO names one that is not. */
pil_status pil_manifest_check_shards(struct pil_store *store, const struct pil_manifest *manifest,
                                     struct pil_error *ret_error) PIL_CHECKED;
/* Puts `document` (when NULL: the required members), when all its shards are there (IO names a missing one). EXISTS:
 * the same release is there already, which is fine; it stays as it is. The caller has leases on the manifest and its
 * shards (release/lease.h) where a collector may run meanwhile. */
pil_status pil_manifest_publish(struct pil_store *store, const struct pil_manifest *manifest,
                                struct pil_error *ret_error) PIL_CHECKED;
