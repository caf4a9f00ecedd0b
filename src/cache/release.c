/* SPDX-License-Identifier: Apache-2.0
 * Mapping and unmapping the sealed shards of one release. */
#include "cache/release.h"
#include "base/panic.h"
#include "base/sys.h"

#include <stdlib.h>
#include <sys/mman.h>

/* The descriptor must be sealed: only then are the mapped bytes the verified ones, whatever other holders of the
 * descriptor do. */
static pil_status map_shard(int fd, const struct pil_shard_schema *known, struct pil_shard *ret_shard,
                            struct pil_error *ret_error) {
    size_t bytes = 0;
    void *data = NULL;
    struct pil_shard shard;
    PIL_TRY(pil_sys_memfd_size(fd, &bytes, ret_error));
    PIL_TRY(pil_sys_map_aligned(fd, bytes, &data, ret_error));
    pil_status status = pil_shard_open_known(pil_bytes_from(data, bytes), known, &shard, ret_error);
    if (status != PIL_STATUS_OK) {
        munmap(data, bytes);
        return status;
    }
    *ret_shard = shard;
    return PIL_STATUS_OK;
}

static pil_status check_shard(const struct pil_release *release, const struct pil_shard *shard, uint32_t index,
                              struct pil_error *ret_error) {
    if (shard->superblock->shard_index != index || shard->superblock->shard_bits != release->shard_bits) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "it says that it is shard %u of 2^%u",
                        shard->superblock->shard_index, shard->superblock->shard_bits);
    }
    if (shard->view != release->shards[0].view) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "its schema differs from that of shard 0");
    }
    return PIL_STATUS_OK;
}

/* A release without shards yet; NULL when memory is short. */
static struct pil_release *create(const char *id, uint32_t shard_count, uint32_t shard_bits) {
    struct pil_release *release = calloc(1, sizeof *release);
    struct pil_shard *shards = calloc(shard_count, sizeof shards[0]);
    if (release == NULL || shards == NULL) {
        free(release);
        free(shards);
        return NULL;
    }
    release->magic = PIL_RELEASE_MAGIC;
    memcpy(release->id, id, strlen(id) + 1);
    release->shard_bits = shard_bits;
    release->shards = shards;
    release->event_ts_us_min = INT64_MAX;
    release->event_ts_us_max = INT64_MIN;
    return release;
}

pil_status pil_cache_release_map(const char *release_id, const int *fds, uint32_t shard_count,
                                 struct pil_release **ret_release, struct pil_error *ret_error) {
    uint32_t bits = shard_count == 0 ? 0 : (uint32_t)__builtin_ctz(shard_count);
    if (shard_count == 0 || shard_count != 1u << bits || bits > PIL_SHARD_BITS_MAX ||
        strlen(release_id) > PIL_RELEASE_ID_CHARS) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "release %s of %u shards", release_id, shard_count);
    }
    struct pil_release *release = create(release_id, shard_count, bits);
    if (release == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "release %s of %u shards: no memory", release_id, shard_count);
    }
    for (uint32_t i = 0; i < shard_count; i++) {
        struct pil_shard *shard = &release->shards[i];
        const struct pil_shard_schema known =
            i > 0 ? pil_shard_schema_of(&release->shards[0]) : (struct pil_shard_schema){0};
        pil_status status = map_shard(fds[i], i > 0 ? &known : NULL, shard, ret_error);
        if (status == PIL_STATUS_OK) {
            release->shard_count++;
            status = check_shard(release, shard, i, ret_error);
        }
        if (status != PIL_STATUS_OK) {
            pil_cache_release_destroy(&release);
            return pil_fail_in(ret_error, status, "release %s, shard %u", release_id, i);
        }
        release->row_count += shard->superblock->row_count;
        release->bytes += shard->file.len;
        if (shard->superblock->event_ts_us_min < release->event_ts_us_min) {
            release->event_ts_us_min = shard->superblock->event_ts_us_min;
        }
        if (shard->superblock->event_ts_us_max > release->event_ts_us_max) {
            release->event_ts_us_max = shard->superblock->event_ts_us_max;
        }
    }
    release->view = release->shards[0].view;
    *ret_release = release;
    return PIL_STATUS_OK;
}

uint64_t pil_cache_release_prefault(const struct pil_release *release, uint32_t shard_index, uint64_t offset,
                                    uint64_t bytes_max) {
    PIL_ASSERT(shard_index < release->shard_count);
    struct pil_bytes file = release->shards[shard_index].file;
    PIL_ASSERT(offset <= file.len);
    uint64_t left = file.len - offset, bytes = left < bytes_max ? left : bytes_max;
    return madvise((void *)(uintptr_t)(file.data + offset), bytes, MADV_POPULATE_READ) == 0 ? bytes : 0;
}

uint64_t pil_cache_release_touch(const struct pil_release *release, uint32_t shard_index, uint64_t offset,
                                 uint64_t bytes_max) {
    PIL_ASSERT(shard_index < release->shard_count);
    struct pil_bytes file = release->shards[shard_index].file;
    PIL_ASSERT(offset <= file.len);
    uint64_t left = file.len - offset, bytes = left < bytes_max ? left : bytes_max;
    for (uint64_t at = offset; at < offset + bytes; at += 4096) {
        (void)*(const volatile uint8_t *)(file.data + at);
    }
    return bytes;
}

/* Unmaps from the end down to a huge-page boundary, so that the kernel need not split a huge page. */
uint64_t pil_cache_release_unmap_slice(struct pil_release *release, uint64_t bytes_max) {
    PIL_ASSERT(release->magic == PIL_RELEASE_MAGIC && release->shard_count > 0 && bytes_max >= 4096);
    struct pil_shard *shard = &release->shards[release->shard_count - 1];
    uint64_t end = release->unmap_offset != 0 ? release->unmap_offset : pil_align_up(shard->file.len, 4096);
    uint64_t slice = end - (end - 1) / PIL_SYS_HUGE_PAGE_BYTES * PIL_SYS_HUGE_PAGE_BYTES;
    uint64_t bytes = slice < bytes_max ? slice : bytes_max & ~4095ull;
    int result = munmap((void *)(uintptr_t)(shard->file.data + (end - bytes)), bytes);
    PIL_ASSERT(result == 0);
    release->unmap_offset = end - bytes;
    if (release->unmap_offset == 0) {
        pil_shard_close(shard);
        release->shard_count--;
    }
    return bytes;
}

void pil_cache_release_destroy(struct pil_release **release_pointer) {
    struct pil_release *release = *release_pointer;
    if (release == NULL) {
        return;
    }
    PIL_ASSERT(release->magic == PIL_RELEASE_MAGIC);
    for (uint32_t i = 0; i < release->shard_count; i++) {
        struct pil_bytes file = release->shards[i].file;
        bool is_partly_unmapped = i == release->shard_count - 1 && release->unmap_offset != 0;
        pil_shard_close(&release->shards[i]);
        munmap((void *)(uintptr_t)file.data, is_partly_unmapped ? release->unmap_offset : file.len);
    }
    free(release->shards);
    release->magic = 0;
    free(release);
    *release_pointer = NULL;
}

bool pil_cache_release_time(const struct pil_release *live, struct pil_bytes id, int64_t *ret_created_us) {
    if (pil_bytes_equal_text(id, live->id)) {
        *ret_created_us = live->created_us;
        return true;
    }
    for (uint32_t i = 0; i < PIL_RELEASE_HISTORY_MAX && live->history[i].id[0] != '\0'; i++) {
        if (pil_bytes_equal_text(id, live->history[i].id)) {
            *ret_created_us = live->history[i].created_us;
            return true;
        }
    }
    return false;
}
