/* SPDX-License-Identifier: Apache-2.0
 * A folder as a store: opening, reading, watching. An object is a file (schemas/store.md, "A directory"). Tags, which
 * identify versions, are the SHA-256 of the content; objects that change by compare-and-swap contain a nonce, so equal
 * tags mean equal versions. Writing is in directory_put.c, listing in directory_list.c, names in directory_path.c. */
#include "store/directory.h"

#include "base/clock.h"
#include "base/sys.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 1 << 20,  /* bytes read between two checks of is_cancelled */
    SETTLED_NS = 100000000, /* times of files have the resolution of a tick of the kernel, 10 ms or less */
};

static pil_status object_open(const struct pil_directory *directory, const char *name, int *ret_fd,
                              struct pil_error *error) {
    struct pil_directory_object object;
    PIL_TRY(pil_directory_locate(directory, name, false, &object, error));
    pil_status status = pil_directory_object_open(directory, &object, ret_fd, error);
    pil_directory_leave(&object);
    return status;
}

static pil_status directory_get_range(struct pil_store *store, const struct pil_store_range *range, size_t *ret_len,
                                      struct pil_error *ret_error) {
    struct pil_directory *directory = pil_directory_of(store);
    int fd;
    PIL_TRY(object_open(directory, range->name, &fd, ret_error));
    size_t len = 0;
    ssize_t got = 1;
    bool is_cancelled = false;
    while (len < range->bytes && got > 0 && !is_cancelled) {
        size_t block = range->bytes - len < BLOCK_BYTES ? range->bytes - len : BLOCK_BYTES;
        got = pil_directory_read_some(fd, range->buffer + len, block, range->offset + len);
        len += got > 0 ? (size_t)got : 0;
        is_cancelled = pil_store_is_cancelled(store);
    }
    pil_status status = got < 0 ? pil_directory_fail(directory, ret_error, "read", range->name) : PIL_STATUS_OK;
    pil_sys_close(&fd);
    if (is_cancelled) {
        return pil_store_fail_cancelled(ret_error);
    }
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
        struct pil_directory_file whole = {.fd = fd, .name = name, .bytes_max = SIZE_MAX};
        status = pil_directory_read_whole(directory, &whole, NULL, ret_tag, ret_error);
    }
    pil_sys_close(&fd);
    if (status == PIL_STATUS_OK) {
        *ret_bytes = (uint64_t)file.st_size;
    }
    return status;
}

/* Whether the folder is on a file system where changes by other machines raise no inotify event. */
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

/* Call it before the file is read, so that a change meanwhile is seen the next time. A file that was changed just now
 * gets no stamp: another change could still get the same time. Neither does a file that other machines change. */
static void stamp(int fd, const struct stat *file, struct pil_store_tag *tag) {
    int64_t changed_ns = (int64_t)file->st_ctim.tv_sec * 1000000000 + file->st_ctim.tv_nsec;
    bool is_settled = pil_clock_wall_us() * 1000 - changed_ns >= SETTLED_NS && !is_remote(fd);
    tag->stamp.device = file->st_dev;
    tag->stamp.inode = file->st_ino;
    tag->stamp.bytes = (uint64_t)file->st_size;
    tag->stamp.changed_ns = is_settled ? changed_ns : 0;
}

static bool is_same_stamp(const struct pil_store_tag *a, const struct pil_store_tag *b) {
    return a->stamp.changed_ns != 0 && a->stamp.changed_ns == b->stamp.changed_ns &&
           a->stamp.device == b->stamp.device && a->stamp.inode == b->stamp.inode && a->stamp.bytes == b->stamp.bytes;
}

/* Fills content->tag, and reads the file unless its stamp says that it still is the version `get->if_not`. */
static pil_status get_open(struct pil_directory *directory, const struct pil_store_get *get, int fd,
                           struct pil_store_content *content, struct pil_error *error) {
    struct pil_store_tag seen = {0};
    struct stat now;
    if (fstat(fd, &now) != 0) {
        return pil_directory_fail(directory, error, "look at", get->name);
    }
    if ((uint64_t)now.st_size > get->bytes_max) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "%s/%s has %llu bytes, at most %zu are read", directory->path,
                        get->name, (unsigned long long)now.st_size, get->bytes_max);
    }
    stamp(fd, &now, &seen);
    if (get->if_not != NULL && is_same_stamp(&seen, get->if_not)) {
        content->tag = *get->if_not;
        content->is_unchanged = true;
        return PIL_STATUS_OK;
    }
    struct pil_directory_file file = {.fd = fd, .name = get->name, .bytes_max = get->bytes_max};
    pil_text_append(&content->text, "", 0);
    PIL_TRY(pil_directory_read_whole(directory, &file, &content->text, &content->tag, error));
    content->tag.stamp = seen.stamp;
    content->is_unchanged =
        get->if_not != NULL && get->if_not->text[0] != '\0' && strcmp(get->if_not->text, content->tag.text) == 0;
    return PIL_STATUS_OK;
}

static pil_status directory_get(struct pil_store *store, const struct pil_store_get *get,
                                struct pil_store_content *ret_content, struct pil_error *ret_error) {
    struct pil_directory *directory = pil_directory_of(store);
    struct pil_store_content content = {0};
    int fd;
    PIL_TRY(object_open(directory, get->name, &fd, ret_error));
    pil_status status = get_open(directory, get, fd, &content, ret_error);
    pil_sys_close(&fd);
    if (status != PIL_STATUS_OK || content.is_unchanged) {
        pil_text_deinit(&content.text);
    }
    if (status == PIL_STATUS_OK) {
        *ret_content = content;
    }
    return status;
}

/* ---- Life */

static int directory_watch(struct pil_store *store, const char *prefix) {
    struct pil_directory *directory = pil_directory_of(store);
    if (is_remote(directory->root_fd)) {
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
    free(directory->given);
    free(directory->base.url);
    free(directory);
}

/* Makes a new root durable: any of its parents may be new, too. */
static void sync_parents(int root_fd) {
    int fd = openat(root_fd, "..", PIL_DIRECTORY_FOLDER_FLAGS);
    for (int depth = 0; fd >= 0 && depth < 8; depth++) {
        fsync(fd); /* best effort: may not be permitted */
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

/* `path` made absolute with the current working folder, which the program may change later. Links are not resolved. */
static char *absolute(const char *path) {
    char folder[PATH_MAX], *text = NULL;
    if (path[0] == '/') {
        return strdup(path);
    }
    return asprintf(&text, "%s/%s", getcwd(folder, sizeof folder) != NULL ? folder : ".", path) < 0 ? NULL : text;
}

/* Whether the path still leads to the opened folder. */
static bool is_same_folder(const char *path, int fd) {
    struct stat there, ours;
    return stat(path, &there) == 0 && fstat(fd, &ours) == 0 && there.st_dev == ours.st_dev &&
           there.st_ino == ours.st_ino;
}

/* The folder may have been removed and recreated, another one mounted there, or a link in its path changed. */
static pil_status directory_renew(struct pil_store *store, struct pil_error *ret_error) {
    struct pil_directory *directory = pil_directory_of(store);
    int fd;
    if (is_same_folder(directory->given, directory->root_fd)) {
        return PIL_STATUS_OK;
    }
    PIL_TRY(root_open(directory->given, false, &fd, ret_error));
    char *real = realpath(directory->given, NULL);
    if (real == NULL) {
        pil_status status = pil_directory_fail(directory, ret_error, "find the absolute path of", "");
        pil_sys_close(&fd);
        return status;
    }
    pil_sys_close(&directory->root_fd);
    free(directory->path);
    directory->root_fd = fd;
    directory->path = real;
    directory->is_swept = false;
    pil_watch_move(&directory->watch, directory->path);
    return PIL_STATUS_OK;
}

static pil_status directory_open_again(struct pil_store *store, struct pil_store **ret_store,
                                       struct pil_error *ret_error);

static const struct pil_store_ops directory_ops = {
    .get = directory_get,
    .get_range = directory_get_range,
    .stat = directory_stat,
    .put = pil_directory_put,
    .remove = pil_directory_remove,
    .list = pil_directory_list,
    .open_again = directory_open_again,
    .renew = directory_renew,
    .watch = directory_watch,
    .changed = directory_changed,
    .close = directory_close,
};

/* Takes fd and the three texts, also on failure. A text is NULL when memory was short. */
static pil_status directory_create(int fd, char *given, char *path, char *url, struct pil_store **ret_store,
                                   struct pil_error *error) {
    struct pil_directory *directory = calloc(1, sizeof *directory);
    if (directory == NULL || given == NULL || path == NULL || url == NULL) {
        free(directory);
        free(given);
        free(path);
        free(url);
        pil_sys_close(&fd);
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a store");
    }
    directory->base = (struct pil_store){.ops = &directory_ops, .url = url};
    directory->given = given;
    directory->path = path;
    directory->root_fd = fd;
    directory->watch.fd = -1;
    *ret_store = &directory->base;
    return PIL_STATUS_OK;
}

/* Opens the same folder, even if its path leads elsewhere now. */
static pil_status directory_open_again(struct pil_store *store, struct pil_store **ret_store,
                                       struct pil_error *ret_error) {
    const struct pil_directory *directory = pil_directory_of(store);
    int fd = openat(directory->root_fd, ".", PIL_DIRECTORY_FOLDER_FLAGS);
    if (fd < 0) {
        return pil_directory_fail(directory, ret_error, "open", "");
    }
    return directory_create(fd, strdup(directory->given), strdup(directory->path), strdup(store->url), ret_store,
                            ret_error);
}

pil_status pil_directory_open(const char *path, bool create, struct pil_store **ret_store,
                              struct pil_error *ret_error) {
    int fd;
    PIL_TRY(root_open(path, create, &fd, ret_error));
    char *real = realpath(path, NULL); /* inotify needs a path */
    if (real == NULL) {
        pil_sys_close(&fd);
        return pil_fail(ret_error, PIL_STATUS_SYSTEM, "find the absolute path of %s: %s", path, strerror(errno));
    }
    char *url = NULL;
    return directory_create(fd, absolute(path), real, asprintf(&url, "dir:%s", path) < 0 ? NULL : url, ret_store,
                            ret_error);
}

/* Cuts the last segment off a path that is not empty; ends at "/" or ".". */
static void cut_segment(char *path) {
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        path[0] = '.';
        slash = path;
    }
    slash[slash == path] = '\0';
}

pil_status pil_directory_may_put(const char *path, const char *name, struct pil_error *ret_error) {
    char folder[PATH_MAX];
    int fd = -1;
    pil_status status = root_open(path, false, &fd, ret_error);
    pil_sys_close(&fd);
    if (status != PIL_STATUS_OK && status != PIL_STATUS_NOT_FOUND) {
        return status;
    }
    if (snprintf(folder, sizeof folder, "%s/%s", path, name) >= (int)sizeof folder) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "open the store dir:%s: %s", path, strerror(ENAMETOOLONG));
    }
    do { /* to the nearest folder that is there */
        cut_segment(folder);
    } while (access(folder, F_OK) != 0 && errno == ENOENT && strcmp(folder, "/") != 0 && strcmp(folder, ".") != 0);
    if (access(folder, W_OK | X_OK) == 0) {
        return PIL_STATUS_OK;
    }
    int number = errno;
    bool is_there = status == PIL_STATUS_OK;
    return pil_fail(ret_error, pil_status_from_errno(number), "%s the store dir:%s: %s: %s%s",
                    is_there ? "write to" : "make", path, folder, strerror(number),
                    is_there && number == EACCES ? "; all who write have to be able to write to all of it" : "");
}
