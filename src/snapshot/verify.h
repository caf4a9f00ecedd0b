/* SPDX-License-Identifier: Apache-2.0
 * Every byte of a shard is hostile until pil_verify has passed. It must run on a private copy (a memfd before sealing,
 * a file that only we can write) and finish before the shard is published. Rules: schemas/snapshot.md, "What a verifier
 * checks". */
#pragma once

#include "snapshot/reader.h"

/* The place of a shard in its release, as the release's manifest says. */
struct pil_verify_place {
    uint32_t shard_index, shard_count;
    uint64_t row_count;
};

struct pil_verify_options {
    const struct pil_sha256 *id;          /* expected shard id; NULL: not compared (a loose file) */
    const struct pil_view *view;          /* expected schema; NULL: any valid one */
    struct pil_bytes schema;              /* bytes of section SCHEMA for `view`, to save parsing; empty: unknown */
    const struct pil_verify_place *place; /* expected place; NULL: any, but all keys belong to one (a loose file) */
    /* Called after each block with the bytes done, from the calling thread; may be NULL. */
    void (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_total);
    void *progress_context;
};

/* Checks: structure (pil_shard_open), block sums, range hashes, id, every padding byte zero, and the deep scan: each
 * row is where its key's hash says, its references lie in the heap, empty slots are zero but for the event timestamp,
 * counts and min/max and content digest agree. OK, CORRUPT (message with section and offset), UNSUPPORTED, TOO_LARGE.
 * Cost: one pass, no allocation that grows with the file; about 1 GB/s per core, half of the time SHA-256. */
pil_status pil_verify(struct pil_bytes file, const struct pil_verify_options *options,
                      struct pil_error *ret_error) PIL_CHECKED;
/* Compares the place that a shard claims with the expected one, by its first PIL_FORMAT_SUPERBLOCK_BYTES bytes: for
 * those who look before the shard is loaded. Whether its keys belong there, only pil_verify says. Errors as there. */
pil_status pil_verify_place(const uint8_t superblock[PIL_FORMAT_SUPERBLOCK_BYTES], uint64_t file_bytes,
                            const struct pil_verify_place *place, struct pil_error *ret_error) PIL_CHECKED;
