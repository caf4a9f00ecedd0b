/* SPDX-License-Identifier: Apache-2.0
 * The bytes of a shard in private memory, where no other process can change them after they were verified. */
#pragma once

#include "release/manifest.h"
#include "snapshot/verify.h"

struct pil_shard_file {
    uint8_t *data;
    size_t bytes;
};

/* Reads a loose file. INVALID: not a regular file. NO_MEMORY: also if it is larger than any shard. Owns: the caller. */
pil_status pil_shard_file_read(const char *path, struct pil_shard_file *ret_file,
                               struct pil_error *ret_error) PIL_CHECKED;
/* Reads a shard from a store. Owns: the caller. */
pil_status pil_shard_file_fetch(struct pil_store *store, const struct pil_manifest_shard *shard,
                                struct pil_shard_file *ret_file, struct pil_error *ret_error) PIL_CHECKED;
void pil_shard_file_deinit(struct pil_shard_file *file);

/* Fetches shard `index` of a release, checks every byte, and checks that it is the shard that the manifest describes.
 * Owns: the caller. */
pil_status pil_shard_file_fetch_verified(struct pil_store *store, const struct pil_manifest *manifest, uint32_t index,
                                         struct pil_shard_file *ret_file, struct pil_error *ret_error) PIL_CHECKED;
