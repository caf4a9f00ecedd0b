/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/profile.h"
#include "base/hash.h"
#include "base/panic.h"
#include "ingest/sketch.h"
#include "ingest/value.h"
#include "schema/json_text.h"
#include "snapshot/reader.h"

#include <math.h>
#include <stdlib.h>

typedef enum measure { MEASURE_VALUE, MEASURE_LENGTH, MEASURE_ELEMENT } measure;

struct column {
    const struct pil_feature *feature;
    measure measure;
    bool is_integer; /* has an exact integer range in addition: doubles are not exact beyond 2^53 */
    bool hidden;
    uint64_t count, nulls;                /* values */
    uint64_t measured, nan, infinite;     /* measures; `measured` are the finite ones */
    double min, max, shift, sum, squares; /* sums of (x - shift) and its square: no cancellation far from zero */
    int64_t integer_min, integer_max;
    struct pil_hll *distinct;
    struct pil_frequent *frequent; /* NULL: frequent values are not counted */
};

struct pil_profile {
    const struct pil_view *view;
    uint64_t rows;
    struct column columns[];
};

struct tally_column {
    uint64_t buckets[PIL_PROFILE_BUCKETS];
    uint64_t top[PIL_FREQUENT_COUNTERS];
};
struct pil_tally {
    const struct pil_profile *profile;
    struct tally_column columns[];
};

/* ---- Values */

static uint64_t mix(uint64_t x) { /* finaliser of SplitMix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t hash_of(struct pil_bytes value) {
    uint64_t bits = 0;
    if (value.len > sizeof bits) {
        return pil_hash_index(value, 0);
    }
    if (value.len == 4) { /* the common lengths, without the cost of a call for a length known only at run time */
        bits = pil_load_u32(value.data);
    } else if (value.len == 8) {
        bits = pil_load_u64(value.data);
    } else {
        memcpy(&bits, value.data, value.len);
    }
    return mix(bits + ((uint64_t)value.len << 56) + 1);
}

static double length_of(struct pil_type type, struct pil_bytes value) {
    if (type.shape == PIL_SHAPE_SCALAR) {
        return (double)value.len;
    }
    if (pil_scalar_is_text(type.scalar)) {
        return pil_load_u32(value.data);
    }
    return (double)(value.len / pil_scalar_bytes(type.scalar));
}

/* Whether frequent values are reported. For integers only when there are few distinct ones: otherwise the counts are
 * noise. */
static bool has_top(const struct column *column) {
    return column->frequent != NULL && !(column->is_integer && column->frequent->overflowed);
}

/* ---- First pass */

static bool column_init(struct column *column, const struct pil_feature *feature) {
    struct pil_type type = feature->type;
    bool is_reference = pil_type_is_reference(type), is_scalar = type.shape == PIL_SHAPE_SCALAR;
    *column = (struct column){
        .feature = feature,
        .hidden = pil_view_feature_is_pii(feature),
        .measure = is_reference ? MEASURE_LENGTH
                   : is_scalar  ? MEASURE_VALUE
                                : MEASURE_ELEMENT,
        .is_integer = is_scalar && pil_value_is_integer(type.scalar),
        .min = INFINITY,
        .max = -INFINITY,
        .integer_min = INT64_MAX,
        .integer_max = INT64_MIN,
    };
    bool followed =
        is_scalar && !column->hidden && (is_reference || column->is_integer || pil_scalar_is_bool(type.scalar));
    column->distinct = calloc(1, sizeof *column->distinct);
    column->frequent = followed ? calloc(1, sizeof *column->frequent) : NULL;
    return column->distinct != NULL && (!followed || column->frequent != NULL);
}

struct pil_profile *pil_profile_create(const struct pil_view *view) {
    struct pil_profile *profile = calloc(1, sizeof *profile + view->feature_count * sizeof profile->columns[0]);
    if (profile == NULL) {
        return NULL;
    }
    profile->view = view;
    for (uint32_t i = 0; i < view->feature_count; i++) {
        if (!column_init(&profile->columns[i], &view->features[i])) {
            pil_profile_destroy(&profile);
            return NULL;
        }
    }
    return profile;
}

void pil_profile_destroy(struct pil_profile **profile) {
    struct pil_profile *old = *profile;
    *profile = NULL;
    for (uint32_t i = 0; old != NULL && i < old->view->feature_count; i++) {
        free(old->columns[i].distinct);
        free(old->columns[i].frequent);
    }
    free(old);
}

static inline void observe(struct column *column, double x) {
    double zero = x - x; /* NaN for infinities, too */
    if (__builtin_expect(zero != 0, 0)) {
        column->nan += x != x;
        column->infinite += x == x;
        return;
    }
    if (column->measured++ == 0) {
        column->shift = x;
    }
    column->min = x < column->min ? x : column->min;
    column->max = x > column->max ? x : column->max;
    double shifted = x - column->shift;
    column->sum += shifted;
    column->squares += shifted * shifted;
}

static void observe_integer(struct column *column, const uint8_t *field) {
    int64_t value = pil_value_integer_at(column->feature->type.scalar, field);
    column->integer_min = value < column->integer_min ? value : column->integer_min;
    column->integer_max = value > column->integer_max ? value : column->integer_max;
}

static void observe_row(struct column *column, const uint8_t *row, const struct pil_bytes *heap) {
    struct pil_type type = column->feature->type;
    struct pil_bytes value = pil_value_of(column->feature, row, heap);
    uint64_t hash = hash_of(value);
    column->count++;
    pil_hll_add(column->distinct, hash);
    if (has_top(column)) {
        pil_frequent_add(column->frequent, hash, value);
    }
    switch (column->measure) {
    case MEASURE_VALUE:
        observe(column, pil_value_number_at(type.scalar, value.data));
        if (column->is_integer) {
            observe_integer(column, value.data);
        }
        break;
    case MEASURE_LENGTH: observe(column, length_of(type, value)); break;
    case MEASURE_ELEMENT:
        for (uint32_t i = 0, width = pil_scalar_bytes(type.scalar); i < type.dimension; i++) {
            observe(column, pil_value_number_at(type.scalar, value.data + (size_t)i * width));
        }
        break;
    }
}

void pil_profile_row(struct pil_profile *profile, const uint8_t *row, const struct pil_bytes *heap) {
    profile->rows++;
    for (uint32_t i = 0; i < profile->view->feature_count; i++) {
        struct column *column = &profile->columns[i];
        if (pil_row_is_null(profile->view, row, i)) {
            column->nulls++;
        } else {
            observe_row(column, row, heap);
        }
    }
}

/* ---- Second pass */

struct pil_tally *pil_tally_create(const struct pil_profile *profile) {
    struct pil_tally *tally = calloc(1, sizeof *tally + profile->view->feature_count * sizeof tally->columns[0]);
    if (tally != NULL) {
        tally->profile = profile;
    }
    return tally;
}

void pil_tally_destroy(struct pil_tally **tally) {
    free(*tally);
    *tally = NULL;
}

/* Halves both, so that the range of ±DBL_MAX is finite. */
static void count_bucket(const struct column *column, struct tally_column *tally, double x) {
    double range = column->max * 0.5 - column->min * 0.5;
    double place = range > 0 ? (x * 0.5 - column->min * 0.5) / range * PIL_PROFILE_BUCKETS : 0;
    if (x - x == 0) {
        tally->buckets[place < PIL_PROFILE_BUCKETS ? (uint32_t)place : PIL_PROFILE_BUCKETS - 1]++;
    }
}

static void count_row(const struct column *column, struct tally_column *tally, const uint8_t *row,
                      const struct pil_bytes *heap) {
    struct pil_type type = column->feature->type;
    struct pil_bytes value = pil_value_of(column->feature, row, heap);
    int top = has_top(column) ? pil_frequent_find(column->frequent, hash_of(value), value) : -1;
    if (top >= 0) {
        tally->top[top]++;
    }
    switch (column->measure) {
    case MEASURE_VALUE: count_bucket(column, tally, pil_value_number_at(type.scalar, value.data)); break;
    case MEASURE_LENGTH: count_bucket(column, tally, length_of(type, value)); break;
    case MEASURE_ELEMENT:
        for (uint32_t i = 0, width = pil_scalar_bytes(type.scalar); i < type.dimension; i++) {
            count_bucket(column, tally, pil_value_number_at(type.scalar, value.data + (size_t)i * width));
        }
        break;
    }
}

void pil_tally_row(struct pil_tally *tally, const uint8_t *row, const struct pil_bytes *heap) {
    const struct pil_profile *profile = tally->profile;
    for (uint32_t i = 0; i < profile->view->feature_count; i++) {
        const struct column *column = &profile->columns[i];
        if (!column->hidden && !pil_row_is_null(profile->view, row, i)) {
            count_row(column, &tally->columns[i], row, heap);
        }
    }
}

void pil_tally_merge(struct pil_tally *into, const struct pil_tally *from) {
    for (uint32_t i = 0; i < into->profile->view->feature_count; i++) {
        for (uint32_t j = 0; j < PIL_PROFILE_BUCKETS; j++) {
            into->columns[i].buckets[j] += from->columns[i].buckets[j];
        }
        for (uint32_t j = 0; j < PIL_FREQUENT_COUNTERS; j++) {
            into->columns[i].top[j] += from->columns[i].top[j];
        }
    }
}

/* ---- JSON */

/* Whether the value has a form in JSON: many JSON readers fail on NUL. */
static bool has_json(const struct column *column, const struct pil_frequent_value *value) {
    return column->feature->type.scalar != PIL_SCALAR_STRING || memchr(value->data, '\0', value->len) == NULL;
}

static json_t *value_to_json(const struct column *column, const struct pil_frequent_value *value) {
    char hex[2 * PIL_FREQUENT_VALUE_BYTES + 1];
    switch (column->feature->type.scalar) {
    case PIL_SCALAR_BOOL: return json_boolean(value->data[0]);
    case PIL_SCALAR_INT32: return json_integer(pil_load_i32(value->data));
    case PIL_SCALAR_INT64:
    case PIL_SCALAR_UNIX_TIMESTAMP: return json_integer(pil_load_i64(value->data));
    case PIL_SCALAR_STRING: return json_stringn((const char *)value->data, value->len);
    case PIL_SCALAR_BYTES: pil_hex_encode(pil_bytes_from(value->data, value->len), hex); return json_string(hex);
    case PIL_SCALAR_FLOAT32:
    case PIL_SCALAR_FLOAT64:
    case PIL_SCALAR_FLOAT16:
    case PIL_SCALAR_BFLOAT16:
    case PIL_SCALAR_INT8:
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("not followed");
}

static bool is_smaller(const struct pil_frequent_value *a, const struct pil_frequent_value *b) {
    int order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);
    return order < 0 || (order == 0 && a->len < b->len);
}

/* The counter with the highest count among those not taken; equal counts are ordered by value. -1: none left. */
static int next_top(const struct column *column, const struct tally_column *tally, const bool *taken) {
    const struct pil_frequent_value *values = column->frequent->values;
    int best = -1;
    for (int i = 0; i < PIL_FREQUENT_COUNTERS; i++) {
        if (taken[i] || tally->top[i] == 0) {
            continue;
        }
        bool more = best < 0 || tally->top[i] > tally->top[best];
        bool same = !more && tally->top[i] == tally->top[best];
        best = more || (same && is_smaller(&values[i], &values[best])) ? i : best;
    }
    return best;
}

static json_t *top_to_json(const struct column *column, const struct tally_column *tally) {
    json_t *list = json_array();
    bool taken[PIL_FREQUENT_COUNTERS] = {false};
    while (json_array_size(list) < PIL_PROFILE_TOP) {
        int best = next_top(column, tally, taken);
        if (best < 0) {
            break;
        }
        taken[best] = true;
        const struct pil_frequent_value *value = &column->frequent->values[best];
        if (has_json(column, value)) {
            pil_json_append(&list, json_pack("{s:o, s:I}", "value", value_to_json(column, value), "count",
                                             (json_int_t)tally->top[best]));
        }
    }
    return list;
}

static json_t *real_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *bound_to_json(const struct column *column, int64_t integer, double real) {
    if (column->is_integer) {
        return json_integer(integer);
    }
    return column->measure == MEASURE_LENGTH ? json_integer((json_int_t)real) : json_real(real);
}

static void measures_to_json(const struct column *column, const struct tally_column *tally, json_t **object) {
    static const char *const names[] = {
        [MEASURE_VALUE] = "value", [MEASURE_LENGTH] = "length", [MEASURE_ELEMENT] = "element"};
    double n = (double)column->measured, mean = column->sum / n, variance = column->squares / n - mean * mean;
    pil_json_set(object, "measure", json_string(names[column->measure]));
    pil_json_set(object, "min", bound_to_json(column, column->integer_min, column->min));
    pil_json_set(object, "max", bound_to_json(column, column->integer_max, column->max));
    pil_json_set(object, "mean", real_or_null(column->shift + mean));
    pil_json_set(object, "stddev", real_or_null(sqrt(variance < 0 ? 0 : variance)));
    json_t *counts = json_array();
    for (uint32_t i = 0; i < PIL_PROFILE_BUCKETS; i++) {
        pil_json_append(&counts, json_integer((json_int_t)tally->buckets[i]));
    }
    pil_json_set(object, "histogram",
                 json_pack("{s:f, s:f, s:o}", "min", column->min, "max", column->max, "counts", counts));
}

static json_t *column_to_json(const struct column *column, const struct tally_column *tally) {
    char type[PIL_TYPE_TEXT_BYTES];
    pil_type_format(column->feature->type, type);
    json_t *object = json_pack("{s:s, s:I, s:I, s:I}", "type", type, "count", (json_int_t)column->count, "nulls",
                               (json_int_t)column->nulls, "distinct", (json_int_t)pil_hll_estimate(column->distinct));
    if (column->hidden) {
        return object;
    }
    if (column->measured > 0) {
        measures_to_json(column, tally, &object);
    }
    if (column->nan > 0) {
        pil_json_set(&object, "nan", json_integer((json_int_t)column->nan));
    }
    if (column->infinite > 0) {
        pil_json_set(&object, "infinite", json_integer((json_int_t)column->infinite));
    }
    if (has_top(column) && column->count > 0) {
        pil_json_set(&object, "top", top_to_json(column, tally));
    }
    return object;
}

json_t *pil_profile_to_json(const struct pil_profile *profile, const struct pil_tally *tally) {
    json_t *features = json_object();
    for (uint32_t i = 0; i < profile->view->feature_count; i++) {
        pil_json_set(&features, profile->view->features[i].name,
                     column_to_json(&profile->columns[i], &tally->columns[i]));
    }
    return json_pack("{s:I, s:o}", "rows", (json_int_t)profile->rows, "features", features);
}
