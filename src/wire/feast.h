/* SPDX-License-Identifier: Apache-2.0
 * Bodies of Feast's HTTP API: the request of POST /get-online-features into arrays, its column-oriented response and
 * its errors into bytes. Byte shapes are those of Feast 0.67's Python server. Pure: no input or output, no allocation.
 * feast.c reads requests, feast_reply.c writes responses and errors. */
#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "base/sink.h"
#include "base/status.h"
#include "schema/type.h"
#include "schema/value_status.h"

/* ---- Request. */

typedef enum pil_feast_kind {
    PIL_FEAST_KIND_NULL,
    PIL_FEAST_KIND_BOOL,    /* `integer` 0 or 1 */
    PIL_FEAST_KIND_INTEGER, /* a whole number within int64, also when written 1002.0 or 1.002e3; `text` as written */
    PIL_FEAST_KIND_NUMBER,  /* any other number; `text` as written */
    PIL_FEAST_KIND_STRING,  /* `text`, UTF-8 */
    PIL_FEAST_KIND_NESTED,  /* a list or an object; `text` is its JSON */
} pil_feast_kind;

struct pil_feast_value {
    pil_feast_kind kind;
    int64_t integer;
    struct pil_bytes text; /* points into the body or into scratch */
};

struct pil_feast_column {
    struct pil_bytes name;
    uint32_t value_first; /* in request.values */
    uint32_t value_count;
};

/* The caller's arrays, set before parsing and reused from request to request. */
struct pil_feast_buffers {
    struct pil_feast_column *columns;
    struct pil_feast_value *values;
    struct pil_bytes *features;
    uint8_t *scratch; /* the length of the longest body is always enough */
    uint32_t column_max;
    uint32_t value_max; /* of all columns together; see pil_feast_request.is_cut */
    uint32_t feature_max;
    size_t scratch_bytes;
    struct pil_json_rest rest; /* from reading the JSON */
};

struct pil_feast_request {
    struct pil_feast_column *columns; /* members of "entities", in order; of equal names the last one counts */
    uint32_t column_count;
    const struct pil_feast_value *values;
    const struct pil_bytes *features; /* "view:feature" */
    uint32_t feature_count;
    bool has_features;                /* "features" was present, but may be empty */
    struct pil_bytes feature_service; /* empty when missing, null or ""; otherwise it takes precedence over features */
    struct pil_bytes project;         /* of bare names; empty when missing, null or "". Feast's server has none */
    bool full_feature_names;
    bool include_view_metadata; /* include_feature_view_version_metadata */
    bool is_cut; /* there are more values than value_max: the columns' counts are right, but only the first
                    value_max values were kept */
};

/* Why a body was rejected, in FastAPI's form: what is wrong, and where. The server also makes rejections for keys that
 * cannot be coerced. */
struct pil_feast_rejection {
    int http_status;  /* 422; 400 for bytes that are not UTF-8; 413 for more than the buffers hold */
    uint32_t limit;   /* 413: the most that is possible */
    const char *type; /* "json_invalid", "missing", "list_type", "int_parsing", …; NULL: there is only the message */
    const char *message;
    const char *member;     /* loc[1]: "entities", "features", …; NULL: the body itself */
    struct pil_bytes field; /* loc[2]: the join key; empty: none */
    int64_t index;          /* last element of loc: position in the list, or the character for json_invalid; -1: none */
    const char *detail;     /* json_invalid: ctx.error; else NULL */
    struct pil_bytes input; /* JSON text of the offending value; shown when short; empty: not shown */
};

/* OK, or INVALID or TOO_LARGE with *ret_rejection. Unknown members are skipped; of equal members the last one counts.
 */
pil_status pil_feast_parse(struct pil_bytes body, const struct pil_feast_buffers *buffers,
                           struct pil_feast_request *ret_request,
                           struct pil_feast_rejection *ret_rejection) PIL_CHECKED;

/* {"detail":[{"type":…,"loc":["body",…],"msg":…,"input":…}]} */
void pil_feast_put_rejection(struct pil_sink *sink, const struct pil_feast_rejection *rejection);
/* {"detail":"Not Found"} */
void pil_feast_put_detail(struct pil_sink *sink, const char *text);

/* ---- Errors of requests that parsed. %1 and %2 are the arguments. An error with a class is a JSON string that
 * contains the JSON {"module","class","message"}, and Feast's client raises that class; one without is a JSON string
 * with the message. Where Feast answers 500, we answer 400: Feast's client retries 429, 500 and 503 for three seconds
 * and then loses the message. */
#define PIL_FEAST_ERROR_TABLE(X) \
    /* name, status, class, message */ \
    X(VIEW_UNKNOWN, 404, "FeatureViewNotFoundException", "Feature view %1 does not exist in project %2") \
    X(SERVICE_UNKNOWN, 404, "FeatureServiceNotFoundException", "Feature service %1 does not exist in project %2") \
    X(FEATURE_UNKNOWN, 400, NULL, "'Feature %1 not found in projection %2'") \
    X(REFERENCE_INVALID, 400, NULL, \
      "Invalid feature reference '%1'. Expected format: '<feature_view>:<feature>' or " \
      "'<feature_view>@<version>:<feature>'") \
    X(VERSION_UNKNOWN, 400, NULL, "Version-qualified ref '%1' not supported: only '@latest' is served") \
    X(COLUMNS_UNEQUAL, 400, NULL, "All entity rows must have the same columns.") \
    X(FEATURES_MISSING, 400, NULL, "No features specified for retrieval") \
    X(ROWS_MISSING, 400, NULL, "No entity rows: the list of join key '%1' is empty") \
    X(KEY_MISSING, 400, NULL, "Missing join key values for keys: ['%1'], required by feature view %2") \
    X(NAME_COLLISION, 400, "FeatureNameCollisionError", \
      "Duplicate features named %1 found.\nTo resolve this collision, " \
      "either use the full feature name by setting 'full_feature_names=True', or ensure that " \
      "the features in question have different names.") \
    X(NAME_COLLISION_FULL, 400, "FeatureNameCollisionError", \
      "Duplicate features named %1 found.\nTo resolve this " \
      "collision, please ensure that the feature views or their own features have different names.") \
    X(VIEW_NOT_LOADED, 503, NULL, "Feature view %1 has no release loaded yet") \
    X(SERVICE_NOT_KNOWN, 503, NULL, "Feature service %1 is not known: its project was not read yet") \
    X(VIEW_DENIED, 403, "FeastPermissionError", "Permission error:\nyou may not read feature view %1") \
    X(VIEW_AMBIGUOUS, 400, NULL, "Feature view %1 is ambiguous: say project/view") \
    X(SERVICE_AMBIGUOUS, 400, NULL, "Feature service %1 is ambiguous: say project/service") \
    X(PROJECT_TWICE, 400, NULL, "The request is for project %1 in its path and for project %2 in its body") \
    X(TOO_LARGE, 413, NULL, "The request has %1; at most %2 are possible in one request") \
    X(NO_ROOM, 413, NULL, "The request needs more memory than one batch has: ask for fewer rows or features") \
    X(ANSWER_TOO_LARGE, 413, NULL, "The answer is longer than %1: ask for fewer rows or features in one request") \
    X(NO_PLACE, 503, NULL, "There is no place for one more connection: see %1") \
    X(MEMORY_SHARE, 503, NULL, "This client holds its share of %1: take answers before you ask for more")

typedef enum pil_feast_error {
#define X(name, status, class_name, message) PIL_FEAST_ERROR_##name,
    PIL_FEAST_ERROR_TABLE(X)
#undef X
        PIL_FEAST_ERROR_COUNT
} pil_feast_error;

int pil_feast_error_http_status(pil_feast_error error);
/* The arguments come from the request, so each is cut to PIL_FEAST_ARGUMENT_BYTES. */
enum { PIL_FEAST_ARGUMENT_BYTES = 192 };
void pil_feast_put_error(struct pil_sink *sink, pil_feast_error error, struct pil_bytes first, struct pil_bytes second);

/* No value of an answer takes fewer bytes, with its status and its time: 1,"PRESENT","1970-01-01T00:00:00Z", */
enum { PIL_FEAST_VALUE_BYTES_MIN = 35, PIL_FEAST_STATUS_BYTES_MAX = 24, PIL_FEAST_TIME_BYTES_MAX = 40 };

/* ---- Response. The calls, in this order:
 *
 *     pil_feast_put_begin
 *
 *     for each column: put_column; for each row put_value or put_null; put_statuses; for each row put_status;
 *     put_timestamps; for each row put_timestamp
 *
 * put_names; for each column put_name; if the request wants views: put_views, for each view put_view; put_end */

/* Zero-initialised but for the sink. */
struct pil_feast_encoder {
    struct pil_sink *sink;
    bool comma; /* before the next element of the innermost list */
    bool column_open;
    /* The last time and its text, from the comma before it to its closing quote. The text is reused for an equal time;
     * for another time of the same day only the time of day is rewritten. */
    bool day_known;
    uint8_t time_bytes; /* 0: no text yet */
    int64_t time_us;
    int64_t day_us; /* midnight before time_us */
    char time_text[PIL_CLOCK_TEXT_BYTES + 4];
};

void pil_feast_put_begin(struct pil_feast_encoder *encoder);
void pil_feast_put_column(struct pil_feast_encoder *encoder);
/* Writes a feature value, or a key by its entity's type, with pil_value_put_json. */
void pil_feast_put_value(struct pil_feast_encoder *encoder, struct pil_type type, struct pil_bytes raw);
void pil_feast_put_null(struct pil_feast_encoder *encoder);
void pil_feast_put_statuses(struct pil_feast_encoder *encoder);
void pil_feast_put_status(struct pil_feast_encoder *encoder, pil_value_status status);
void pil_feast_put_timestamps(struct pil_feast_encoder *encoder);
/* 0 for keys and for entities that were not found. */
void pil_feast_put_timestamp(struct pil_feast_encoder *encoder, int64_t event_us);
void pil_feast_put_names(struct pil_feast_encoder *encoder);
void pil_feast_put_name(struct pil_feast_encoder *encoder, struct pil_bytes name);
void pil_feast_put_views(struct pil_feast_encoder *encoder);
void pil_feast_put_view(struct pil_feast_encoder *encoder, struct pil_bytes name);
void pil_feast_put_end(struct pil_feast_encoder *encoder);
