/* SPDX-License-Identifier: Apache-2.0
 * What the files directory*.c share: the opened folder, and the way from names to descriptors. For src/store alone. */
#pragma once

#include "store/ops.h"
#include "store/watch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { PIL_DIRECTORY_FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

struct pil_directory {
    struct pil_store base;
    char *given; /* the path of the URL, absolute, links in it not resolved: where renew looks */
    char *path;  /* what it led to when it was opened, without links: for inotify and messages */
    int root_fd;
    bool is_swept; /* temporary files of killed writers were looked for */
    struct pil_watch watch;
};

/* An object's place: its name, the opened folder that it lies in, and what it is called there. */
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

/* "what PATH/name: why" out of errno. */
pil_status pil_directory_fail(const struct pil_directory *directory, struct pil_error *error, const char *what,
                              const char *name) PIL_CHECKED;

/* Opens one folder in another, and makes it before when `create`; -1 and errno (ELOOP for a link). */
int pil_directory_step(int parent_fd, const char *segment, bool create);
/* Finds the place of an object: opens the folder of `name`, which is everything before its last '/'. */
pil_status pil_directory_locate(const struct pil_directory *directory, const char *name, bool create,
                                struct pil_directory_object *ret_object, struct pil_error *error) PIL_CHECKED;
/* Closes the folder. */
void pil_directory_leave(struct pil_directory_object *object);
/* Whether anything has the object's name. */
bool pil_directory_is_there(const struct pil_directory_object *object);
/* Opens a regular file for reading. */
pil_status pil_directory_object_open(const struct pil_directory *directory, const struct pil_directory_object *object,
                                     int *ret_fd, struct pil_error *error) PIL_CHECKED;

/* A file to be read to its end. */
struct pil_directory_file {
    int fd;
    const char *name; /* for messages */
    size_t bytes_max; /* TOO_LARGE beyond */
};
/* Reads a file: into the hash that is its tag, and into *text when that is not NULL. */
pil_status pil_directory_read_whole(const struct pil_directory *directory, const struct pil_directory_file *file,
                                    struct pil_text *text, struct pil_store_tag *ret_tag,
                                    struct pil_error *error) PIL_CHECKED;
/* The tag of this content. */
void pil_directory_tag_of(struct pil_bytes content, struct pil_store_tag *ret_tag);
/* pread through EINTR. */
ssize_t pil_directory_read_some(int fd, void *buffer, size_t bytes, uint64_t offset);

/* Operations of the store that are not in directory.c. */
pil_status pil_directory_put(struct pil_store *store, const char *name, struct pil_bytes content,
                             const struct pil_store_condition *condition, struct pil_store_tag *ret_tag,
                             struct pil_error *ret_error);
pil_status pil_directory_remove(struct pil_store *store, const char *name, const struct pil_store_condition *condition,
                                struct pil_error *ret_error);
pil_status pil_directory_list(struct pil_store *store, const char *prefix, pil_store_visit_fn visit, void *context,
                              struct pil_error *ret_error);
