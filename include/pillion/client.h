/* SPDX-License-Identifier: Apache-2.0
 * libpillion: feature vectors from the Pillion of this node, read in this very process from memory that it shares, or
 * over its socket where mapping is refused: same calls, same results. Examples: docs/examples.
 *
 *     struct pillion_client *client = NULL;
 *     struct pillion_plan *plan = NULL;
 *     struct pillion_error error;
 *     struct pillion_options options = {
 *         .size = sizeof options, .mapped = "unix:/run/pillion/mapped.sock", .resp = "unix:/run/pillion/resp.sock"};
 *     struct pillion_plan_options what = {.size = sizeof what, .service = "eta_v1"};
 *     int64_t drivers[100] = {...};
 *     float vectors[100][32];
 *     struct pillion_keys keys = {.size = sizeof keys, .count = 100, .column_count = 1,
 *                                 .columns = {{.kind = PILLION_KEY_INT64, .values = drivers}}};
 *     struct pillion_output output = {.size = sizeof output, .values = vectors, .value_bytes = sizeof vectors};
 *     if (pillion_open(&options, &client, &error) == PILLION_OK &&
 *         pillion_plan(client, &what, &plan, &error) == PILLION_OK &&
 *         pillion_get(plan, &keys, &output, NULL) == PILLION_OK) { ... }
 *
 * Threads: a client and its plans may be used by any number of threads at once; closing must be the last call.
 * Fork: a child goes on reading what was mapped; its first call connects anew. A fork while another thread is in
 * pillion_open, pillion_plan or a refresh costs the child some memory, nothing else.
 * Signals: EINTR is never an error, and no reader waits for an interrupted one. A handler may call pillion_get and
 * pillion_get_columns of plans that are mapped, with PILLION_NO_REFRESH: nothing is allocated or locked then.
 * Cost of a mapped get: no allocation, no system call (the clock comes from the vDSO), no lock. The one call that first
 * sees a new release pays for mapping it.
 * ABI: structs begin with their size, which the caller sets; fields are only added at the end, and zero means what it
 * was before the field was there. Memory that is given to a call stays the caller's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PILLION_API __attribute__((visibility("default")))
#define PILLION_NAME_BYTES 129
#define PILLION_RELEASE_BYTES 17
#define PILLION_VIEWS_MAX 16
#define PILLION_KEYS_MAX 16

/* Each is a different action of the caller. */
typedef enum pillion_result {
    PILLION_OK = 0,
    PILLION_INVALID = 1,     /* the call is wrong: mend it */
    PILLION_NOT_FOUND = 2,   /* no such service, view or feature here */
    PILLION_DENIED = 3,      /* this peer may not read that view */
    PILLION_UNSUPPORTED = 4, /* a type without place in a tensor, or a newer protocol */
    PILLION_TOO_LARGE = 5,   /* a buffer is too small, or over a limit of the server */
    PILLION_NOT_READY = 6,   /* a view has no release yet, or min_release is not here yet */
    PILLION_UNAVAILABLE = 7, /* nothing mapped, and the server does not answer */
    PILLION_CORRUPT = 8,     /* what was mapped or received is not right; nothing of it was used */
    PILLION_SYSTEM = 9,      /* no descriptors … */
    PILLION_NO_MEMORY = 10   /* what is there stays as it is, and later calls work when there is memory again */
} pillion_result;
PILLION_API const char *pillion_result_text(pillion_result result);

struct pillion_error {
    char text[512]; /* one sentence */
};

/* ---- Client */

struct pillion_client;

struct pillion_options {
    size_t size;
    const char *mapped;  /* "unix:PATH" of the mapped listener; NULL: only the socket */
    const char *resp;    /* "unix:PATH" or "tcp:HOST:PORT" of a resp listener; NULL: no fallback */
    const char *name;    /* shown to operators; NULL: the program's */
    uint32_t timeout_ms; /* of socket calls; 0: 1000 */
    uint32_t refresh_us; /* how long the call that sees a new release waits for it; 0: 20000 */
};

/* Connects. Fails only when neither way works; which one does, and why not the other: pillion_info. */
PILLION_API pillion_result pillion_open(const struct pillion_options *options, struct pillion_client **ret_client,
                                        struct pillion_error *ret_error);
/* Unmaps and frees all, plans too. NULL is fine; sets the pointer to NULL. */
PILLION_API void pillion_close(struct pillion_client **client);

/* ---- Plan: what to read, resolved once, and again by itself when a release changes. */

struct pillion_plan;

typedef enum pillion_dtype { PILLION_FLOAT32 = 0, PILLION_FLOAT64 = 1 } pillion_dtype;
enum {
    PILLION_USE_DEFAULTS = 1, /* missing values become the feature's default where it has one; the status tells */
    PILLION_COLUMNS = 2,      /* for pillion_get_columns: strings, bytes and lists are fine, there is no tensor */
};

struct pillion_plan_options {
    size_t size;
    const char *service;         /* a feature service, or NULL and … */
    const char *const *features; /* … "view:feature" or "project/view:feature" */
    uint32_t feature_count;
    uint32_t dtype; /* pillion_dtype of the tensor */
    uint32_t flags;
    int64_t max_age_us;      /* values older than this are OUTSIDE_MAX_AGE; 0: only the view's ttl */
    const char *min_release; /* 16 hex digits: a get fails with NOT_READY until this node serves that release, or one
                                made after it; NULL: any. The plan must be of one view */
};

/* INVALID, NOT_FOUND, UNSUPPORTED, DENIED, NOT_READY with a sentence. Takes a lock and allocates. */
PILLION_API pillion_result pillion_plan(struct pillion_client *client, const struct pillion_plan_options *options,
                                        struct pillion_plan **ret_plan, struct pillion_error *ret_error);
/* Not while a get of this plan runs. */
PILLION_API void pillion_plan_free(struct pillion_plan **plan);

struct pillion_feature_info {
    char view[2 * PILLION_NAME_BYTES]; /* "project/view" */
    char feature[PILLION_NAME_BYTES];
    char type[40];       /* "float32", "vector<int8,128>" */
    uint32_t view_index; /* in pillion_answer */
    uint32_t first;      /* element of the tensor row */
    uint32_t count;      /* elements; 0: no place in a tensor */
    uint64_t reserved[2];
};
struct pillion_plan_info {
    size_t size;
    uint32_t feature_count; /* statuses of a row */
    uint32_t width;         /* elements of a tensor row */
    uint32_t view_count;
    uint32_t join_key_count;
    char join_keys[PILLION_KEYS_MAX][PILLION_NAME_BYTES]; /* the order of the key columns */
    char join_key_types[PILLION_KEYS_MAX][40];
};
/* As of now; where the plan is not mapped, the server is asked for the types. Names, width and join keys of a plan
 * never change, types of features may: a release that would change the width makes gets fail with INVALID until the
 * caller plans anew. */
PILLION_API pillion_result pillion_plan_describe(struct pillion_plan *plan, struct pillion_plan_info *ret_info);
/* Fills up to `capacity` features; INVALID when it is less than feature_count. */
PILLION_API pillion_result pillion_plan_features(struct pillion_plan *plan, struct pillion_feature_info *ret_features,
                                                 uint32_t capacity);

/* ---- Get */

typedef enum pillion_key_kind {
    PILLION_KEY_INT64 = 0, /* values: int64_t[count]; whole seconds for unix_timestamp keys */
    PILLION_KEY_INT32 = 1, /* values: int32_t[count] */
    PILLION_KEY_BYTES = 2, /* offsets: int32_t[count + 1] into values; strings are UTF-8; integers as digits are fine */
    PILLION_KEY_BYTES64 = 3 /* the same with int64_t offsets, as in Arrow's large_string */
} pillion_key_kind;

struct pillion_key_column {
    uint32_t kind;
    const void *values;
    const void *offsets;
};
struct pillion_keys {
    size_t size;
    size_t count;          /* rows */
    uint32_t column_count; /* = join_key_count of the plan */
    struct pillion_key_column columns[PILLION_KEYS_MAX];
};

/* Of each value; numbers are Feast's. */
typedef enum pillion_status {
    PILLION_PRESENT = 1,
    PILLION_NULL_VALUE = 2,
    PILLION_NOT_FOUND_KEY = 3,
    PILLION_OUTSIDE_MAX_AGE = 4 /* the value is there, but older than the ttl or max_age */
} pillion_status;

struct pillion_output {
    size_t size;
    void *values;         /* row-major [count][width] of the plan's dtype, any alignment; missing values are NaN;
                             NULL: none are wanted */
    size_t value_bytes;   /* room there; TOO_LARGE when it is less than count * width * 4 or 8 */
    uint8_t *statuses;    /* NULL, or [count][feature_count] */
    int64_t *event_ts_us; /* NULL, or [count][view_count]: event timestamp of the row, INT64_MIN where not found */
    uint32_t flags;
};
enum { PILLION_NO_REFRESH = 1 /* read what is mapped now, whatever the server says: a bound on the worst case */ };

struct pillion_view_answer {
    char release[PILLION_RELEASE_BYTES];
    uint64_t generation;  /* of this server process */
    int64_t worst_age_us; /* now − oldest event timestamp among the rows found; −1: none was found */
    uint64_t not_found;   /* rows */
    int64_t created_us;   /* when the release was made */
    uint64_t reserved;
};
struct pillion_answer {
    size_t size;
    uint32_t is_mapped; /* 1: read in this process; 0: over the socket */
    uint32_t view_count;
    int64_t staleness_us; /* mapped: since when the server has not said that this is current; 0 while it does */
    struct pillion_view_answer views[PILLION_VIEWS_MAX];
    struct pillion_error error; /* when the call fails: why */
};

/* Fills output. On failure nothing of it is valid. answer may be NULL. */
PILLION_API pillion_result pillion_get(struct pillion_plan *plan, const struct pillion_keys *keys,
                                       const struct pillion_output *output, struct pillion_answer *answer);

/* Typed columns, one for each feature (a plan with PILLION_COLUMNS), in Arrow's memory layout (fixed width; utf8 and
 * binary; lists of these), values in little-endian, unix_timestamp as int64 microseconds, bool as bytes. */
struct pillion_column {
    void *values;           /* fixed: [count] or [count * dimension] elements; else: bytes, or elements of lists */
    size_t value_bytes;     /* room there */
    int32_t *offsets;       /* [count + 1]: strings and bytes: into values; lists: elements. NULL for fixed types */
    int32_t *child_offsets; /* lists of strings or bytes: of the elements, into values */
    size_t child_capacity;  /* entries there */
    uint8_t *statuses;      /* NULL, or [count] */
    size_t ret_value_bytes; /* out: used, or needed when the call says TOO_LARGE */
    size_t ret_child_count; /* out: the same of child_offsets */
    uint64_t reserved[2];
};
struct pillion_columns {
    size_t size;
    struct pillion_column *columns; /* [column_count], in the order of the plan */
    uint32_t column_count;          /* = feature_count of the plan */
    uint32_t flags;                 /* as in pillion_output */
    int64_t *event_ts_us;           /* as in pillion_output */
};
PILLION_API pillion_result pillion_get_columns(struct pillion_plan *plan, const struct pillion_keys *keys,
                                               const struct pillion_columns *columns, struct pillion_answer *answer);

/* ---- Info */

struct pillion_view_info {
    char name[2 * PILLION_NAME_BYTES]; /* project/view */
    char release[PILLION_RELEASE_BYTES];
    uint64_t generation;
    uint64_t mapped_bytes;
    uint64_t row_count;
    uint32_t is_mapped;
    char why_not[256]; /* when it is not: the server's sentence */
};
struct pillion_info {
    size_t size;
    uint32_t is_connected; /* the mapped listener's connection is up and its heartbeat fresh */
    uint32_t view_count;
    int64_t staleness_us;
    uint64_t refreshes; /* releases mapped so far */
    uint64_t reconnects;
    uint64_t socket_calls; /* gets that went over the socket */
    char why_not_mapped[256];
    struct pillion_view_info views[64];
};
PILLION_API pillion_result pillion_info(struct pillion_client *client, struct pillion_info *ret_info);

/* "0.1.0" */
PILLION_API const char *pillion_version(void);

#ifdef __cplusplus
}
#endif
