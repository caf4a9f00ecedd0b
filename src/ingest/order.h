/* SPDX-License-Identifier: Apache-2.0
 * Which of the rows of one key wins. The order of rows in the source never decides. Thread: any. */
#pragma once

#include "ingest/partition.h"
#include "schema/view.h"

/* What two rows of one key are to each other. */
typedef enum pil_order_relation {
    PIL_ORDER_LATE,      /* the loser is older, by event time or, where these are equal, by created time */
    PIL_ORDER_DUPLICATE, /* equal in everything */
    PIL_ORDER_CONFLICT,  /* of one time, with different values */
} pil_order_relation;

/* Whether b wins over a. The newer event wins, then the newer creation, both to the nanosecond; a row without a created
 * time is older than one with. In a conflict, the first feature in the order of the view in which the rows differ
 * decides: a value beats a null, and the greater value (ingest/value.h) the smaller one. */
bool pil_order_is_better(const struct pil_view *view, const struct pil_record *a, const struct pil_record *b);
pil_order_relation pil_order_relate(const struct pil_view *view, const struct pil_record *winner,
                                    const struct pil_record *loser);
