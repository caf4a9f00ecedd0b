/* SPDX-License-Identifier: Apache-2.0
 * Where releases live, as object stores see it: names, whole puts under a condition, range reads. Implementations are a
 * struct of functions; the directory is one (directory.c). Thread: one thread per store object. Names are
 * '/'-separated, relative, [A-Za-z0-9._=@+-] segments; those that start with '.' are the store's own ("." and ".."
 * among them): INVALID otherwise. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "base/text.h"

enum { PIL_STORE_TAG_BYTES = 72, PIL_STORE_NAME_BYTES = 1024 };

/* Identifies one version of one object, for compare-and-swap. Opaque; equal text = same version. */
struct pil_store_tag {
    char text[PIL_STORE_TAG_BYTES];
};

struct pil_store_object {
    const char *name;
    uint64_t bytes;
    int64_t modified_us;
};

struct pil_store;
struct pil_store_ops {
    const char *scheme; /* "dir" */
    /* Reads [offset, offset + buffer_bytes) of an object; *ret_len is less only at its end. NOT_FOUND, IO. */
    pil_status (*get_range)(struct pil_store *store, const char *name, uint64_t offset, uint8_t *buffer,
                            size_t buffer_bytes, size_t *ret_len, struct pil_error *ret_error);
    /* Size of an object and its version. ret_tag may be NULL, here and in get: deriving the version may cost a read of
     * the whole object, so ask for it on small ones only. */
    pil_status (*stat)(struct pil_store *store, const char *name, uint64_t *ret_bytes, struct pil_store_tag *ret_tag,
                       struct pil_error *ret_error);
    /* A whole small object with the version that was read. */
    pil_status (*get)(struct pil_store *store, const char *name, size_t bytes_max, struct pil_text *ret_content,
                      struct pil_store_tag *ret_tag, struct pil_error *ret_error);
    /* EXISTS when there is one already, whatever its content. Durable before it is visible: whoever is killed, the
     * object is there whole or not at all. */
    pil_status (*put_if_absent)(struct pil_store *store, const char *name, struct pil_bytes content,
                                struct pil_error *ret_error);
    /* Replaces exactly that version; NULL tag: creates. CONFLICT when another was there. */
    pil_status (*put_if_match)(struct pil_store *store, const char *name, struct pil_bytes content,
                               const struct pil_store_tag *tag, struct pil_error *ret_error);
    /* Calls visit for each object under `prefix` ("" or ending in '/'), in byte order of names; stops when visit is not
     * OK. */
    pil_status (*list)(struct pil_store *store, const char *prefix,
                       pil_status (*visit)(void *context, const struct pil_store_object *object), void *context,
                       struct pil_error *ret_error);
    /* The object counts as written now (modified_us): a collector that looked before spares it. NOT_FOUND, DENIED. */
    pil_status (*touch)(struct pil_store *store, const char *name, struct pil_error *ret_error);
    /* Removes an object that was not written or touched after not_after_us (INT64_MAX: whenever it was); CONFLICT when
     * it was. */
    pil_status (*remove)(struct pil_store *store, const char *name, int64_t not_after_us, struct pil_error *ret_error);
    /* A descriptor that becomes readable when an object directly in the folder `prefix` (ends in '/'; it need not be
     * there yet) may have changed, or -1: poll instead (file systems of a network tell nobody). The same descriptor for
     * each prefix of one store. Owned by the store. Call changed() to read it empty, then look at the objects: in this
     * order nothing is missed. */
    int (*watch)(struct pil_store *store, const char *prefix);
    void (*changed)(struct pil_store *store);
    void (*close)(struct pil_store *store);
};

/* The base of every implementation, first member of its own struct. */
struct pil_store {
    const struct pil_store_ops *ops;
    char *url;
};

/* "dir:PATH" (the folder is made when `create`; otherwise NOT_FOUND names it). INVALID lists the schemes. */
pil_status pil_store_open(const char *url, bool create, struct pil_store **ret_store,
                          struct pil_error *ret_error) PIL_CHECKED;
void pil_store_close(struct pil_store **store);

/* Whether every segment of the name is allowed. */
bool pil_store_name_ok(const char *name);

extern const struct pil_store_ops pil_directory_ops;
pil_status pil_directory_open(const char *path, bool create, struct pil_store **ret_store,
                              struct pil_error *ret_error) PIL_CHECKED;
