/* SPDX-License-Identifier: Apache-2.0
 * Statistics of the rows of a release, feature by feature: counts, moments, distinct values, histogram, frequent
 * values. There are two passes: the first finds the range, the second counts within it. Features tagged "pii" get
 * counts only, no values.
 *
 * The measure of a number is its value, that of a vector are all its elements, that of a string, bytes or list is its
 * length. */
#pragma once

#include "schema/view.h"

#include <jansson.h>

enum { PIL_PROFILE_BUCKETS = 64, PIL_PROFILE_TOP = 10 };

struct pil_profile;
/* The counts of the second pass; each thread has its own, and they are merged at the end. */
struct pil_tally;

/* NULL when memory is short. `view` is borrowed. */
struct pil_profile *pil_profile_create(const struct pil_view *view);
void pil_profile_destroy(struct pil_profile **profile);
/* First pass. The row's references are offsets in `heap`. */
void pil_profile_row(struct pil_profile *profile, const uint8_t *row, const struct pil_bytes *heap);

/* NULL when memory is short. pil_profile_row must not be called any more. */
struct pil_tally *pil_tally_create(const struct pil_profile *profile);
void pil_tally_destroy(struct pil_tally **tally);
void pil_tally_row(struct pil_tally *tally, const uint8_t *row, const struct pil_bytes *heap);
void pil_tally_merge(struct pil_tally *into, const struct pil_tally *from);

/* {"rows": n, "features": {name: {"type", "count", "nulls", "distinct", "measure", "min", "max", "mean", "stddev",
 * "nan", "infinite", "histogram": {"min", "max", "counts": [64]}, "top": [{"value", "count"}]}}}; members that do not
 * apply to a type are left out. NULL: no memory. */
json_t *pil_profile_to_json(const struct pil_profile *profile, const struct pil_tally *tally);
