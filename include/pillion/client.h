/* SPDX-License-Identifier: Apache-2.0
 * libpillion: feature vectors from the Pillion of this node. The calling process reads them from memory that Pillion
 * shares with it, or over Pillion's socket where mapping is refused: same calls, same results. Examples: docs/examples.
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
 * Threads: any number of threads may use a client and its plans at once; pillion_close must be the last call.
 * Fork: a child goes on reading the releases that were mapped; its first call opens a connection of its own. A fork
 * while another thread is in pillion_open, pillion_plan or a refresh costs the child some memory, nothing else.
 * Signals: EINTR is never an error, and no reader waits for an interrupted one. A signal handler may call pillion_get
 * and pillion_get_columns with PILLION_NO_REFRESH on plans that are mapped: they then neither allocate nor lock.
 * Cost of a mapped get: no allocation, no system call (the clock comes from the vDSO), no lock; only when 255 calls are
 * in flight, one more maps some pages to count itself. The call that first sees a new release pays for mapping it;
 * calls after it each do a small part of the work that is left.
 * ABI: structs begin with their size, which the caller sets. Fields are only added at the end, and a new field that is
 * zero changes nothing. The caller keeps all memory that it passes to a call. */
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

/* Each result calls for a different reaction of the caller. */
typedef enum pillion_result {
    PILLION_OK = 0,
    PILLION_INVALID = 1,     /* the call is wrong: correct it */
    PILLION_NOT_FOUND = 2,   /* no such service, view or feature on this node */
    PILLION_DENIED = 3,      /* this peer may not read that view */
    PILLION_UNSUPPORTED = 4, /* a type that no tensor holds, an unknown flag, or a newer protocol */
    PILLION_TOO_LARGE = 5,   /* a buffer is too small, or a limit of the server is exceeded */
    PILLION_NOT_READY = 6,   /* a view has no release yet, or min_release has not arrived yet */
    PILLION_UNAVAILABLE = 7, /* nothing is mapped, and the server does not answer */
    PILLION_CORRUPT = 8,     /* mapped or received data failed a check; none of it was used */
    PILLION_SYSTEM = 9,      /* a system call failed, for example for lack of descriptors */
    PILLION_NO_MEMORY = 10   /* mapped releases stay, and later calls work when there is memory again */
} pillion_result;
PILLION_API const char *pillion_result_text(pillion_result result);

struct pillion_error {
    char text[512]; /* one sentence */
};

/* ---- Client */

struct pillion_client;

struct pillion_options {
    size_t size;
    const char *mapped;  /* "unix:PATH" of the mapped listener; NULL: use only the socket */
    const char *resp;    /* "unix:PATH" or "tcp:HOST:PORT" of a resp listener; NULL: no fallback */
    const char *name;    /* shown to operators; NULL: the name of the program */
    uint32_t timeout_ms; /* for socket calls; 0: 1000 */
    uint32_t refresh_us; /* how long the call that first sees a new release waits for it; 0: 20000 */
};

/* Connects. Fails only when neither way works; pillion_info says which one works and why the other does not. The caller
 * owns the client and ends it with pillion_close. */
PILLION_API pillion_result pillion_open(const struct pillion_options *options, struct pillion_client **ret_client,
                                        struct pillion_error *ret_error);
/* Unmaps and frees everything, including the plans. Accepts a pointer to NULL; sets the pointer to NULL. */
PILLION_API void pillion_close(struct pillion_client **client);

/* ---- Plan: what to read. Resolved once, and again by the library when a release changes. */

struct pillion_plan;

typedef enum pillion_dtype { PILLION_FLOAT32 = 0, PILLION_FLOAT64 = 1 } pillion_dtype;
enum {
    PILLION_USE_DEFAULTS = 1, /* a missing value becomes the feature's default, if it has one; its status still says
                                 that it is missing */
    PILLION_COLUMNS = 2,      /* for pillion_get_columns, without a tensor: strings, bytes and lists are allowed */
};

struct pillion_plan_options {
    size_t size;
    const char *service;         /* a feature service, or a view: all its features; or NULL and then … */
    const char *const *features; /* … "view:feature" or "project/view:feature" */
    uint32_t feature_count;
    uint32_t dtype; /* pillion_dtype of the tensor's elements */
    uint32_t flags;
    int64_t max_age_us;      /* older values are OUTSIDE_MAX_AGE; 0: only the view's ttl counts */
    const char *min_release; /* 16 hex digits: a get fails with NOT_READY until this node serves that release, or one
                                made after it. NULL: any release will do. Only for a plan of one view */
};

/* INVALID, NOT_FOUND, UNSUPPORTED, DENIED, NOT_READY, UNAVAILABLE, CORRUPT (the server describes another plan than was
 * asked for), NO_MEMORY, each with a sentence. Takes a lock, allocates, and waits for the server (timeout_ms). The
 * client owns the plan, until pillion_plan_free or pillion_close. */
PILLION_API pillion_result pillion_plan(struct pillion_client *client, const struct pillion_plan_options *options,
                                        struct pillion_plan **ret_plan, struct pillion_error *ret_error);
/* To be called while no get of this plan runs. Accepts a pointer to NULL; sets the pointer to NULL. */
PILLION_API void pillion_plan_free(struct pillion_plan **plan);

struct pillion_feature_info {
    char view[2 * PILLION_NAME_BYTES]; /* "project/view" */
    char feature[PILLION_NAME_BYTES];
    char type[40];       /* "float32", "vector<int8,128>" */
    uint32_t view_index; /* index into pillion_answer.views */
    uint32_t first;      /* its first element in a tensor row */
    uint32_t count;      /* number of elements; 0: not part of a tensor */
    uint64_t reserved[2];
};
struct pillion_plan_info {
    size_t size;
    uint32_t feature_count; /* also the number of statuses of a row */
    uint32_t width;         /* elements of a tensor row */
    uint32_t view_count;
    uint32_t join_key_count;
    char join_keys[PILLION_KEYS_MAX][PILLION_NAME_BYTES]; /* in the order of the key columns */
    char join_key_types[PILLION_KEYS_MAX][40];
};
/* The plan as it was described last; NOT_READY: the plan waits for its first release, and nothing is known about it
 * yet. Names, width and join keys of a plan never change: a release that would change the width, or the place of a
 * feature in a row, makes gets fail with INVALID until the caller makes a new plan. Takes a lock. */
PILLION_API pillion_result pillion_plan_describe(struct pillion_plan *plan, struct pillion_plan_info *ret_info);
/* Fills up to `capacity` features. Their types may change with a release: for a plan that is not mapped, the server is
 * asked for them. INVALID: `capacity` is less than feature_count. NOT_READY: as above. */
PILLION_API pillion_result pillion_plan_features(struct pillion_plan *plan, struct pillion_feature_info *ret_features,
                                                 uint32_t capacity);

/* ---- Get */

typedef enum pillion_key_kind {
    PILLION_KEY_INT64 = 0, /* values: int64_t[count]; for unix_timestamp keys, whole seconds */
    PILLION_KEY_INT32 = 1, /* values: int32_t[count] */
    PILLION_KEY_BYTES = 2, /* values: bytes; offsets: int32_t[count + 1] into values. Strings are UTF-8; integers may be
                              written in digits */
    PILLION_KEY_BYTES64 = 3, /* the same with int64_t offsets, as in Arrow's large_string */
    PILLION_KEY_TIME_US = 4  /* values: int64_t[count], microseconds since 1970; only for unix_timestamp keys */
} pillion_key_kind;

struct pillion_key_column {
    uint32_t kind;
    const void *values;
    const void *offsets;
};
struct pillion_keys {
    size_t size;
    size_t count;          /* rows */
    uint32_t column_count; /* equals join_key_count of the plan; 0 where no view has entities */
    struct pillion_key_column columns[PILLION_KEYS_MAX];
};

/* Of each value; the numbers are those of Feast. */
typedef enum pillion_status {
    PILLION_PRESENT = 1,
    PILLION_NULL_VALUE = 2,
    PILLION_NOT_FOUND_KEY = 3,
    PILLION_OUTSIDE_MAX_AGE = 4 /* the value exists, but is older than the ttl or max_age */
} pillion_status;

struct pillion_output {
    size_t size;
    void *values;         /* row-major [count][width] of the plan's dtype, any alignment; missing values are NaN; NULL:
                             no values are wanted */
    size_t value_bytes;   /* size of that memory; TOO_LARGE when it is less than count * width * 4 or 8 */
    uint8_t *statuses;    /* NULL, or [count][feature_count] */
    int64_t *event_ts_us; /* NULL, or [count][view_count]: event timestamp of each row, INT64_MIN when not found */
    uint32_t flags;
};
enum { PILLION_NO_REFRESH = 1 /* use what is mapped, even if newer releases exist: bounds the worst case */ };

struct pillion_view_answer {
    char release[PILLION_RELEASE_BYTES];
    uint64_t generation;  /* of the release, counted by the running server process */
    int64_t worst_age_us; /* now − oldest event timestamp among the rows found; −1: none of them has one */
    uint64_t not_found;   /* number of rows */
    int64_t created_us;   /* when the release was made */
    uint64_t reserved;
};
struct pillion_answer {
    size_t size;
    uint32_t is_mapped; /* 1: read in this process; 0: read over the socket */
    uint32_t view_count;
    int64_t staleness_us; /* mapped: for how long the server has not confirmed that these releases are the newest; 0
                             while it does, and over the socket */
    struct pillion_view_answer views[PILLION_VIEWS_MAX];
    struct pillion_error error; /* the reason, when the call fails */
};

/* Fills *output. After a failure none of its contents are valid. answer may be NULL. */
PILLION_API pillion_result pillion_get(struct pillion_plan *plan, const struct pillion_keys *keys,
                                       const struct pillion_output *output, struct pillion_answer *answer);

/* Typed columns, one for each feature (a plan with PILLION_COLUMNS), in Arrow's memory layout (fixed width; utf8 and
 * binary; lists of these). Values are little-endian, unix_timestamp is int64 microseconds, bool takes one byte. */
struct pillion_column {
    void *values;           /* fixed types: [count] or [count * dimension] elements; other types: bytes, or elements of
                               lists */
    size_t value_bytes;     /* size of that memory */
    int32_t *offsets;       /* [count + 1]: of strings and bytes into values, of lists in elements. NULL for fixed
                               types */
    int32_t *child_offsets; /* lists of strings or bytes: offsets of their elements into values */
    size_t child_capacity;  /* entries of that array */
    uint8_t *statuses;      /* NULL, or [count] */
    size_t ret_value_bytes; /* out: bytes used, or needed when the call returns TOO_LARGE */
    size_t ret_child_count; /* out: the same for entries of child_offsets */
    uint64_t reserved[2];
};
struct pillion_columns {
    size_t size;
    struct pillion_column *columns; /* [column_count], in the order of the plan */
    uint32_t column_count;          /* equals feature_count of the plan */
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
    char why_not[256]; /* when it is not mapped: the server's sentence */
};
struct pillion_info {
    size_t size;
    uint32_t is_connected; /* the mapped listener's connection is up and its heartbeat fresh */
    uint32_t view_count;
    int64_t staleness_us;
    uint64_t refreshes; /* releases mapped so far */
    uint64_t reconnects;
    uint64_t socket_calls; /* gets over the socket */
    char why_not_mapped[256];
    struct pillion_view_info views[64];
};
/* Takes a lock, and does the work that is pending, without waiting for the server. Always OK. */
PILLION_API pillion_result pillion_info(struct pillion_client *client, struct pillion_info *ret_info);

typedef char pillion_name[2 * PILLION_NAME_BYTES]; /* "project/view" or "project/service" */
typedef enum pillion_list_kind { PILLION_SERVICES = 0, PILLION_VIEWS = 1 } pillion_list_kind;

/* The names of all services or views of this node that this process may read, in no order. *ret_count is how many there
 * are, also when `capacity` is less: TOO_LARGE. UNAVAILABLE and the errors of a call over the socket. Takes a lock,
 * allocates, and waits for the server (timeout_ms). */
PILLION_API pillion_result pillion_list(struct pillion_client *client, uint32_t kind, pillion_name *ret_names,
                                        uint32_t capacity, uint32_t *ret_count, struct pillion_error *ret_error);

/* The version of the library, such as "0.1.0". */
PILLION_API const char *pillion_version(void);

#ifdef __cplusplus
}
#endif
