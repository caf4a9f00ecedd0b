/* SPDX-License-Identifier: Apache-2.0
 * libpillion on hostile releases: a shard with any bytes, its checksums made right, is mapped as a release, and read
 * without having been verified (client_reads.h). */
#include "fuzz/client_reads.h"

#include "base/sys.h"

#include <fcntl.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether what a client does with a granted descriptor accepts the bytes. */
static bool is_mapped(struct pil_bytes file) {
    struct pil_release *release = NULL;
    struct pil_error error;
    int fd = -1;
    PIL_ASSERT(pil_sys_memfd_create("fuzz", &fd, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_write_all(fd, file, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_memfd_seal(fd, &error) == PIL_STATUS_OK);
    bool mapped = pil_cache_release_map("0000000000000001", &fd, 1, &release, &error) == PIL_STATUS_OK;
    pil_cache_release_destroy(&release);
    pil_sys_close(&fd);
    return mapped;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct pil_superblock block;
    if (size < sizeof block) {
        return 0;
    }
    uint8_t *file = fixture_copy(pil_bytes_from(data, size));
    memcpy(&block, file, sizeof block);
    block.shard_index = block.shard_bits = 0; /* one shard is the release */
    memcpy(file, &block, sizeof block);
    fixture_repair(file, size);
    struct pil_shard shard;
    struct pil_error error;
    bool is_open = pil_shard_open(pil_bytes_from(file, size), &shard, &error) == PIL_STATUS_OK;
    PIL_ASSERT(is_open == is_mapped(pil_bytes_from(file, size)));
    if (is_open) {
        struct pil_release release = {.view = shard.view, .shards = &shard, .shard_count = 1};
        read_release(&release, false);
        pil_shard_close(&shard);
    }
    free(file);
    return 0;
}
