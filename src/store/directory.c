/* SPDX-License-Identifier: Apache-2.0
 * A folder as a store: opening, reading, watching. An object is a file (schemas/store.md, "A directory"). Versions
 * (tags) are SHA-256 of the content; what changes by compare-and-swap carries a nonce, so equal tags mean equal
 * versions. Writing is in directory_put.c, listing in directory_list.c, names in directory_path.c. */
#include "store/directory.h"

#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <unistd.h>

static pil_status object_open(const struct pil_directory *directory, const char *name, int *ret_fd,
                              struct pil_error *error) {
    int folder_fd;
    const char *leaf;
    PIL_TRY(pil_directory_check_name(name, error));
    PIL_TRY(pil_directory_folder_open(directory, name, false, &folder_fd, &leaf, error));
    pil_status status = pil_directory_object_open_in(directory, folder_fd, leaf, name, ret_fd, error);
    pil_sys_close(&folder_fd);
    return status;
}

static pil_status directory_get_range(struct pil_store *store, const char *name, uint64_t offset, uint8_t *buffer,
                                      size_t buffer_bytes, size_t *ret_len, struct pil_error *ret_error) {
    struct pil_directory *directory = pil_directory_of(store);
    int fd;
    if (offset > INT64_MAX) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%s: no file has an offset %llu", name,
                        (unsigned long long)offset);
    }
    PIL_TRY(object_open(directory, name, &fd, ret_error));
    size_t len = 0;
    ssize_t got = 1;
    while (len < buffer_bytes && got > 0) {
        got = pil_directory_read_some(fd, buffer + len, buffer_bytes - len, offset + len);
        len += got > 0 ? (size_t)got : 0;
    }
    pil_status status = got < 0 ? pil_directory_fail(directory, ret_error, "read", name) : PIL_STATUS_OK;
    pil_sys_close(&fd);
    if (status == PIL_STATUS_OK) {
        *ret_len = len;
    }
    return status;
}

static pil_status directory_stat(struct pil_store *store, const char *name, uint64_t *ret_bytes,
                                 struct pil_store_tag *ret_tag, struct pil_error *ret_error) {
    struct pil_directory *directory = pil_directory_of(store);
    int fd;
    struct stat file = {0};
    PIL_TRY(object_open(directory, name, &fd, ret_error));
    pil_status status =
        fstat(fd, &file) == 0 ? PIL_STATUS_OK : pil_directory_fail(directory, ret_error, "look at", name);
    if (status == PIL_STATUS_OK && ret_tag != NULL) {
        status = pil_directory_read_whole(directory, fd, name, SIZE_MAX, NULL, ret_tag, ret_error);
    }
    pil_sys_close(&fd);
    if (status == PIL_STATUS_OK) {
        *ret_bytes = (uint64_t)file.st_size;
    }
    return status;
}

static pil_status directory_get(struct pil_store *store, const char *name, size_t bytes_max,
                                struct pil_text *ret_content, struct pil_store_tag *ret_tag,
                                struct pil_error *ret_error) {
    struct pil_directory *directory = pil_directory_of(store);
    struct pil_text content = {0};
    struct pil_store_tag tag;
    int fd;
    PIL_TRY(object_open(directory, name, &fd, ret_error));
    pil_text_append(&content, "", 0);
    pil_status status = pil_directory_read_whole(directory, fd, name, bytes_max, &content, &tag, ret_error);
    pil_sys_close(&fd);
    if (status != PIL_STATUS_OK) {
        pil_text_deinit(&content);
        return status;
    }
    *ret_content = content;
    if (ret_tag != NULL) {
        *ret_tag = tag;
    }
    return PIL_STATUS_OK;
}

/* ---- Life */

/* File systems whose changes by other machines raise no inotify event. */
static bool is_remote(int fd) {
    struct statfs status;
    if (fstatfs(fd, &status) != 0) {
        return true;
    }
    static const uint32_t magics[] = {
        NFS_SUPER_MAGIC,       SMB_SUPER_MAGIC, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */, 0x65735546 /* FUSE */,
        0x00c36400 /* Ceph */, V9FS_MAGIC,      AFS_SUPER_MAGIC};
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        if ((uint32_t)status.f_type == magics[i]) {
            return true;
        }
    }
    return false;
}

static int directory_watch(struct pil_store *store, const char *prefix) {
    struct pil_directory *directory = pil_directory_of(store);
    if (!pil_directory_prefix_ok(prefix) || is_remote(directory->root_fd)) {
        return -1;
    }
    return pil_watch_add(&directory->watch, directory->path, prefix);
}

static void directory_changed(struct pil_store *store) {
    struct pil_directory *directory = pil_directory_of(store);
    pil_watch_drain(&directory->watch, directory->path);
}

static void directory_close(struct pil_store *store) {
    struct pil_directory *directory = pil_directory_of(store);
    pil_watch_deinit(&directory->watch);
    pil_sys_close(&directory->root_fd);
    free(directory->path);
    free(directory->base.url);
    free(directory);
}

const struct pil_store_ops pil_directory_ops = {
    .scheme = "dir",
    .get_range = directory_get_range,
    .stat = directory_stat,
    .get = directory_get,
    .put_if_absent = pil_directory_put_if_absent,
    .put_if_match = pil_directory_put_if_match,
    .list = pil_directory_list,
    .touch = pil_directory_touch,
    .remove = pil_directory_remove,
    .watch = directory_watch,
    .changed = directory_changed,
    .close = directory_close,
};

/* A new root must not be lost with its parents, of which any may be new, too. */
static void sync_parents(int root_fd) {
    int fd = openat(root_fd, "..", PIL_DIRECTORY_FOLDER_FLAGS);
    for (int depth = 0; fd >= 0 && depth < 8; depth++) {
        fsync(fd); /* not ours to answer for when it is not allowed */
        int parent = openat(fd, "..", PIL_DIRECTORY_FOLDER_FLAGS);
        pil_sys_close(&fd);
        fd = parent;
    }
    pil_sys_close(&fd);
}

static pil_status root_open(const char *path, bool create, int *ret_fd, struct pil_error *error) {
    int fd = open(path, PIL_DIRECTORY_FOLDER_FLAGS);
    if (fd < 0 && errno == ENOENT && create) {
        PIL_TRY(pil_sys_make_dirs(path, error));
        fd = open(path, PIL_DIRECTORY_FOLDER_FLAGS);
        if (fd >= 0) {
            sync_parents(fd);
        }
    }
    if (fd < 0) {
        int number = errno;
        return pil_fail(error, number == ENOTDIR ? PIL_STATUS_INVALID : pil_status_from_errno(number),
                        "open the store dir:%s: %s%s", path, strerror(number),
                        number == ENOENT ? "; check the path, or publish something to make it" : "");
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

pil_status pil_directory_open(const char *path, bool create, struct pil_store **ret_store,
                              struct pil_error *ret_error) {
    int fd;
    PIL_TRY(root_open(path, create, &fd, ret_error));
    char *absolute = realpath(path, NULL); /* inotify takes paths, and the program may change its folder */
    if (absolute == NULL) {
        pil_sys_close(&fd);
        return pil_fail(ret_error, PIL_STATUS_SYSTEM, "find the absolute path of %s: %s", path, strerror(errno));
    }
    struct pil_directory *directory = calloc(1, sizeof *directory);
    PIL_ASSERT(directory != NULL);
    struct pil_text url = {0};
    pil_text_format(&url, "dir:%s", path);
    directory->base = (struct pil_store){.ops = &pil_directory_ops, .url = url.data};
    directory->path = absolute;
    directory->root_fd = fd;
    directory->watch.fd = -1;
    *ret_store = &directory->base;
    return PIL_STATUS_OK;
}
