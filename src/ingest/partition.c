/* SPDX-License-Identifier: Apache-2.0
 * The buffer is one mapping, cut into blocks. A partition is a chain of blocks and, after the buffer has been full, a
 * list of extents in the file. A full buffer is written out whole, partition by partition: long sequential writes, one
 * extent each. */
#include "ingest/partition.h"
#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLOCK_BYTES = 16 << 10, VECTOR_MAX = 256, RECORD_BYTES_MAX = 1 << 30 };

struct block {
    struct block *next;
    size_t capacity; /* of data; larger than usual in a block for one large record, which is mapped separately */
    size_t used;
    uint8_t data[];
};
enum { BLOCK_DATA_BYTES = BLOCK_BYTES - sizeof(struct block) };

struct extent {
    uint64_t offset;
    uint64_t bytes;
};

struct partition {
    struct block *head, *tail;
    struct extent *extents;
    uint32_t extent_count, extent_capacity;
    uint64_t bytes;
    uint64_t records;
};

struct pil_partitions {
    struct pil_budget *budget;
    char *temporary;
    uint8_t *buffer;
    size_t buffer_bytes; /* size of the mapping; memory is used, and taken from the budget, only up to buffer_used */
    size_t buffer_used;
    size_t large_bytes; /* of the separately mapped blocks; they count against buffer_bytes, too */
    struct block *free;
    int file; /* -1: nothing was spilled */
    uint64_t file_end;
    struct partition partitions[PIL_PARTITION_COUNT];
};

/* ---- Life */

pil_status pil_partitions_create(struct pil_budget *budget, size_t buffer_bytes, const char *temporary,
                                 struct pil_partitions **ret_partitions, struct pil_error *ret_error) {
    struct pil_partitions *all = calloc(1, sizeof *all);
    char *folder = strdup(temporary);
    void *buffer = mmap(NULL, buffer_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == NULL || folder == NULL || buffer == MAP_FAILED) {
        free(all);
        free(folder);
        if (buffer != MAP_FAILED) {
            munmap(buffer, buffer_bytes);
        }
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a buffer of %zu bytes", buffer_bytes);
    }
    *all = (struct pil_partitions){
        .budget = budget, .temporary = folder, .buffer = buffer, .buffer_bytes = buffer_bytes, .file = -1};
    *ret_partitions = all;
    return PIL_STATUS_OK;
}

static void release_block(struct pil_partitions *all, struct block *block) {
    if (block->capacity > BLOCK_DATA_BYTES) {
        size_t bytes = block->capacity + sizeof *block;
        all->large_bytes -= bytes;
        pil_budget_unmap(all->budget, block, bytes);
        return;
    }
    block->next = all->free;
    all->free = block;
}

static void release_blocks(struct pil_partitions *all, struct partition *partition) {
    for (struct block *block = partition->head, *next; block != NULL; block = next) {
        next = block->next;
        release_block(all, block);
    }
    partition->head = partition->tail = NULL;
}

static void release_buffer(struct pil_partitions *all) {
    for (uint32_t i = 0; i < PIL_PARTITION_COUNT; i++) {
        release_blocks(all, &all->partitions[i]);
    }
    if (all->buffer != NULL) {
        munmap(all->buffer, all->buffer_bytes);
        pil_budget_give(all->budget, all->buffer_used);
    }
    all->buffer = NULL;
    all->free = NULL;
}

void pil_partitions_destroy(struct pil_partitions **partitions) {
    struct pil_partitions *all = *partitions;
    *partitions = NULL;
    if (all == NULL) {
        return;
    }
    release_buffer(all);
    for (uint32_t i = 0; i < PIL_PARTITION_COUNT; i++) {
        free(all->partitions[i].extents);
    }
    pil_sys_close(&all->file);
    free(all->temporary);
    free(all);
}

/* ---- The file */

static pil_status fail_file(const struct pil_partitions *all, const char *what, struct pil_error *ret_error) {
    int number = errno;
    pil_status status = pil_status_from_errno(number);
    return pil_fail(ret_error, status == PIL_STATUS_NO_SPACE ? status : PIL_STATUS_IO,
                    "cannot %s temporary file in %s: %s", what, all->temporary, strerror(number));
}

static pil_status open_file(struct pil_partitions *all, struct pil_error *ret_error) {
    all->file = open(all->temporary, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (all->file >= 0) {
        return PIL_STATUS_OK;
    }
    /* File systems without O_TMPFILE (NFS, old overlayfs): create a file and unlink its name at once. */
    char *name = NULL;
    if (asprintf(&name, "%s/pillion-build-XXXXXX", all->temporary) < 0) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory");
    }
    all->file = mkostemp(name, O_CLOEXEC);
    if (all->file < 0) {
        pil_status status = fail_file(all, "make a", ret_error);
        free(name);
        return status;
    }
    unlink(name);
    free(name);
    return PIL_STATUS_OK;
}

static pil_status add_extent(struct partition *partition, struct extent extent, struct pil_error *ret_error) {
    if (partition->extent_count == partition->extent_capacity) {
        uint32_t capacity = partition->extent_capacity == 0 ? 4 : 2 * partition->extent_capacity;
        struct extent *grown = realloc(partition->extents, capacity * sizeof *grown);
        if (grown == NULL) {
            return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the list of extents");
        }
        partition->extents = grown;
        partition->extent_capacity = capacity;
    }
    partition->extents[partition->extent_count++] = extent;
    return PIL_STATUS_OK;
}

static pil_status write_vectors(struct pil_partitions *all, struct iovec *vectors, int count,
                                struct pil_error *ret_error) {
    for (int at = 0; at < count;) {
        ssize_t wrote = pwritev(all->file, vectors + at, count - at, (off_t)all->file_end);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0) {
            return fail_file(all, "write the", ret_error);
        }
        all->file_end += (uint64_t)wrote;
        for (size_t rest = (size_t)wrote; at < count && rest >= vectors[at].iov_len; at++) {
            rest -= vectors[at].iov_len;
            wrote = (ssize_t)rest;
        }
        if (at < count) {
            vectors[at].iov_base = (uint8_t *)vectors[at].iov_base + wrote;
            vectors[at].iov_len -= (size_t)wrote;
        }
    }
    return PIL_STATUS_OK;
}

static pil_status flush_partition(struct pil_partitions *all, struct partition *partition,
                                  struct pil_error *ret_error) {
    struct iovec vectors[VECTOR_MAX];
    struct extent extent = {.offset = all->file_end};
    for (struct block *block = partition->head; block != NULL;) {
        int count = 0;
        for (; block != NULL && count < VECTOR_MAX; block = block->next) {
            vectors[count++] = (struct iovec){.iov_base = block->data, .iov_len = block->used};
            extent.bytes += block->used;
        }
        PIL_TRY(write_vectors(all, vectors, count, ret_error));
    }
    release_blocks(all, partition);
    return extent.bytes > 0 ? add_extent(partition, extent, ret_error) : PIL_STATUS_OK;
}

static pil_status flush(struct pil_partitions *all, struct pil_error *ret_error) {
    if (all->file < 0) {
        PIL_TRY(open_file(all, ret_error));
    }
    for (uint32_t i = 0; i < PIL_PARTITION_COUNT; i++) {
        PIL_TRY(flush_partition(all, &all->partitions[i], ret_error));
    }
    return PIL_STATUS_OK;
}

/* ---- Appending */

/* NULL when the buffer or the budget has no room. */
static struct block *take_block(struct pil_partitions *all, uint64_t bytes) {
    size_t whole = sizeof(struct block) + bytes;
    struct block *block = NULL;
    if (bytes > BLOCK_DATA_BYTES) {
        bool room = all->buffer_used + all->large_bytes + whole <= all->buffer_bytes;
        block = room ? pil_budget_map(all->budget, whole) : NULL;
        if (block != NULL) {
            all->large_bytes += whole;
            block->capacity = bytes;
        }
        return block;
    }
    if (all->free != NULL) {
        block = all->free;
        all->free = block->next;
    } else if (all->buffer_used + all->large_bytes + BLOCK_BYTES <= all->buffer_bytes &&
               pil_budget_take(all->budget, BLOCK_BYTES)) {
        block = (struct block *)(void *)(all->buffer + all->buffer_used);
        all->buffer_used += BLOCK_BYTES;
    }
    if (block != NULL) {
        *block = (struct block){.capacity = BLOCK_DATA_BYTES};
    }
    return block;
}

static pil_status grow(struct pil_partitions *all, struct partition *partition, uint64_t bytes,
                       struct pil_error *ret_error) {
    if (bytes > all->buffer_bytes / 8 || bytes > RECORD_BYTES_MAX) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE,
                        "a row of %llu bytes does not go with the memory limit of %zu MiB; raise it",
                        (unsigned long long)bytes, pil_budget_limit_mib(all->budget));
    }
    struct block *block = take_block(all, bytes);
    if (block == NULL) {
        PIL_TRY(flush(all, ret_error));
        block = take_block(all, bytes);
    }
    if (block == NULL && bytes > BLOCK_DATA_BYTES) {
        /* Free blocks of the usual size occupy the memory: return it to the system. */
        release_buffer(all);
        all->buffer_used = 0;
        all->buffer =
            mmap(NULL, all->buffer_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (all->buffer == MAP_FAILED) {
            all->buffer = NULL;
            return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a buffer of %zu bytes", all->buffer_bytes);
        }
        block = take_block(all, bytes);
    }
    if (block == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a row of %llu bytes",
                        (unsigned long long)bytes);
    }
    if (partition->tail != NULL) {
        partition->tail->next = block;
    } else {
        partition->head = block;
    }
    partition->tail = block;
    return PIL_STATUS_OK;
}

pil_status pil_partitions_append(struct pil_partitions *all, uint64_t hash, uint64_t bytes,
                                 struct pil_record **ret_record, struct pil_error *ret_error) {
    PIL_ASSERT(bytes % 8 == 0 && all->buffer != NULL);
    struct partition *partition = &all->partitions[hash >> (64 - PIL_PARTITION_BITS)];
    if (partition->tail == NULL || partition->tail->capacity - partition->tail->used < bytes) {
        PIL_TRY(grow(all, partition, bytes, ret_error));
    }
    struct pil_record *record = (struct pil_record *)(void *)(partition->tail->data + partition->tail->used);
    partition->tail->used += bytes;
    partition->bytes += bytes;
    partition->records++;
    *record = (struct pil_record){.hash = hash, .bytes = (uint32_t)bytes};
    *ret_record = record;
    return PIL_STATUS_OK;
}

pil_status pil_partitions_seal(struct pil_partitions *all, struct pil_error *ret_error) {
    if (all->file >= 0) {
        PIL_TRY(flush(all, ret_error));
        release_buffer(all);
    }
    return PIL_STATUS_OK;
}

/* ---- Reading */

bool pil_partitions_in_memory(const struct pil_partitions *all) {
    return all->file < 0;
}

uint64_t pil_partitions_bytes_spilled(const struct pil_partitions *all) {
    return all->file_end;
}

uint64_t pil_partition_bytes(const struct pil_partitions *all, uint32_t partition) {
    return all->partitions[partition].bytes;
}

uint64_t pil_partition_records(const struct pil_partitions *all, uint32_t partition) {
    return all->partitions[partition].records;
}

struct pil_record *pil_partition_next(struct pil_partitions *all, uint32_t partition,
                                      struct pil_partition_cursor *cursor) {
    struct block *block = cursor->block;
    if (block == NULL) {
        block = all->partitions[partition].head;
    } else if (cursor->at == block->used) {
        block = block->next;
        cursor->at = 0;
    }
    if (block == NULL) {
        return NULL;
    }
    struct pil_record *record = (struct pil_record *)(void *)(block->data + cursor->at);
    cursor->block = block;
    cursor->at += record->bytes;
    return record;
}

pil_status pil_partition_read(const struct pil_partitions *all, uint32_t partition, uint64_t offset, uint8_t *buffer,
                              size_t len, struct pil_error *ret_error) {
    const struct partition *from = &all->partitions[partition];
    PIL_ASSERT(offset + len <= from->bytes);
    for (uint32_t i = 0; i < from->extent_count && len > 0; i++) {
        const struct extent *extent = &from->extents[i];
        if (offset >= extent->bytes) {
            offset -= extent->bytes;
            continue;
        }
        while (offset < extent->bytes && len > 0) {
            size_t part = len < extent->bytes - offset ? len : extent->bytes - offset;
            ssize_t got = pread(all->file, buffer, part, (off_t)(extent->offset + offset));
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got <= 0) {
                errno = got < 0 ? errno : EIO;
                return fail_file(all, "read the", ret_error);
            }
            buffer += got;
            len -= (size_t)got;
            offset += (uint64_t)got;
        }
        offset = 0;
    }
    return PIL_STATUS_OK;
}

pil_status pil_partition_replace(struct pil_partitions *all, uint32_t partition, struct pil_bytes content,
                                 uint64_t records, struct pil_error *ret_error) {
    PIL_ASSERT(all->file >= 0);
    struct partition *old = &all->partitions[partition];
    for (uint32_t i = 0; i < old->extent_count; i++) {
        /* Best effort: this only keeps the file small. */
        (void)fallocate(all->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)old->extents[i].offset,
                        (off_t)old->extents[i].bytes);
    }
    struct extent extent = {.offset = all->file_end, .bytes = content.len};
    struct iovec vector = {.iov_base = (void *)(uintptr_t)content.data, .iov_len = content.len};
    old->extent_count = 0;
    old->bytes = content.len;
    old->records = records;
    if (content.len == 0) {
        return PIL_STATUS_OK;
    }
    PIL_TRY(write_vectors(all, &vector, 1, ret_error));
    return add_extent(old, extent, ret_error);
}
