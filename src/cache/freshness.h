/* SPDX-License-Identifier: Apache-2.0
 * Whether rows are too old: the only place that compares a row's event timestamp with the clock. A request judges its
 * rows once, right after the lookups, and encodes its answer from the result. */
#pragma once

#include "cache/release.h"
#include "cache/source.h"

/* How a request wants its rows judged. */
struct pil_freshness {
    int64_t now_us;     /* wall clock */
    int64_t max_age_us; /* limit of the request; 0: only the view's ttl applies. The smaller of the two limits applies
                         */
    bool hide_expired;  /* treat a row that is too old as missing; else its values are answered as OUTSIDE_MAX_AGE */
};

/* Age in microseconds; 0 for timestamps in the future (clocks differ), INT64_MAX when the difference overflows. */
static inline int64_t pil_freshness_age_us(int64_t event_ts_us, int64_t now_us) {
    int64_t age_us = 0;
    if (event_ts_us >= now_us) {
        return 0;
    }
    return __builtin_sub_overflow(now_us, event_ts_us, &age_us) ? INT64_MAX : age_us;
}
/* The older of a row's event timestamp and those of the rows before, of which none gave INT64_MAX. Rows of a static
 * view have no age and do not count. */
static inline int64_t pil_freshness_oldest_us(const struct pil_row *row, int64_t oldest_us) {
    int64_t event_ts_us = pil_row_event_ts_us(row->view, row->fields);
    return event_ts_us < oldest_us && !row->view->is_static ? event_ts_us : oldest_us;
}
/* The age of the oldest row; -1: no row has an age. */
static inline int64_t pil_freshness_worst_us(int64_t oldest_us, int64_t now_us) {
    return oldest_us != INT64_MAX ? pil_freshness_age_us(oldest_us, now_us) : -1;
}
/* Time until the row exceeds the view's ttl, 0 when it has; -1: the view has no ttl. */
int64_t pil_freshness_left_us(const struct pil_view *view, int64_t event_ts_us, int64_t now_us);

/* How many rows of a release exceed the view's ttl. Told from the oldest and the newest event: no row is read. */
typedef enum pil_expiry { PIL_EXPIRY_NONE, PIL_EXPIRY_SOME, PIL_EXPIRY_ALL } pil_expiry;
/* NONE also without rows or without a ttl. */
pil_expiry pil_freshness_expiry(const struct pil_release *release, int64_t now_us);
/* "none", "some" or "all". */
const char *pil_freshness_expiry_text(pil_expiry expiry);

/* Judges one row; for pil_freshness_judge. The row was found, and its view has a ttl or the request a max_age. */
void pil_freshness_judge_row(struct pil_lookup *lookup, const struct pil_freshness *freshness);
/* Sets the status of rows that are too old, or hides them (row.fields becomes NULL). Call it once, after settle. */
static inline void pil_freshness_judge(struct pil_lookup *lookups, uint32_t count,
                                       const struct pil_freshness *freshness) {
    for (uint32_t i = 0; i < count; i++) {
        const struct pil_row *row = &lookups[i].row;
        if (row->fields != NULL && (row->view->ttl_us | freshness->max_age_us) != 0) {
            pil_freshness_judge_row(&lookups[i], freshness);
        }
    }
}
