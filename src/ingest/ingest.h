/* SPDX-License-Identifier: Apache-2.0
 * The build core: takes Arrow record batches and makes one release of a feature view. It keeps the latest row of each
 * key by (event timestamp, created timestamp, values), regardless of the order of rows, so that the same rows always
 * give the same bytes. It reads no files: front ends (the Python package) read Parquet, CSV or SQL and pass an Arrow C
 * stream.
 *
 * Three phases. READ encodes rows and distributes them over partitions by the high bits of their shard hash, in memory
 * until the buffer is full, then in an unlinked file. MERGE keeps the winners of one partition after another and
 * profiles them. WRITE makes shards, uploads those that the store lacks, and writes the manifest last; before that,
 * nothing is visible in the store. Thread: one calling thread; WRITE starts more threads. */
#pragma once

#include "ingest/arrow.h"
#include "release/manifest.h"
#include "schema/view.h"
#include "store/store.h"

#include <jansson.h>

#define PIL_INGEST_MEMORY_MIN ((size_t)64 << 20)
enum { PIL_INGEST_CONFLICTS_SHOWN = 10 };
/* Names of the columns that no view can declare. Key columns are named by join key, feature columns by feature. */
#define PIL_INGEST_EVENT_COLUMN "@event_timestamp"     /* not in static views */
#define PIL_INGEST_CREATED_COLUMN "@created_timestamp" /* may be absent */
/* int32, may be absent: nanoseconds (0 to 999) beyond the microsecond of the two timestamps. They take part in deciding
 * which row wins, and are not kept. */
#define PIL_INGEST_EVENT_NS_COLUMN "@event_nanoseconds"
#define PIL_INGEST_CREATED_NS_COLUMN "@created_nanoseconds"

typedef enum pil_ingest_phase {
    PIL_INGEST_PHASE_READ,
    PIL_INGEST_PHASE_MERGE,
    PIL_INGEST_PHASE_WRITE,
    PIL_INGEST_PHASE_COUNT
} pil_ingest_phase;
const char *pil_ingest_phase_text(pil_ingest_phase phase);

/* Why a row is rejected.          code           name for reports */
/* clang-format off */
#define PIL_INGEST_FLAW_TABLE(X) \
    X(NULL_KEY,         "null_key") \
    X(NULL_TIMESTAMP,   "null_timestamp") \
    X(ABSURD_TIMESTAMP, "absurd_timestamp") \
    X(NULL_ELEMENT,     "null_element") \
    X(VECTOR_LENGTH,    "vector_length") \
    X(INVALID_UTF8,     "invalid_utf8") \
    X(OUT_OF_RANGE,     "out_of_range") \
    X(TOO_LARGE,        "too_large")
/* clang-format on */
typedef enum pil_ingest_flaw {
    PIL_INGEST_FLAW_NONE,
#define X(name, text) PIL_INGEST_FLAW_##name,
    PIL_INGEST_FLAW_TABLE(X)
#undef X
} pil_ingest_flaw;
const char *pil_ingest_flaw_text(pil_ingest_flaw flaw);

struct pil_ingest_options {
    const struct pil_view *view; /* copied */
    const char *temporary;       /* folder of the spill file; used only when memory is short */
    size_t memory_bytes;         /* cap on all memory that grows with the data; at least PIL_INGEST_MEMORY_MIN */
    size_t outside_bytes;        /* what the user's limit has beside that, for messages */
    uint32_t threads;            /* of WRITE; fewer when memory is short; 0 means 1 */
    int64_t event_ts_us_max;     /* a row with a later event timestamp is flawed: its clock or its unit is wrong … */
    int64_t as_of_us;            /* … but later ones than this are left out before; INT64_MAX: none. Neither counts in
                                  * static views. */
    uint16_t as_of_ns;           /* nanoseconds beyond as_of_us, 0 to 999 */
    /* Reports a flawed row: its number counted from the first row of the first stream, the column, and the flaw ("has 3
     * elements where vector<float32,4> needs 4"). Returns true to leave the row out and count it, false to stop. NULL:
     * stop. */
    bool (*on_flaw)(void *context, uint64_t row, const char *column, pil_ingest_flaw flaw, const char *text);
    /* Reports a key of which rows were in conflict (ingest/order.h), and how many of them lost. Called by MERGE in the
     * calling thread for the first PIL_INGEST_CONFLICTS_SHOWN such keys, in the order of their hashes. The whole key
     * as RESP text, valid during the call. Returns false to stop. May be NULL. */
    bool (*on_conflict)(void *context, struct pil_bytes key, int64_t event_us, uint32_t lost);
    /* Called in the calling thread, at most every 50 ms and once at the end of a phase. `total` is 0 when it is
     * unknown; READ counts rows, MERGE and WRITE count bytes. Returns false to cancel. May be NULL. */
    bool (*on_progress)(void *context, pil_ingest_phase phase, uint64_t done, uint64_t total);
    void *context;
};

/* rows_in = rows_out + duplicates + conflicts + late + after_as_of + null_keys + bad_rows. */
struct pil_ingest_counts {
    uint64_t rows_in;
    uint64_t rows_out;
    uint64_t duplicates; /* equal to the row that won */
    uint64_t conflicts;  /* same key and times as the row that won, other values */
    uint64_t late;       /* older than the row that won, by event or else by created timestamp */
    uint64_t after_as_of;
    uint64_t null_keys;
    uint64_t bad_rows; /* rows with other flaws */
};

struct pil_ingest_result {
    char release[PIL_RELEASE_ID_CHARS + 1];
    char previous[PIL_RELEASE_ID_CHARS + 1]; /* "" when none */
    bool existed;                            /* the store already had this release */
    uint32_t shard_count;
    uint32_t shards_uploaded;
    uint64_t bytes;
    uint64_t bytes_uploaded;
    uint64_t bytes_spilled;                    /* written to the spill file */
    uint64_t memory_bytes_peak;                /* of the memory that the cap covers */
    uint64_t phase_ns[PIL_INGEST_PHASE_COUNT]; /* READ excludes the time that the stream took */
};

struct pil_ingest;

/* INVALID: a cap below PIL_INGEST_MEMORY_MIN. */
pil_status pil_ingest_create(const struct pil_ingest_options *options, struct pil_ingest **ret_ingest,
                             struct pil_error *ret_error) PIL_CHECKED;
void pil_ingest_destroy(struct pil_ingest **ingest);

/* Takes all rows of a stream; the stream is released in any case. May be called again with more streams. INVALID: the
 * schema does not match (the text names column and format), or a flawed row stopped the build; CLOSED: cancelled; IO:
 * the stream's own error; NO_SPACE, NO_MEMORY. After a failure only destroy is allowed. Encodes directly from the
 * batch's memory, and keeps nothing of a batch afterwards. */
pil_status pil_ingest_stream(struct pil_ingest *ingest, struct ArrowArrayStream *stream,
                             struct pil_error *ret_error) PIL_CHECKED;

/* Ends the input and selects the winners. INVALID: on_conflict stopped the build. */
pil_status pil_ingest_merge(struct pil_ingest *ingest, struct pil_ingest_counts *ret_counts,
                            struct pil_error *ret_error) PIL_CHECKED;

/* Writes the shards and publishes the manifest, which gets the members of `extra` and "profile" in addition to the
 * required ones. A NULL store means a dry run: everything but the store. To be called once, after merge. */
pil_status pil_ingest_publish(struct pil_ingest *ingest, struct pil_store *store, const json_t *extra,
                              struct pil_ingest_result *ret_result, struct pil_error *ret_error) PIL_CHECKED;
