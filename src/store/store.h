/* SPDX-License-Identifier: Apache-2.0
 * Storage of releases with the operations of an object store: names, conditional puts of whole objects, range reads.
 * Callers use the functions pil_store_*; a kind of store is a struct of functions (store/ops.h) and a row of the table
 * of schemes (store/scheme.h). Names are '/'-separated, relative, [A-Za-z0-9._=@+-] segments; segments that start with
 * '.' belong to the store itself ("." and ".." among them). All functions that take a name return INVALID for other
 * names. Thread: one thread per store object, except pil_store_cancel: any thread. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "base/text.h"

enum { PIL_STORE_TAG_BYTES = 72, PIL_STORE_NAME_BYTES = 1024 };

/* Identifies one version of one object. Opaque; equal text = same version; "" means no version. */
struct pil_store_tag {
    char text[PIL_STORE_TAG_BYTES];
    /* By which a directory knows without reading that its file is still that version; changed_ns 0: it has to read. */
    struct {
        uint64_t device, inode, bytes;
        int64_t changed_ns;
    } stamp;
};

struct pil_store_object {
    const char *name;
    uint64_t bytes;
    int64_t modified_us;
};
typedef pil_status (*pil_store_visit_fn)(void *context, const struct pil_store_object *object);

/* The state that an object must be in for a put or a remove. */
typedef enum pil_store_when { PIL_STORE_ALWAYS, PIL_STORE_IF_ABSENT, PIL_STORE_IF_MATCH } pil_store_when;
struct pil_store_condition {
    pil_store_when when;
    struct pil_store_tag tag; /* for IF_MATCH */
};

static inline struct pil_store_condition pil_store_always(void) {
    return (struct pil_store_condition){.when = PIL_STORE_ALWAYS};
}
static inline struct pil_store_condition pil_store_if_absent(void) {
    return (struct pil_store_condition){.when = PIL_STORE_IF_ABSENT};
}
static inline struct pil_store_condition pil_store_if_match(const struct pil_store_tag *tag) {
    return (struct pil_store_condition){.when = PIL_STORE_IF_MATCH, .tag = *tag};
}

/* A small object's content and its version. */
struct pil_store_content {
    struct pil_text text; /* owned by the caller: pil_text_deinit */
    struct pil_store_tag tag;
    bool is_unchanged; /* the object still has the caller's version; `text` is empty, and `tag` is to be kept */
};

struct pil_store_range {
    const char *name;
    uint64_t offset;
    uint8_t *buffer;
    size_t bytes; /* of the buffer */
};

struct pil_store;

/* Opens the store that a URL names ("dir:PATH"). `create`: makes what the store needs, a folder for instance; otherwise
 * NOT_FOUND names what is missing. INVALID: the URL has no known scheme; the message lists the schemes. */
pil_status pil_store_open(const char *url, bool create, struct pil_store **ret_store,
                          struct pil_error *ret_error) PIL_CHECKED;
/* Whether pil_store_open with `create` and a put of the object `name` will work, as far as can be told without making
 * anything: for work that ends with a put, before it begins. Errors as of those calls. */
pil_status pil_store_may_put(const char *url, const char *name, struct pil_error *ret_error) PIL_CHECKED;
/* Opens a second handle of the same store, for another thread. */
pil_status pil_store_open_again(struct pil_store *store, struct pil_store **ret_store,
                                struct pil_error *ret_error) PIL_CHECKED;
void pil_store_close(struct pil_store **store);
/* Checks whether the URL still leads to the same store, and switches to the new one if not. For callers that keep a
 * store open for long, between two pieces of work. On failure the old store stays open. Cost for a folder: two system
 * calls. */
pil_status pil_store_renew(struct pil_store *store, struct pil_error *ret_error) PIL_CHECKED;

const char *pil_store_url(const struct pil_store *store);

/* Reads a whole object and its version. ret_tag may be NULL. NOT_FOUND, IO, TOO_LARGE: larger than bytes_max. */
pil_status pil_store_get(struct pil_store *store, const char *name, size_t bytes_max, struct pil_text *ret_text,
                         struct pil_store_tag *ret_tag, struct pil_error *ret_error) PIL_CHECKED;
/* The same, but if the object still has the version if_not (may be NULL), only sets ret_content->is_unchanged and the
 * tag. */
pil_status pil_store_get_if_changed(struct pil_store *store, const char *name, size_t bytes_max,
                                    const struct pil_store_tag *if_not, struct pil_store_content *ret_content,
                                    struct pil_error *ret_error) PIL_CHECKED;
/* Reads a part of an object; *ret_len is less than range->bytes only at the end of the object. NOT_FOUND, IO. */
pil_status pil_store_get_range(struct pil_store *store, const struct pil_store_range *range, size_t *ret_len,
                               struct pil_error *ret_error) PIL_CHECKED;
/* Size and version of an object. Finding the version may cost a read of the whole object: pass NULL as ret_tag for
 * large objects. */
pil_status pil_store_stat(struct pil_store *store, const char *name, uint64_t *ret_bytes, struct pil_store_tag *ret_tag,
                          struct pil_error *ret_error) PIL_CHECKED;
/* Writes an object. IF_ABSENT: EXISTS if the object exists, whatever its content. IF_MATCH: CONFLICT if it has another
 * version or does not exist. The content is durable before it is visible: when the writer is killed, the object is
 * complete or unchanged. ret_tag: the new version; may be NULL. */
pil_status pil_store_put(struct pil_store *store, const char *name, struct pil_bytes content,
                         struct pil_store_condition condition, struct pil_store_tag *ret_tag,
                         struct pil_error *ret_error) PIL_CHECKED;
/* Removes an object; ALWAYS or IF_MATCH (CONFLICT: it has another version). NOT_FOUND, DENIED. */
pil_status pil_store_remove(struct pil_store *store, const char *name, struct pil_store_condition condition,
                            struct pil_error *ret_error) PIL_CHECKED;
/* Calls visit for each object under `prefix` ("" or ending in '/'), in byte order of names; stops with visit's status
 * when that is not OK. A visit that returns NO_MEMORY needs no message: it gets one here. */
pil_status pil_store_list(struct pil_store *store, const char *prefix, pil_store_visit_fn visit, void *context,
                          struct pil_error *ret_error) PIL_CHECKED;

/* A descriptor that becomes readable when an object directly in the folder `prefix` (ends in '/'; it need not exist
 * yet) may have changed, or -1: poll instead (network file systems raise no events). One descriptor for all prefixes
 * of a store, owned by the store. Call pil_store_changed to clear it, then read the objects: in this order no change is
 * missed. */
int pil_store_watch(struct pil_store *store, const char *prefix);
void pil_store_changed(struct pil_store *store);

/* Any thread. The current operation of the store ends with CLOSED soon, and every later one at once. */
void pil_store_cancel(struct pil_store *store);

/* Whether every segment of the name is allowed; whether the prefix may be listed. */
bool pil_store_name_ok(const char *name);
bool pil_store_prefix_ok(const char *prefix);
