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

pil_status pil_directory_check_name(const char *name, struct pil_error *error) {
    if (!pil_store_name_ok(name)) {
        return pil_fail(error, PIL_STATUS_INVALID,
                        "'%.200s' is no name of an object: segments of [A-Za-z0-9._=@+-] that do not start with '.'",
                        name);
    }
    return PIL_STATUS_OK;
}

/* A link in place of a folder answers ENOTDIR; say what it is. */
static void name_the_link(int parent_fd, const char *segment) {
    struct stat status;
    if (errno == ENOTDIR && fstatat(parent_fd, segment, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode)) {
        errno = ELOOP;
    } else {
        errno = ENOTDIR;
    }
}

/* One step down. The parent is fsynced after a folder was made in it: its objects must not be lost with it. */
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

pil_status pil_directory_folder_open(const struct pil_directory *directory, const char *name, bool create, int *ret_fd,
                                     const char **ret_leaf, struct pil_error *error) {
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
    *ret_fd = fd;
    *ret_leaf = at;
    return PIL_STATUS_OK;
}

/* Without O_NONBLOCK a FIFO in the place of the file would hold us for ever. */
pil_status pil_directory_object_open_in(const struct pil_directory *directory, int folder_fd, const char *leaf,
                                        const char *name, int *ret_fd, struct pil_error *error) {
    int fd = openat(folder_fd, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return pil_directory_fail(directory, error, "open", name);
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        pil_sys_close(&fd);
        return pil_fail(error, PIL_STATUS_CORRUPT, "%s/%s is not a regular file; move it away", directory->path, name);
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

pil_status pil_directory_read_whole(const struct pil_directory *directory, int fd, const char *name, size_t bytes_max,
                                    struct pil_text *text, struct pil_store_tag *ret_tag, struct pil_error *error) {
    struct pil_sha256_stream *stream = pil_sha256_stream_create();
    char chunk[CHUNK_BYTES];
    uint64_t offset = 0;
    ssize_t got;
    while ((got = pil_directory_read_some(fd, chunk, sizeof chunk, offset)) > 0) {
        offset += (uint64_t)got;
        if (offset > bytes_max) {
            break;
        }
        pil_sha256_stream_update(stream, pil_bytes_from(chunk, (size_t)got));
        if (text != NULL) {
            pil_text_append(text, chunk, (size_t)got);
        }
    }
    int number = errno;
    struct pil_sha256 digest = pil_sha256_stream_finish(&stream);
    errno = number;
    if (got < 0) {
        return pil_directory_fail(directory, error, "read", name);
    }
    if (got > 0) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "%s/%s is larger than %zu bytes", directory->path, name,
                        bytes_max);
    }
    tag_from_digest(digest, ret_tag);
    return PIL_STATUS_OK;
}

bool pil_directory_prefix_ok(const char *prefix) {
    char name[PIL_STORE_NAME_BYTES];
    size_t len = strlen(prefix);
    if (len == 0) {
        return true;
    }
    if (len >= sizeof name || prefix[len - 1] != '/') {
        return false;
    }
    memcpy(name, prefix, len - 1);
    name[len - 1] = '\0';
    return pil_store_name_ok(name);
}
