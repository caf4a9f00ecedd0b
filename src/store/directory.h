/* SPDX-License-Identifier: Apache-2.0
 * Shared by the files directory*.c: the opened folder, and the functions that resolve names to descriptors. Only for
 * src/store. */
#pragma once

#include "store/ops.h"
#include "store/watch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { PIL_DIRECTORY_FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

struct pil_directory {
    struct pil_store base;
    char *given; /* the path of the URL, made absolute, links not resolved; renew opens it again */
    char *path;  /* the path with all links resolved when it was opened; for inotify and messages */
    int root_fd;
    bool is_swept; /* temporary files of killed writers were removed */
    struct pil_watch watch;
};

/* The place of an object: its name, the opened folder that contains its file, and the file's name there. */
struct pil_directory_object {
    const char *name; /* borrowed; `leaf` points into it */
    const char *leaf;
    int folder_fd;
};

static inline struct pil_directory *pil_directory_of(struct pil_store *store) {
    return (struct pil_directory *)store;
}

static inline int64_t pil_directory_modified_us(const struct stat *status) {
    return (int64_t)status->st_mtim.tv_sec * 1000000 + status->st_mtim.tv_nsec / 1000;
}

/* Opens the store "dir:PATH". */
pil_status pil_directory_open(const char *path, bool create, struct pil_store **ret_store,
                              struct pil_error *ret_error) PIL_CHECKED;

/* Whether a file of that name can be made in the folder, which need not be there yet (pil_store_may_put). */
pil_status pil_directory_may_put(const char *path, const char *name, struct pil_error *ret_error) PIL_CHECKED;

/* Fails with the message "what PATH/name: why", the reason taken from errno. */
pil_status pil_directory_fail(const struct pil_directory *directory, struct pil_error *error, const char *what,
                              const char *name) PIL_CHECKED;

/* Opens a folder inside another, and creates it if `create` is set and it is missing; -1 with errno (ELOOP for a link).
 */
int pil_directory_step(int parent_fd, const char *segment, bool create);
/* Finds the place of an object: opens its folder, which is the part of `name` before the last '/'. */
pil_status pil_directory_locate(const struct pil_directory *directory, const char *name, bool create,
                                struct pil_directory_object *ret_object, struct pil_error *error) PIL_CHECKED;
/* Closes the folder. */
void pil_directory_leave(struct pil_directory_object *object);
/* Whether a file of any type has the object's name. */
bool pil_directory_is_there(const struct pil_directory_object *object);
/* Opens a regular file for reading. */
pil_status pil_directory_object_open(const struct pil_directory *directory, const struct pil_directory_object *object,
                                     int *ret_fd, struct pil_error *error) PIL_CHECKED;

/* A file to read to its end. */
struct pil_directory_file {
    int fd;
    const char *name; /* for messages */
    size_t bytes_max; /* TOO_LARGE if the file is larger */
};
/* Reads a file: computes its tag, and appends the content to *text unless that is NULL. */
pil_status pil_directory_read_whole(const struct pil_directory *directory, const struct pil_directory_file *file,
                                    struct pil_text *text, struct pil_store_tag *ret_tag,
                                    struct pil_error *error) PIL_CHECKED;
/* The tag of this content. */
void pil_directory_tag_of(struct pil_bytes content, struct pil_store_tag *ret_tag);
/* pread, repeated on EINTR. */
ssize_t pil_directory_read_some(int fd, void *buffer, size_t bytes, uint64_t offset);

/* Operations of the store that are not in directory.c. */
pil_status pil_directory_put(struct pil_store *store, const char *name, struct pil_bytes content,
                             const struct pil_store_condition *condition, struct pil_store_tag *ret_tag,
                             struct pil_error *ret_error);
pil_status pil_directory_remove(struct pil_store *store, const char *name, const struct pil_store_condition *condition,
                                struct pil_error *ret_error);
pil_status pil_directory_list(struct pil_store *store, const char *prefix, pil_store_visit_fn visit, void *context,
                              struct pil_error *ret_error);
