/* SPDX-License-Identifier: Apache-2.0
 * From names to descriptors. Every folder on the way is opened from its parent with O_NOFOLLOW, so that no link leads
 * out of the root. */
#include "store/directory.h"

#include "base/hash.h"
#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

enum { CHUNK_BYTES = 65536 };

pil_status pil_directory_fail(const struct pil_directory *directory, struct pil_error *error, const char *what,
                              const char *name) {
    int number = errno;
    if (number == ELOOP) {
        return pil_fail(error, PIL_STATUS_DENIED, "%s %s/%s: it is a symbolic link, and a store holds none", what,
                        directory->path, name);
    }
    return pil_fail(error, pil_status_from_errno(number), "%s %s/%s: %s", what, directory->path, name,
                    strerror(number));
}

/* Opening a link in place of a folder fails with ENOTDIR: sets errno to ELOOP if it is a link. */
static void name_the_link(int parent_fd, const char *segment) {
    struct stat status;
    if (errno == ENOTDIR && fstatat(parent_fd, segment, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode)) {
        errno = ELOOP;
    } else {
        errno = ENOTDIR;
    }
}

/* After creating a folder, fsyncs its parent: otherwise the objects in the new folder could be lost with it. */
int pil_directory_step(int parent_fd, const char *segment, bool create) {
    int fd = openat(parent_fd, segment, PIL_DIRECTORY_FOLDER_FLAGS | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT && create) {
        if (mkdirat(parent_fd, segment, 0777) == 0 ? fsync(parent_fd) != 0 : errno != EEXIST) {
            return -1;
        }
        fd = openat(parent_fd, segment, PIL_DIRECTORY_FOLDER_FLAGS | O_NOFOLLOW);
    }
    if (fd < 0 && errno == ENOTDIR) {
        name_the_link(parent_fd, segment);
    }
    return fd;
}

pil_status pil_directory_locate(const struct pil_directory *directory, const char *name, bool create,
                                struct pil_directory_object *ret_object, struct pil_error *error) {
    int fd = openat(directory->root_fd, ".", PIL_DIRECTORY_FOLDER_FLAGS);
    const char *at = name;
    for (const char *slash = strchr(at, '/'); fd >= 0 && slash != NULL; slash = strchr(at, '/')) {
        char segment[NAME_MAX + 1];
        snprintf(segment, sizeof segment, "%.*s", (int)(slash - at), at);
        int next = pil_directory_step(fd, segment, create);
        int number = errno;
        pil_sys_close(&fd);
        errno = number;
        fd = next;
        at = slash + 1;
    }
    if (fd < 0) {
        return pil_directory_fail(directory, error, create ? "make the folder of" : "open", name);
    }
    *ret_object = (struct pil_directory_object){.name = name, .leaf = at, .folder_fd = fd};
    return PIL_STATUS_OK;
}

void pil_directory_leave(struct pil_directory_object *object) {
    pil_sys_close(&object->folder_fd);
}

bool pil_directory_is_there(const struct pil_directory_object *object) {
    struct stat status;
    return fstatat(object->folder_fd, object->leaf, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Without O_NONBLOCK, opening a FIFO in place of the file would block for ever. */
pil_status pil_directory_object_open(const struct pil_directory *directory, const struct pil_directory_object *object,
                                     int *ret_fd, struct pil_error *error) {
    int fd = openat(object->folder_fd, object->leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return pil_directory_fail(directory, error, "open", object->name);
    }
    struct stat status;
    if (fstat(fd, &status) != 0) {
        pil_status failed = pil_directory_fail(directory, error, "look at", object->name);
        pil_sys_close(&fd);
        return failed;
    }
    if (!S_ISREG(status.st_mode)) {
        pil_sys_close(&fd);
        return pil_fail(error, PIL_STATUS_CORRUPT, "%s/%s is not a regular file; move it away", directory->path,
                        object->name);
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

ssize_t pil_directory_read_some(int fd, void *buffer, size_t bytes, uint64_t offset) {
    ssize_t got;
    do {
        got = pread(fd, buffer, bytes, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got;
}

static void tag_from_digest(struct pil_sha256 digest, struct pil_store_tag *ret_tag) {
    PIL_STATIC_ASSERT(sizeof ret_tag->text > PIL_SHA256_HEX_CHARS);
    memset(ret_tag, 0, sizeof *ret_tag);
    pil_hex_encode(pil_bytes_from(digest.bytes, sizeof digest.bytes), ret_tag->text);
}

void pil_directory_tag_of(struct pil_bytes content, struct pil_store_tag *ret_tag) {
    tag_from_digest(pil_hash_sha256(content), ret_tag);
}

pil_status pil_directory_read_whole(const struct pil_directory *directory, const struct pil_directory_file *file,
                                    struct pil_text *text, struct pil_store_tag *ret_tag, struct pil_error *error) {
    struct pil_sha256_stream stream;
    char chunk[CHUNK_BYTES];
    uint64_t offset = 0;
    ssize_t got;
    bool is_cancelled = false;
    pil_sha256_stream_init(&stream);
    while (!is_cancelled && (got = pil_directory_read_some(file->fd, chunk, sizeof chunk, offset)) > 0) {
        offset += (uint64_t)got;
        if (offset > file->bytes_max) {
            break;
        }
        pil_sha256_stream_update(&stream, pil_bytes_from(chunk, (size_t)got));
        if (text != NULL) {
            pil_text_append(text, chunk, (size_t)got);
        }
        is_cancelled = pil_store_is_cancelled(&directory->base);
    }
    struct pil_sha256 digest = pil_sha256_stream_finish(&stream);
    if (is_cancelled) {
        return pil_store_fail_cancelled(error);
    }
    if (text != NULL && text->failed) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory to read %s", file->name);
    }
    if (got < 0) {
        return pil_directory_fail(directory, error, "read", file->name);
    }
    if (got > 0) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "%s/%s is larger than %zu bytes", directory->path, file->name,
                        file->bytes_max);
    }
    tag_from_digest(digest, ret_tag);
    return PIL_STATUS_OK;
}
