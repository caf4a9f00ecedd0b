/* SPDX-License-Identifier: Apache-2.0
 * What the rows of a release look like, feature by feature: counts, moments, distinct values, histogram, frequent
 * values. Two passes: the first finds the range, the second counts within it. Features tagged "pii" get counts only, no
 * values.
 *
 * A number is measured by its value, a vector by all of its elements, a string, bytes or list by its length. */
#pragma once

#include "schema/view.h"

#include <jansson.h>

enum { PIL_PROFILE_BUCKETS = 64, PIL_PROFILE_TOP = 10 };

struct pil_profile;
/* The counts of the second pass; one per thread, merged at the end. */
struct pil_tally;

/* NULL: no memory. `view` is borrowed. */
struct pil_profile *pil_profile_create(const struct pil_view *view);
void pil_profile_destroy(struct pil_profile **profile);
/* First pass. `heap` is what the row's references count from. */
void pil_profile_row(struct pil_profile *profile, const uint8_t *row, const uint8_t *heap);

/* NULL: no memory. No more pil_profile_row from here on. */
struct pil_tally *pil_tally_create(const struct pil_profile *profile);
void pil_tally_destroy(struct pil_tally **tally);
void pil_tally_row(struct pil_tally *tally, const uint8_t *row, const uint8_t *heap);
void pil_tally_merge(struct pil_tally *into, const struct pil_tally *from);

/* {"rows": n, "features": {name: {"type", "count", "nulls", "distinct", "measure", "min", "max", "mean", "stddev",
 * "nan", "infinite", "histogram": {"min", "max", "counts": [64]}, "top": [{"value", "count"}]}}}; what makes no sense
 * for a type is left out. NULL: no memory. */
json_t *pil_profile_to_json(const struct pil_profile *profile, const struct pil_tally *tally);
