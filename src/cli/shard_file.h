/* SPDX-License-Identifier: Apache-2.0
 * A shard's bytes in private memory, where nobody can change them after they were verified. */
#pragma once

#include "release/manifest.h"
#include "snapshot/verify.h"

struct pil_shard_file {
    uint8_t *data;
    size_t bytes;
};

/* Reads a loose file; TOO_LARGE over what a shard may have. */
pil_status pil_shard_file_read(const char *path, struct pil_shard_file *ret_file,
                               struct pil_error *ret_error) PIL_CHECKED;
/* Reads a shard out of a store. */
pil_status pil_shard_file_fetch(struct pil_store *store, const struct pil_manifest_shard *shard,
                                struct pil_shard_file *ret_file, struct pil_error *ret_error) PIL_CHECKED;
void pil_shard_file_deinit(struct pil_shard_file *file);

/* Fetches shard `index` of a release and checks every byte of it, and that it is the one that the manifest means. */
pil_status pil_shard_file_fetch_verified(struct pil_store *store, const struct pil_manifest *manifest, uint32_t index,
                                         struct pil_shard_file *ret_file, struct pil_error *ret_error) PIL_CHECKED;
