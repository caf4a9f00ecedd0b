/* SPDX-License-Identifier: Apache-2.0
 * What the files directory*.c share: the opened folder, and the way from names to descriptors. For them alone. */
#pragma once

#include "store/store.h"
#include "store/watch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { PIL_DIRECTORY_FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

struct pil_directory {
    struct pil_store base;
    char *path; /* absolute */
    int root_fd;
    bool swept; /* temporary files of killed writers were looked for */
    struct pil_watch watch;
};

static inline struct pil_directory *pil_directory_of(struct pil_store *store) {
    return (struct pil_directory *)store;
}

static inline int64_t pil_directory_modified_us(const struct stat *status) {
    return (int64_t)status->st_mtim.tv_sec * 1000000 + status->st_mtim.tv_nsec / 1000;
}

/* "what PATH/name: why" out of errno. */
pil_status pil_directory_fail(const struct pil_directory *directory, struct pil_error *error, const char *what,
                              const char *name) PIL_CHECKED;
pil_status pil_directory_check_name(const char *name, struct pil_error *error) PIL_CHECKED;
/* Empty, or a folder's name with '/' behind it. */
bool pil_directory_prefix_ok(const char *prefix);

/* Opens one folder in another, and makes it before when `create`; -1 and errno (ELOOP for a link). */
int pil_directory_step(int parent_fd, const char *segment, bool create);
/* Opens the folder of `name`, which is everything before its last '/'; *ret_leaf is what follows. */
pil_status pil_directory_folder_open(const struct pil_directory *directory, const char *name, bool create, int *ret_fd,
                                     const char **ret_leaf, struct pil_error *error) PIL_CHECKED;
/* Opens a regular file for reading. */
pil_status pil_directory_object_open_in(const struct pil_directory *directory, int folder_fd, const char *leaf,
                                        const char *name, int *ret_fd, struct pil_error *error) PIL_CHECKED;
/* Reads a file to its end: into the hash, and into *text when it is not NULL. */
pil_status pil_directory_read_whole(const struct pil_directory *directory, int fd, const char *name, size_t bytes_max,
                                    struct pil_text *text, struct pil_store_tag *ret_tag,
                                    struct pil_error *error) PIL_CHECKED;
/* pread through EINTR. */
ssize_t pil_directory_read_some(int fd, void *buffer, size_t bytes, uint64_t offset);

/* Operations of the store that are not in directory.c. */
pil_status pil_directory_put_if_absent(struct pil_store *store, const char *name, struct pil_bytes content,
                                       struct pil_error *ret_error);
pil_status pil_directory_put_if_match(struct pil_store *store, const char *name, struct pil_bytes content,
                                      const struct pil_store_tag *tag, struct pil_error *ret_error);
pil_status pil_directory_touch(struct pil_store *store, const char *name, struct pil_error *ret_error);
pil_status pil_directory_remove(struct pil_store *store, const char *name, int64_t not_after_us,
                                struct pil_error *ret_error);
pil_status pil_directory_list(struct pil_store *store, const char *prefix,
                              pil_status (*visit)(void *context, const struct pil_store_object *object), void *context,
                              struct pil_error *ret_error);
