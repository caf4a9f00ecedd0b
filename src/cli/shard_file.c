/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/shard_file.h"

#include "base/sys.h"
#include "release/shard_io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t file_bytes_max = 1ull << 42;

static pil_status map(uint64_t bytes, struct pil_shard_file *ret_file, struct pil_error *error) {
    size_t len = bytes > 0 ? (size_t)bytes : 1; /* mmap refuses 0 */
    void *data = bytes <= file_bytes_max
                     ? mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                     : MAP_FAILED;
    if (data == MAP_FAILED) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a shard of %llu bytes", (unsigned long long)bytes);
    }
    *ret_file = (struct pil_shard_file){.data = data, .bytes = (size_t)bytes};
    return PIL_STATUS_OK;
}

void pil_shard_file_deinit(struct pil_shard_file *file) {
    if (file->data != NULL) {
        munmap(file->data, file->bytes > 0 ? file->bytes : 1);
    }
    *file = (struct pil_shard_file){0};
}

static pil_status read_fd(int fd, const char *path, struct pil_shard_file *file, struct pil_error *error) {
    for (size_t done = 0; done < file->bytes;) {
        ssize_t got = read(fd, file->data + done, file->bytes - done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return pil_fail(error, PIL_STATUS_IO, "read %s: %s", path, got < 0 ? strerror(errno) : "it became shorter");
        }
        done += (size_t)got;
    }
    return PIL_STATUS_OK;
}

pil_status pil_shard_file_read(const char *path, struct pil_shard_file *ret_file, struct pil_error *ret_error) {
    struct stat file_status;
    struct pil_shard_file file = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &file_status) != 0) {
        int number = errno;
        pil_sys_close(&fd);
        return pil_fail(ret_error, pil_status_from_errno(number), "open %s: %s", path, strerror(number));
    }
    pil_status status = S_ISREG(file_status.st_mode)
                            ? map((uint64_t)file_status.st_size, &file, ret_error)
                            : pil_fail(ret_error, PIL_STATUS_INVALID, "%s is not a regular file", path);
    if (status == PIL_STATUS_OK) {
        status = read_fd(fd, path, &file, ret_error);
    }
    pil_sys_close(&fd);
    if (status != PIL_STATUS_OK) {
        pil_shard_file_deinit(&file);
        return status;
    }
    *ret_file = file;
    return PIL_STATUS_OK;
}

pil_status pil_shard_file_fetch(struct pil_store *store, const struct pil_manifest_shard *shard,
                                struct pil_shard_file *ret_file, struct pil_error *ret_error) {
    struct pil_shard_file file;
    PIL_TRY(map(shard->bytes, &file, ret_error));
    pil_status status = pil_shard_io_read(store, shard, file.data, NULL, NULL, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_shard_file_deinit(&file);
        return status;
    }
    *ret_file = file;
    return PIL_STATUS_OK;
}

pil_status pil_shard_file_fetch_verified(struct pil_store *store, const struct pil_manifest *manifest, uint32_t index,
                                         struct pil_shard_file *ret_file, struct pil_error *ret_error) {
    const struct pil_verify_place place = pil_manifest_place(manifest, index);
    const struct pil_verify_options options = {.id = &manifest->shards[index].id,
                                               .view = manifest->view,
                                               .schema = pil_text_bytes(&manifest->schema),
                                               .place = &place};
    struct pil_shard_file file;
    char name[PIL_STORE_NAME_BYTES];
    PIL_TRY(pil_shard_file_fetch(store, &manifest->shards[index], &file, ret_error));
    pil_status status = pil_verify(pil_bytes_from(file.data, file.bytes), &options, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_shard_file_deinit(&file);
        pil_layout_shard(&manifest->shards[index].id, name);
        return pil_fail_in(ret_error, status, "%s", name);
    }
    *ret_file = file;
    return PIL_STATUS_OK;
}
