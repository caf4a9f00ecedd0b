/* SPDX-License-Identifier: Apache-2.0
 * Vectors: an ordered list of features of one or several views, resolved once into offsets, null bits and conversions,
 * so that a request only copies. The same plans answer mapped reads, PIL.VECTOR and the Open Inference Protocol; the
 * meaning of a value is defined only here (docs: schemas/wire.md).
 *
 * A tensor row has `width` elements: one for each scalar, `dimension` for each vector feature, in the requested order.
 * A status row has one byte for each feature. Strings, bytes and lists have no place in a tensor;
 * pil_vector_plan_create fails for such a feature if `need_tensor` is set. */
#pragma once

#include "base/bounds.h"
#include "schema/view.h"
#include "schema/value_status.h"

struct pil_project;
struct pil_service;

enum { PIL_VECTOR_VIEWS_MAX = 16, PIL_VECTOR_KEYS_MAX = 16, PIL_VECTOR_WIDTH_MAX = 1 << 20 };

/* Type of a tensor's elements; the numbers are those of libpillion's pillion_dtype. Code that depends on it is a switch
 * without a default, so that the compiler finds the places to change for a new type. */
typedef enum pil_vector_dtype { PIL_VECTOR_FLOAT32, PIL_VECTOR_FLOAT64 } pil_vector_dtype;
enum { PIL_VECTOR_DTYPE_COUNT = PIL_VECTOR_FLOAT64 + 1 };
static inline uint32_t pil_vector_dtype_bytes(pil_vector_dtype dtype) {
    switch (dtype) {
    case PIL_VECTOR_FLOAT32: return 4;
    case PIL_VECTOR_FLOAT64: return 8;
    }
    __builtin_unreachable();
}
/* "float32". */
const char *pil_vector_dtype_text(pil_vector_dtype dtype);

/* ---- Requested features: names only, so that a spec may outlive releases. */

struct pil_vector_name {
    uint32_t view; /* slot: position among the distinct views, by first use */
    char *feature;
};
struct pil_vector_spec {
    char *views[PIL_VECTOR_VIEWS_MAX]; /* "view" or "project/view", as given */
    uint32_t view_count;
    struct pil_vector_name *names;
    uint32_t name_count;
};

/* Splits "view:feature" references. INVALID: a reference lacks view, colon or feature, none is given, or there are more
 * views than PIL_VECTOR_VIEWS_MAX or more features than PIL_SERVICE_FEATURES_MAX. NO_MEMORY. A feature may occur twice.
 */
pil_status pil_vector_spec_create(const struct pil_bytes *references, uint32_t count, struct pil_vector_spec **ret_spec,
                                  struct pil_error *ret_error) PIL_CHECKED;
/* The features of a service, in its order; its views as "project/view". INVALID: the service has over
 * PIL_VECTOR_VIEWS_MAX views. NO_MEMORY. */
pil_status pil_vector_spec_of_service(const struct pil_project *project, const struct pil_service *service,
                                      struct pil_vector_spec **ret_spec, struct pil_error *ret_error) PIL_CHECKED;
void pil_vector_spec_destroy(struct pil_vector_spec **spec);

/* ---- A spec resolved against given releases. Immutable; any thread. */

struct pil_vector_column {
    uint32_t view;     /* slot */
    uint32_t feature;  /* in the view */
    uint32_t offset;   /* of the field in the row */
    uint32_t null_bit; /* in the row's bitmap */
    uint32_t first;    /* element of the tensor row; 0 where the type has no place in a tensor */
    uint32_t count;    /* elements; 0 where the type has no place in a tensor */
    struct pil_type type;
    bool has_default; /* only for types with a place in a tensor: `count` values from plan->defaults[default_first] */
    uint32_t default_first;
};

/* Elements of one scalar type that are contiguous both in the row and in the tensor, so that one loop converts them. */
struct pil_vector_run {
    pil_scalar scalar;
    uint32_t offset; /* bytes, in the row */
    uint32_t first;  /* element of the tensor row */
    uint32_t count;  /* elements */
};

struct pil_vector_view {
    const struct pil_view *view;          /* borrowed: the plan must not outlive it */
    uint32_t key_parts[PIL_ENTITIES_MAX]; /* index in plan->join_keys for each entity */
    uint32_t column_first, column_count;  /* in plan->by_view */
    uint32_t run_first, run_count;        /* in plan->runs */
    uint32_t null_first, null_end;        /* bytes of the row that hold the columns' null bits */
    uint64_t line_mask;                   /* of the row, for pil_lookup */
};

struct pil_vector_plan {
    pil_vector_dtype dtype;
    uint32_t feature_count;
    uint32_t width;                    /* elements of a tensor row */
    struct pil_vector_column *columns; /* [feature_count], in the requested order */
    uint32_t *by_view;                 /* column numbers, grouped by view */
    struct pil_vector_run *runs;
    double *defaults;
    struct pil_vector_view views[PIL_VECTOR_VIEWS_MAX];
    uint32_t view_count;
    /* The join keys that a request must give, in the order of first use by the views. */
    const struct pil_entity *join_keys[PIL_VECTOR_KEYS_MAX]; /* borrowed from the views */
    uint32_t join_key_count;
};

/* views[slot] is the schema of spec->views[slot] in the release to be read. NOT_FOUND: a feature is not in its view.
 * NO_MEMORY. UNSUPPORTED: need_tensor, and a feature is a string, bytes or a list. TOO_LARGE: over PIL_VECTOR_KEYS_MAX
 * join keys or PIL_VECTOR_WIDTH_MAX elements. Cost: some hashing and one copy of the names' offsets; once per release.
 */
pil_status pil_vector_plan_create(const struct pil_vector_spec *spec, const struct pil_view *const *views,
                                  pil_vector_dtype dtype, bool need_tensor, struct pil_vector_plan **ret_plan,
                                  struct pil_error *ret_error) PIL_CHECKED;
void pil_vector_plan_destroy(struct pil_vector_plan **plan);

/* Encodes the key of one view from the parts of all join keys; results as pil_view_key_encode; on failure *ret_join_key
 * is the index of the wrong join key. */
pil_status pil_vector_key_encode(const struct pil_vector_plan *plan, uint32_t slot, const struct pil_key_part *parts,
                                 uint8_t *buffer, size_t buffer_bytes, size_t *ret_len,
                                 uint32_t *ret_join_key) PIL_CHECKED;

/* ---- Copying. `row` is a row of the slot's view or NULL; status_of_row is PRESENT, NOT_FOUND (row NULL) or
 * OUTSIDE_MAX_AGE. Only the slot's columns are written; call once per view. No allocation. */

/* statuses: uint8[feature_count]. Returns the number of nulls. */
uint32_t pil_vector_put_statuses(const struct pil_vector_plan *plan, uint32_t slot, const uint8_t *row,
                                 pil_value_status status_of_row, uint8_t *statuses);
/* values: float32[width] or float64[width] by plan->dtype, any alignment. A value that is null or not found becomes
 * NaN, or the feature's default if it has one and use_defaults is set. */
void pil_vector_put_values(const struct pil_vector_plan *plan, uint32_t slot, const uint8_t *row, bool use_defaults,
                           void *values);
