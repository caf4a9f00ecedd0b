/* SPDX-License-Identifier: Apache-2.0
 * Listing a directory store in byte order of whole names. */
#include "store/directory.h"

#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct listing {
    const struct pil_directory *directory;
    pil_store_visit_fn visit;
    void *context;
    struct pil_error *error;
    char name[PIL_STORE_NAME_BYTES]; /* of the current folder or object */
};

struct entries {
    char **names; /* folders end in '/', so that sorting gives the byte order of whole names */
    size_t count;
};

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static pil_status fail_at(struct listing *listing, size_t name_len, const char *leaf) {
    snprintf(listing->name + name_len, sizeof listing->name - name_len, "%s", leaf);
    return pil_directory_fail(listing->directory, listing->error, "list", listing->name);
}

/* Returns false if memory is short. */
static bool entries_add(struct entries *entries, const char *leaf, bool is_folder) {
    char **names = realloc(entries->names, (entries->count + 1) * sizeof *names), *name = NULL;
    if (names == NULL) {
        return false;
    }
    entries->names = names;
    if (asprintf(&name, "%s%s", leaf, is_folder ? "/" : "") < 0) {
        return false;
    }
    entries->names[entries->count++] = name;
    return true;
}

/* Adds the names of regular files and folders that a store may have made. Fails rather than skip an entry that it
 * cannot examine: garbage collection would take a skipped object for missing. */
static pil_status entries_read(struct listing *listing, DIR *folder, size_t name_len, struct entries *entries) {
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            return errno == 0 ? PIL_STATUS_OK : fail_at(listing, name_len, "");
        }
        struct stat status;
        if (!pil_store_name_ok(entry->d_name)) {
            continue;
        }
        if (fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT) { /* removed meanwhile */
                continue;
            }
            return fail_at(listing, name_len, entry->d_name);
        }
        if (S_ISLNK(status.st_mode)) {
            errno = ELOOP;
            return fail_at(listing, name_len, entry->d_name);
        }
        if ((S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) &&
            !entries_add(entries, entry->d_name, S_ISDIR(status.st_mode))) {
            return pil_fail(listing->error, PIL_STATUS_NO_MEMORY, "no memory to list %s", listing->name);
        }
    }
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
        int fd = openat(folder_fd, segment, PIL_DIRECTORY_FOLDER_FLAGS | O_NOFOLLOW);
        if (fd < 0) {
            return errno == ENOENT ? PIL_STATUS_OK : fail_at(listing, name_len, entry);
        }
        return list_folder(listing, fd, len);
    }
    struct stat status;
    if (!pil_store_name_ok(listing->name)) {
        return PIL_STATUS_OK; /* too many segments */
    }
    if (fstatat(folder_fd, entry, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? PIL_STATUS_OK : fail_at(listing, name_len, entry);
    }
    struct pil_store_object object = {
        .name = listing->name, .bytes = (uint64_t)status.st_size, .modified_us = pil_directory_modified_us(&status)};
    return listing->visit(listing->context, &object);
}

/* Depth is bounded by the length of names. Takes fd. */
static pil_status list_folder(struct listing *listing, int fd, size_t name_len) {
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        pil_status status = pil_directory_fail(listing->directory, listing->error, "list", listing->name);
        pil_sys_close(&fd);
        return status;
    }
    struct entries entries = {0};
    pil_status status = entries_read(listing, folder, name_len, &entries);
    if (entries.count > 0) {
        qsort(entries.names, entries.count, sizeof *entries.names, compare_names);
    }
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

pil_status pil_directory_list(struct pil_store *store, const char *prefix, pil_store_visit_fn visit, void *context,
                              struct pil_error *ret_error) {
    struct pil_directory *directory = pil_directory_of(store);
    struct listing listing = {.directory = directory, .visit = visit, .context = context, .error = ret_error};
    struct pil_directory_object folder;
    pil_status status = pil_directory_locate(directory, prefix, false, &folder, ret_error);
    if (status != PIL_STATUS_OK) {
        return status == PIL_STATUS_NOT_FOUND ? PIL_STATUS_OK : status;
    }
    memcpy(listing.name, prefix, strlen(prefix) + 1);
    return list_folder(&listing, folder.folder_fd, strlen(prefix));
}
