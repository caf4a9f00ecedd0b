/* SPDX-License-Identifier: Apache-2.0
 * A folder as a store. An object is a file; schemas/store.md, "A directory", specifies what is on the disk.
 *
 * Writing: a temporary file in ROOT/.tmp, written and fsynced; then, under an flock of ROOT/.lock, the condition is
 * checked and the file renamed into its place, and the folder fsynced. A writer that is killed leaves the old object or
 * the new one, and at most a temporary file; it held a lock on that, so the next writer sees that nobody does and
 * removes it. After a failed fsync the kernel may have thrown the pages away and would call a second one a success: the
 * file is discarded, never retried.
 *
 * Names: every folder on the way is opened from its parent with O_NOFOLLOW, so that no link leads out of the root.
 * Versions (tags) are SHA-256 of the content; what changes by compare-and-swap carries a nonce, so equal tags mean
 * equal versions. */
#include "store/store.h"

#include "base/hash.h"
#include "base/panic.h"
#include "base/sys.h"
#include "store/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define TEMPORARY_FOLDER ".tmp"
#define LOCK_FILE ".lock"

enum { TEMPORARY_NAME_BYTES = 17, CHUNK_BYTES = 65536, FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

struct directory {
    struct pil_store base;
    char *path; /* absolute */
    int root_fd;
    bool swept; /* temporary files of killed writers were looked for */
    struct pil_watch watch;
};

static struct directory *directory_of(struct pil_store *store) {
    return (struct directory *)store;
}

static pil_status fail_errno(const struct directory *directory, struct pil_error *error, const char *what,
                             const char *name) {
    int number = errno;
    if (number == ELOOP) {
        return pil_fail(error, PIL_STATUS_DENIED, "%s %s/%s: it is a symbolic link, and a store holds none", what,
                        directory->path, name);
    }
    return pil_fail(error, pil_status_from_errno(number), "%s %s/%s: %s", what, directory->path, name,
                    strerror(number));
}

static pil_status check_name(const char *name, struct pil_error *error) {
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
static int step_down(int parent_fd, const char *segment, bool create) {
    int fd = openat(parent_fd, segment, FOLDER_FLAGS | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT && create) {
        if (mkdirat(parent_fd, segment, 0777) == 0 ? fsync(parent_fd) != 0 : errno != EEXIST) {
            return -1;
        }
        fd = openat(parent_fd, segment, FOLDER_FLAGS | O_NOFOLLOW);
    }
    if (fd < 0 && errno == ENOTDIR) {
        name_the_link(parent_fd, segment);
    }
    return fd;
}

/* Opens the folder of `name`, which is everything before its last '/'; *ret_leaf is what follows. */
static pil_status folder_open(const struct directory *directory, const char *name, bool create, int *ret_fd,
                              const char **ret_leaf, struct pil_error *error) {
    int fd = openat(directory->root_fd, ".", FOLDER_FLAGS);
    const char *at = name;
    for (const char *slash = strchr(at, '/'); fd >= 0 && slash != NULL; slash = strchr(at, '/')) {
        char segment[NAME_MAX + 1];
        snprintf(segment, sizeof segment, "%.*s", (int)(slash - at), at);
        int next = step_down(fd, segment, create);
        int number = errno;
        pil_sys_close(&fd);
        errno = number;
        fd = next;
        at = slash + 1;
    }
    if (fd < 0) {
        return fail_errno(directory, error, create ? "make the folder of" : "open", name);
    }
    *ret_fd = fd;
    *ret_leaf = at;
    return PIL_STATUS_OK;
}

/* Opens a regular file for reading. Without O_NONBLOCK a FIFO in its place would hold us for ever. */
static pil_status object_open_in(const struct directory *directory, int folder_fd, const char *leaf, const char *name,
                                 int *ret_fd, struct pil_error *error) {
    int fd = openat(folder_fd, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return fail_errno(directory, error, "open", name);
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        pil_sys_close(&fd);
        return pil_fail(error, PIL_STATUS_CORRUPT, "%s/%s is not a regular file; move it away", directory->path, name);
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

static pil_status object_open(const struct directory *directory, const char *name, int *ret_fd,
                              struct pil_error *error) {
    int folder_fd;
    const char *leaf;
    PIL_TRY(check_name(name, error));
    PIL_TRY(folder_open(directory, name, false, &folder_fd, &leaf, error));
    pil_status status = object_open_in(directory, folder_fd, leaf, name, ret_fd, error);
    pil_sys_close(&folder_fd);
    return status;
}

static ssize_t read_some(int fd, void *buffer, size_t bytes, uint64_t offset) {
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

/* Reads a file to its end: into the hash, and into *text when it is not NULL. */
static pil_status read_whole(const struct directory *directory, int fd, const char *name, size_t bytes_max,
                             struct pil_text *text, struct pil_store_tag *ret_tag, struct pil_error *error) {
    struct pil_sha256_stream *stream = pil_sha256_stream_create();
    char chunk[CHUNK_BYTES];
    uint64_t offset = 0;
    ssize_t got;
    while ((got = read_some(fd, chunk, sizeof chunk, offset)) > 0) {
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
        return fail_errno(directory, error, "read", name);
    }
    if (got > 0) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "%s/%s is larger than %zu bytes", directory->path, name,
                        bytes_max);
    }
    tag_from_digest(digest, ret_tag);
    return PIL_STATUS_OK;
}

static pil_status directory_get_range(struct pil_store *store, const char *name, uint64_t offset, uint8_t *buffer,
                                      size_t buffer_bytes, size_t *ret_len, struct pil_error *ret_error) {
    struct directory *directory = directory_of(store);
    int fd;
    if (offset > INT64_MAX) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%s: no file has an offset %llu", name,
                        (unsigned long long)offset);
    }
    PIL_TRY(object_open(directory, name, &fd, ret_error));
    size_t len = 0;
    ssize_t got = 1;
    while (len < buffer_bytes && got > 0) {
        got = read_some(fd, buffer + len, buffer_bytes - len, offset + len);
        len += got > 0 ? (size_t)got : 0;
    }
    pil_status status = got < 0 ? fail_errno(directory, ret_error, "read", name) : PIL_STATUS_OK;
    pil_sys_close(&fd);
    if (status == PIL_STATUS_OK) {
        *ret_len = len;
    }
    return status;
}

static pil_status directory_stat(struct pil_store *store, const char *name, uint64_t *ret_bytes,
                                 struct pil_store_tag *ret_tag, struct pil_error *ret_error) {
    struct directory *directory = directory_of(store);
    int fd;
    struct stat file = {0};
    PIL_TRY(object_open(directory, name, &fd, ret_error));
    pil_status status = fstat(fd, &file) == 0 ? PIL_STATUS_OK : fail_errno(directory, ret_error, "look at", name);
    if (status == PIL_STATUS_OK && ret_tag != NULL) {
        status = read_whole(directory, fd, name, SIZE_MAX, NULL, ret_tag, ret_error);
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
    struct directory *directory = directory_of(store);
    struct pil_text content = {0};
    struct pil_store_tag tag;
    int fd;
    PIL_TRY(object_open(directory, name, &fd, ret_error));
    pil_text_append(&content, "", 0);
    pil_status status = read_whole(directory, fd, name, bytes_max, &content, &tag, ret_error);
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

/* ---- Writing */

/* Removes temporary files that no living writer holds. Under the lock. What belongs to another user is left to that
 * user. */
static void temporaries_sweep(const struct directory *directory) {
    int folder_fd = step_down(directory->root_fd, TEMPORARY_FOLDER, false);
    DIR *folder = folder_fd >= 0 ? fdopendir(folder_fd) : NULL;
    if (folder == NULL) {
        pil_sys_close(&folder_fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        int fd = entry->d_name[0] == '.'
                     ? -1
                     : openat(folder_fd, entry->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
            unlinkat(folder_fd, entry->d_name, 0);
        }
        pil_sys_close(&fd);
    }
    closedir(folder);
}

/* One writer at a time changes names below the root. Reading the lock file is enough to take it, except on NFS. */
static pil_status lock(struct directory *directory, int *ret_fd, struct pil_error *error) {
    int fd = openat(directory->root_fd, LOCK_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        fd = openat(directory->root_fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    } else if (fd < 0 && (errno == EACCES || errno == EROFS)) {
        fd = openat(directory->root_fd, LOCK_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0) {
        return fail_errno(directory, error, "lock", LOCK_FILE);
    }
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            pil_status status = fail_errno(directory, error, "lock", LOCK_FILE);
            pil_sys_close(&fd);
            return status;
        }
    }
    if (!directory->swept) {
        temporaries_sweep(directory);
        directory->swept = true;
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

struct temporary {
    int folder_fd;
    int fd; /* holds the flock that says that its writer lives */
    char name[TEMPORARY_NAME_BYTES];
};

static pil_status temporary_create_locked(const struct directory *directory, struct temporary *ret_temporary,
                                          struct pil_error *error) {
    struct temporary temporary = {.folder_fd = -1, .fd = -1};
    uint8_t random[8];
    PIL_ASSERT(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    pil_hex_encode(pil_bytes_from(random, sizeof random), temporary.name);
    temporary.folder_fd = step_down(directory->root_fd, TEMPORARY_FOLDER, true);
    if (temporary.folder_fd < 0) {
        return fail_errno(directory, error, "make the folder", TEMPORARY_FOLDER);
    }
    temporary.fd = openat(temporary.folder_fd, temporary.name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (temporary.fd < 0 || flock(temporary.fd, LOCK_EX | LOCK_NB) != 0) {
        pil_status status = fail_errno(directory, error, "make a temporary file in", TEMPORARY_FOLDER);
        pil_sys_close(&temporary.fd);
        pil_sys_close(&temporary.folder_fd);
        return status;
    }
    *ret_temporary = temporary;
    return PIL_STATUS_OK;
}

/* Closes it; removes the file unless it was renamed away. */
static void temporary_discard(struct temporary *temporary, bool renamed) {
    if (!renamed) {
        unlinkat(temporary->folder_fd, temporary->name, 0);
    }
    pil_sys_close(&temporary->fd);
    pil_sys_close(&temporary->folder_fd);
}

/* A temporary file with this content, on the disk. */
static pil_status temporary_write(struct directory *directory, const char *name, struct pil_bytes content,
                                  struct temporary *ret_temporary, struct pil_error *error) {
    struct temporary temporary;
    int lock_fd;
    PIL_TRY(lock(directory, &lock_fd, error));
    pil_status status = temporary_create_locked(directory, &temporary, error);
    pil_sys_close(&lock_fd);
    PIL_TRY(status);
    status = pil_sys_write_all(temporary.fd, content, error);
    if (status != PIL_STATUS_OK) {
        status = pil_fail_in(error, status, "put %s (%zu bytes) into %s", name, content.len, directory->path);
    } else if (fsync(temporary.fd) != 0) {
        status = fail_errno(directory, error, "fsync", name);
    }
    if (status != PIL_STATUS_OK) {
        temporary_discard(&temporary, false);
        return status;
    }
    *ret_temporary = temporary;
    return PIL_STATUS_OK;
}

typedef enum put_condition { PUT_IF_ABSENT, PUT_IF_MATCH } put_condition;

static bool is_there(int folder_fd, const char *leaf) {
    struct stat status;
    return fstatat(folder_fd, leaf, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Under the lock: whether the object is still the version `tag`. */
static pil_status check_match(const struct directory *directory, int folder_fd, const char *leaf, const char *name,
                              const struct pil_store_tag *tag, struct pil_error *error) {
    struct pil_store_tag now = {0};
    if (is_there(folder_fd, leaf)) {
        int fd;
        PIL_TRY(object_open_in(directory, folder_fd, leaf, name, &fd, error));
        pil_status status = read_whole(directory, fd, name, SIZE_MAX, NULL, &now, error);
        pil_sys_close(&fd);
        PIL_TRY(status);
    }
    if (strcmp(now.text, tag != NULL ? tag->text : "") != 0) {
        return pil_fail(error, PIL_STATUS_CONFLICT,
                        "%s was changed by somebody else meanwhile; look at it and try again", name);
    }
    return PIL_STATUS_OK;
}

/* Moves the temporary file into its place when the condition holds. */
static pil_status commit(struct directory *directory, const char *name, const struct temporary *temporary,
                         put_condition condition, const struct pil_store_tag *tag, bool *ret_renamed,
                         struct pil_error *error) {
    int folder_fd, lock_fd = -1;
    const char *leaf;
    PIL_TRY(folder_open(directory, name, true, &folder_fd, &leaf, error));
    pil_status status = lock(directory, &lock_fd, error);
    if (status == PIL_STATUS_OK) {
        if (condition == PUT_IF_MATCH) {
            status = check_match(directory, folder_fd, leaf, name, tag, error);
        } else if (is_there(folder_fd, leaf)) {
            status = pil_fail(error, PIL_STATUS_EXISTS, "%s is there already", name);
        }
    }
    if (status == PIL_STATUS_OK && renameat(temporary->folder_fd, temporary->name, folder_fd, leaf) != 0) {
        status = fail_errno(directory, error, "rename a temporary file to", name);
    } else if (status == PIL_STATUS_OK) {
        *ret_renamed = true;
        if (fsync(folder_fd) != 0) {
            status = fail_errno(directory, error, "fsync the folder of", name);
        }
    }
    pil_sys_close(&lock_fd);
    pil_sys_close(&folder_fd);
    return status;
}

static pil_status put(struct directory *directory, const char *name, struct pil_bytes content, put_condition condition,
                      const struct pil_store_tag *tag, struct pil_error *error) {
    struct temporary temporary;
    bool renamed = false;
    PIL_TRY(temporary_write(directory, name, content, &temporary, error));
    pil_status status = commit(directory, name, &temporary, condition, tag, &renamed, error);
    temporary_discard(&temporary, renamed);
    return status;
}

static pil_status directory_put_if_absent(struct pil_store *store, const char *name, struct pil_bytes content,
                                          struct pil_error *ret_error) {
    struct directory *directory = directory_of(store);
    int folder_fd;
    const char *leaf;
    PIL_TRY(check_name(name, ret_error));
    if (folder_open(directory, name, false, &folder_fd, &leaf, NULL) ==
        PIL_STATUS_OK) { /* spares the write of a large object */
        bool there = is_there(folder_fd, leaf);
        pil_sys_close(&folder_fd);
        if (there) {
            return pil_fail(ret_error, PIL_STATUS_EXISTS, "%s is there already", name);
        }
    }
    return put(directory, name, content, PUT_IF_ABSENT, NULL, ret_error);
}

static pil_status directory_put_if_match(struct pil_store *store, const char *name, struct pil_bytes content,
                                         const struct pil_store_tag *tag, struct pil_error *ret_error) {
    PIL_TRY(check_name(name, ret_error));
    return put(directory_of(store), name, content, PUT_IF_MATCH, tag, ret_error);
}

static int64_t modified_us(const struct stat *status) {
    return (int64_t)status->st_mtim.tv_sec * 1000000 + status->st_mtim.tv_nsec / 1000;
}

static pil_status touch_locked(const struct directory *directory, int folder_fd, const char *leaf, const char *name,
                               struct pil_error *error) {
    if (utimensat(folder_fd, leaf, NULL, AT_SYMLINK_NOFOLLOW) != 0) {
        return fail_errno(directory, error, "touch", name);
    }
    return PIL_STATUS_OK;
}

static pil_status remove_locked(const struct directory *directory, int folder_fd, const char *leaf, const char *name,
                                int64_t not_after_us, struct pil_error *error) {
    struct stat status;
    if (fstatat(folder_fd, leaf, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return fail_errno(directory, error, "remove", name);
    }
    if (modified_us(&status) > not_after_us) {
        return pil_fail(error, PIL_STATUS_CONFLICT, "%s was written or touched meanwhile", name);
    }
    if (unlinkat(folder_fd, leaf, 0) != 0 || fsync(folder_fd) != 0) {
        return fail_errno(directory, error, "remove", name);
    }
    return PIL_STATUS_OK;
}

static pil_status directory_touch(struct pil_store *store, const char *name, struct pil_error *ret_error) {
    struct directory *directory = directory_of(store);
    int folder_fd, lock_fd;
    const char *leaf;
    PIL_TRY(check_name(name, ret_error));
    PIL_TRY(folder_open(directory, name, false, &folder_fd, &leaf, ret_error));
    pil_status status = lock(directory, &lock_fd, ret_error);
    if (status == PIL_STATUS_OK) {
        status = touch_locked(directory, folder_fd, leaf, name, ret_error);
        pil_sys_close(&lock_fd);
    }
    pil_sys_close(&folder_fd);
    return status;
}

static pil_status directory_remove(struct pil_store *store, const char *name, int64_t not_after_us,
                                   struct pil_error *ret_error) {
    struct directory *directory = directory_of(store);
    int folder_fd, lock_fd;
    const char *leaf;
    PIL_TRY(check_name(name, ret_error));
    PIL_TRY(folder_open(directory, name, false, &folder_fd, &leaf, ret_error));
    pil_status status = lock(directory, &lock_fd, ret_error);
    if (status == PIL_STATUS_OK) {
        status = remove_locked(directory, folder_fd, leaf, name, not_after_us, ret_error);
        pil_sys_close(&lock_fd);
    }
    pil_sys_close(&folder_fd);
    return status;
}

/* ---- Listing */

struct listing {
    const struct directory *directory;
    pil_status (*visit)(void *context, const struct pil_store_object *object);
    void *context;
    struct pil_error *error;
    char name[PIL_STORE_NAME_BYTES]; /* of the folder or object that the walk is at */
};

struct entries {
    char **names; /* folders end in '/', so that sorting gives the byte order of whole names */
    size_t count;
};

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the regular files and folders that a store can have made, sorted. */
static void entries_read(DIR *folder, struct entries *ret_entries) {
    struct entries entries = {0};
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat status;
        bool ours = pil_store_name_ok(entry->d_name) &&
                    fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                    (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
        if (ours) {
            struct pil_text name = {0};
            pil_text_format(&name, "%s%s", entry->d_name, S_ISDIR(status.st_mode) ? "/" : "");
            entries.names = realloc(entries.names, (entries.count + 1) * sizeof *entries.names);
            PIL_ASSERT(entries.names != NULL);
            entries.names[entries.count++] = name.data;
        }
    }
    if (entries.count > 0) {
        qsort(entries.names, entries.count, sizeof *entries.names, compare_names);
    }
    *ret_entries = entries;
}

static pil_status list_folder(struct listing *listing, int fd, size_t name_len);

static pil_status list_entry(struct listing *listing, int folder_fd, size_t name_len, const char *entry) {
    size_t len = name_len + strlen(entry);
    if (len >= sizeof listing->name) {
        return PIL_STATUS_OK; /* no object has such a name */
    }
    memcpy(listing->name + name_len, entry, strlen(entry) + 1);
    if (listing->name[len - 1] == '/') {
        char segment[NAME_MAX + 2];
        snprintf(segment, sizeof segment, "%.*s", (int)strlen(entry) - 1, entry);
        int fd = openat(folder_fd, segment, FOLDER_FLAGS | O_NOFOLLOW);
        if (fd < 0) {
            return errno == ENOENT ? PIL_STATUS_OK
                                   : fail_errno(listing->directory, listing->error, "list", listing->name);
        }
        return list_folder(listing, fd, len);
    }
    struct stat status;
    if (fstatat(folder_fd, entry, &status, AT_SYMLINK_NOFOLLOW) != 0 || !pil_store_name_ok(listing->name)) {
        return PIL_STATUS_OK; /* removed meanwhile */
    }
    struct pil_store_object object = {
        .name = listing->name, .bytes = (uint64_t)status.st_size, .modified_us = modified_us(&status)};
    return listing->visit(listing->context, &object);
}

/* Depth is bounded by the length of names. Takes fd. */
static pil_status list_folder(struct listing *listing, int fd, size_t name_len) {
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        pil_status status = fail_errno(listing->directory, listing->error, "list", listing->name);
        pil_sys_close(&fd);
        return status;
    }
    struct entries entries;
    entries_read(folder, &entries);
    pil_status status = PIL_STATUS_OK;
    for (size_t i = 0; i < entries.count; i++) {
        if (status == PIL_STATUS_OK) {
            status = list_entry(listing, dirfd(folder), name_len, entries.names[i]);
        }
        free(entries.names[i]);
    }
    free(entries.names);
    closedir(folder);
    return status;
}

static bool prefix_ok(const char *prefix) {
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

static pil_status directory_list(struct pil_store *store, const char *prefix,
                                 pil_status (*visit)(void *context, const struct pil_store_object *object),
                                 void *context, struct pil_error *ret_error) {
    struct directory *directory = directory_of(store);
    struct listing listing = {.directory = directory, .visit = visit, .context = context, .error = ret_error};
    int fd;
    const char *leaf;
    if (!prefix_ok(prefix)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "'%.200s' is no prefix of names: it must be empty or end in '/'",
                        prefix);
    }
    pil_status status = folder_open(directory, prefix, false, &fd, &leaf, ret_error);
    if (status != PIL_STATUS_OK) {
        return status == PIL_STATUS_NOT_FOUND ? PIL_STATUS_OK : status;
    }
    memcpy(listing.name, prefix, strlen(prefix) + 1);
    return list_folder(&listing, fd, strlen(prefix));
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
    struct directory *directory = directory_of(store);
    if (!prefix_ok(prefix) || is_remote(directory->root_fd)) {
        return -1;
    }
    return pil_watch_add(&directory->watch, directory->path, prefix);
}

static void directory_changed(struct pil_store *store) {
    struct directory *directory = directory_of(store);
    pil_watch_drain(&directory->watch, directory->path);
}

static void directory_close(struct pil_store *store) {
    struct directory *directory = directory_of(store);
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
    .put_if_absent = directory_put_if_absent,
    .put_if_match = directory_put_if_match,
    .list = directory_list,
    .touch = directory_touch,
    .remove = directory_remove,
    .watch = directory_watch,
    .changed = directory_changed,
    .close = directory_close,
};

/* A new root must not be lost with its parents, of which any may be new, too. */
static void sync_parents(int root_fd) {
    int fd = openat(root_fd, "..", FOLDER_FLAGS);
    for (int depth = 0; fd >= 0 && depth < 8; depth++) {
        fsync(fd); /* not ours to answer for when it is not allowed */
        int parent = openat(fd, "..", FOLDER_FLAGS);
        pil_sys_close(&fd);
        fd = parent;
    }
    pil_sys_close(&fd);
}

static pil_status root_open(const char *path, bool create, int *ret_fd, struct pil_error *error) {
    int fd = open(path, FOLDER_FLAGS);
    if (fd < 0 && errno == ENOENT && create) {
        PIL_TRY(pil_sys_make_dirs(path, error));
        fd = open(path, FOLDER_FLAGS);
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
    struct directory *directory = calloc(1, sizeof *directory);
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
