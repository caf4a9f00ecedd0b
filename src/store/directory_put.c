/* SPDX-License-Identifier: Apache-2.0
 * Writing into a directory store. schemas/store.md, "A directory", specifies what is on the disk.
 *
 * A writer writes and fsyncs a temporary file in ROOT/.tmp; then, under an flock of ROOT/.lock, it checks the
 * condition, renames the file into its place, and fsyncs the folder. A killed writer leaves the old object or the new
 * one, and at most a temporary file. Writers hold an flock on their temporary files, so a later writer recognises files
 * without a lock and removes them. After a failed fsync the kernel may have discarded the pages and would report
 * success for a second fsync: so the file is discarded and fsync never retried. */
#include "store/directory.h"

#include "base/hash.h"
#include "base/panic.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#define TEMPORARY_FOLDER ".tmp"
#define LOCK_FILE ".lock"

enum { TEMPORARY_NAME_BYTES = 17 };

/* Removes temporary files that no writer has locked. Call it under the lock. Files that this user may not open are left
 * to their owner. */
static void temporaries_sweep(const struct pil_directory *directory) {
    int folder_fd = pil_directory_step(directory->root_fd, TEMPORARY_FOLDER, false);
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

/* Lets one writer at a time change names below the root. A descriptor for reading is enough for flock, except on NFS.
 */
static pil_status lock(struct pil_directory *directory, int *ret_fd, struct pil_error *error) {
    int fd = openat(directory->root_fd, LOCK_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        fd = openat(directory->root_fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    } else if (fd < 0 && (errno == EACCES || errno == EROFS)) {
        fd = openat(directory->root_fd, LOCK_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0) {
        return pil_directory_fail(directory, error, "lock", LOCK_FILE);
    }
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            pil_status status = pil_directory_fail(directory, error, "lock", LOCK_FILE);
            pil_sys_close(&fd);
            return status;
        }
    }
    if (!directory->is_swept) {
        temporaries_sweep(directory);
        directory->is_swept = true;
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

struct temporary {
    int folder_fd;
    int fd; /* its flock shows that the writer lives */
    char name[TEMPORARY_NAME_BYTES];
};

static pil_status temporary_create_locked(const struct pil_directory *directory, struct temporary *ret_temporary,
                                          struct pil_error *error) {
    struct temporary temporary = {.folder_fd = -1, .fd = -1};
    uint8_t random[8];
    PIL_ASSERT(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    pil_hex_encode(pil_bytes_from(random, sizeof random), temporary.name);
    temporary.folder_fd = pil_directory_step(directory->root_fd, TEMPORARY_FOLDER, true);
    if (temporary.folder_fd < 0) {
        return pil_directory_fail(directory, error, "make the folder", TEMPORARY_FOLDER);
    }
    temporary.fd = openat(temporary.folder_fd, temporary.name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (temporary.fd < 0 || flock(temporary.fd, LOCK_EX | LOCK_NB) != 0) {
        pil_status status = pil_directory_fail(directory, error, "make a temporary file in", TEMPORARY_FOLDER);
        pil_sys_close(&temporary.fd);
        pil_sys_close(&temporary.folder_fd);
        return status;
    }
    *ret_temporary = temporary;
    return PIL_STATUS_OK;
}

/* Closes the temporary file; removes it unless it was renamed. */
static void temporary_discard(struct temporary *temporary, bool renamed) {
    if (!renamed) {
        unlinkat(temporary->folder_fd, temporary->name, 0);
    }
    pil_sys_close(&temporary->fd);
    pil_sys_close(&temporary->folder_fd);
}

/* Makes a temporary file with this content, durably written. */
static pil_status temporary_write(struct pil_directory *directory, const char *name, struct pil_bytes content,
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
        status = pil_directory_fail(directory, error, "fsync", name);
    }
    if (status != PIL_STATUS_OK) {
        temporary_discard(&temporary, false);
        return status;
    }
    *ret_temporary = temporary;
    return PIL_STATUS_OK;
}

static pil_status fail_conflict(const char *name, struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_CONFLICT, "%s was changed by somebody else meanwhile; look at it and try again",
                    name);
}

/* Call under the lock. Checks that the object has the version `tag`; with an empty tag, that it does not exist. */
static pil_status check_match(const struct pil_directory *directory, const struct pil_directory_object *object,
                              const struct pil_store_tag *tag, struct pil_error *error) {
    struct pil_store_tag now = {0};
    if (pil_directory_is_there(object)) {
        int fd;
        PIL_TRY(pil_directory_object_open(directory, object, &fd, error));
        struct pil_directory_file file = {.fd = fd, .name = object->name, .bytes_max = SIZE_MAX};
        pil_status status = pil_directory_read_whole(directory, &file, NULL, &now, error);
        pil_sys_close(&fd);
        PIL_TRY(status);
    }
    if (strcmp(now.text, tag->text) != 0) {
        return fail_conflict(object->name, error);
    }
    return PIL_STATUS_OK;
}

/* Call under the lock. */
static pil_status check_condition(const struct pil_directory *directory, const struct pil_directory_object *object,
                                  const struct pil_store_condition *condition, struct pil_error *error) {
    switch (condition->when) {
    case PIL_STORE_ALWAYS: return PIL_STATUS_OK;
    case PIL_STORE_IF_MATCH: return check_match(directory, object, &condition->tag, error);
    case PIL_STORE_IF_ABSENT:
        return pil_directory_is_there(object) ? pil_fail(error, PIL_STATUS_EXISTS, "%s is there already", object->name)
                                              : PIL_STATUS_OK;
    }
    PIL_UNREACHABLE("condition");
}

/* Moves the temporary file into its place if the condition holds. */
static pil_status commit(struct pil_directory *directory, const char *name, const struct pil_store_condition *condition,
                         const struct temporary *temporary, bool *ret_renamed, struct pil_error *error) {
    struct pil_directory_object object;
    int lock_fd = -1;
    bool create = condition->when != PIL_STORE_IF_MATCH; /* IF_MATCH needs an existing object, so a missing folder is a
                                                          * conflict */
    pil_status status = pil_directory_locate(directory, name, create, &object, error);
    if (status == PIL_STATUS_NOT_FOUND && !create) {
        return fail_conflict(name, error);
    }
    PIL_TRY(status);
    status = lock(directory, &lock_fd, error);
    if (status == PIL_STATUS_OK) {
        status = check_condition(directory, &object, condition, error);
    }
    if (status == PIL_STATUS_OK &&
        renameat(temporary->folder_fd, temporary->name, object.folder_fd, object.leaf) != 0) {
        status = pil_directory_fail(directory, error, "rename a temporary file to", name);
    } else if (status == PIL_STATUS_OK) {
        *ret_renamed = true;
        if (fsync(object.folder_fd) != 0) {
            status = pil_directory_fail(directory, error, "fsync the folder of", name);
        }
    }
    pil_sys_close(&lock_fd);
    pil_directory_leave(&object);
    return status;
}

/* Saves the write of a large object that exists already. */
static pil_status check_absent_early(const struct pil_directory *directory, const char *name, struct pil_error *error) {
    struct pil_directory_object object;
    if (pil_directory_locate(directory, name, false, &object, NULL) != PIL_STATUS_OK) {
        return PIL_STATUS_OK; /* commit makes the folder, or reports why it cannot */
    }
    bool is_there = pil_directory_is_there(&object);
    pil_directory_leave(&object);
    return is_there ? pil_fail(error, PIL_STATUS_EXISTS, "%s is there already", name) : PIL_STATUS_OK;
}

pil_status pil_directory_put(struct pil_store *store, const char *name, struct pil_bytes content,
                             const struct pil_store_condition *condition, struct pil_store_tag *ret_tag,
                             struct pil_error *ret_error) {
    struct pil_directory *directory = pil_directory_of(store);
    struct temporary temporary;
    bool renamed = false;
    if (condition->when == PIL_STORE_IF_ABSENT) {
        PIL_TRY(check_absent_early(directory, name, ret_error));
    }
    PIL_TRY(temporary_write(directory, name, content, &temporary, ret_error));
    pil_status status = commit(directory, name, condition, &temporary, &renamed, ret_error);
    temporary_discard(&temporary, renamed);
    if (status == PIL_STATUS_OK && ret_tag != NULL) {
        pil_directory_tag_of(content, ret_tag);
    }
    return status;
}

static pil_status remove_locked(const struct pil_directory *directory, const struct pil_directory_object *object,
                                const struct pil_store_condition *condition, struct pil_error *error) {
    if (condition->when == PIL_STORE_IF_MATCH && pil_directory_is_there(object)) {
        PIL_TRY(check_match(directory, object, &condition->tag, error));
    }
    if (unlinkat(object->folder_fd, object->leaf, 0) != 0 || fsync(object->folder_fd) != 0) {
        return pil_directory_fail(directory, error, "remove", object->name);
    }
    return PIL_STATUS_OK;
}

pil_status pil_directory_remove(struct pil_store *store, const char *name, const struct pil_store_condition *condition,
                                struct pil_error *ret_error) {
    struct pil_directory *directory = pil_directory_of(store);
    struct pil_directory_object object;
    int lock_fd;
    PIL_TRY(pil_directory_locate(directory, name, false, &object, ret_error));
    pil_status status = lock(directory, &lock_fd, ret_error);
    if (status == PIL_STATUS_OK) {
        status = remove_locked(directory, &object, condition, ret_error);
        pil_sys_close(&lock_fd);
    }
    pil_directory_leave(&object);
    return status;
}
