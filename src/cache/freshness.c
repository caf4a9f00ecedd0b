/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/freshness.h"

int64_t pil_freshness_age_us(int64_t event_ts_us, int64_t now_us) {
    int64_t age_us = 0;
    if (event_ts_us >= now_us) {
        return 0;
    }
    return __builtin_sub_overflow(now_us, event_ts_us, &age_us) ? INT64_MAX : age_us;
}

int64_t pil_freshness_left_us(const struct pil_view *view, int64_t event_ts_us, int64_t now_us) {
    int64_t left_us = 0;
    if (view->ttl_us == 0) {
        return -1;
    }
    bool is_over = __builtin_add_overflow(event_ts_us, view->ttl_us, &left_us) ||
                   __builtin_sub_overflow(left_us, now_us, &left_us);
    return is_over || left_us < 0 ? 0 : left_us;
}

bool pil_freshness_is_expired(const struct pil_view *view, int64_t event_ts_us, const struct pil_freshness *freshness) {
    int64_t limit_us = view->ttl_us, max_age_us = freshness->max_age_us;
    if (max_age_us != 0 && (limit_us == 0 || max_age_us < limit_us)) {
        limit_us = max_age_us;
    }
    return limit_us != 0 && pil_freshness_age_us(event_ts_us, freshness->now_us) > limit_us;
}

void pil_freshness_judge(struct pil_lookup *lookups, uint32_t count, const struct pil_freshness *freshness) {
    PIL_ASSERT(freshness->max_age_us >= 0);
    for (uint32_t i = 0; i < count; i++) {
        struct pil_lookup *lookup = &lookups[i];
        const struct pil_view *view = lookup->row.view;
        if (lookup->row.fields == NULL || (view->ttl_us == 0 && freshness->max_age_us == 0) ||
            !pil_freshness_is_expired(view, pil_row_event_ts_us(view, lookup->row.fields), freshness)) {
            continue;
        }
        lookup->status = freshness->hide_expired ? PIL_VALUE_NOT_FOUND : PIL_VALUE_OUTSIDE_MAX_AGE;
        lookup->row.fields = freshness->hide_expired ? NULL : lookup->row.fields;
    }
}
