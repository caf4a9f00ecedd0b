/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/freshness.h"

#include "base/panic.h"

int64_t pil_freshness_left_us(const struct pil_view *view, int64_t event_ts_us, int64_t now_us) {
    int64_t end_us = 0, left_us = 0;
    if (view->ttl_us == 0) {
        return -1;
    }
    if (__builtin_add_overflow(event_ts_us, view->ttl_us, &end_us)) {
        end_us = INT64_MAX;
    }
    return __builtin_sub_overflow(end_us, now_us, &left_us) || left_us < 0 ? 0 : left_us;
}

pil_expiry pil_freshness_expiry(const struct pil_release *release, int64_t now_us) {
    int64_t ttl_us = release->view->ttl_us;
    if (ttl_us == 0 || release->row_count == 0 || pil_freshness_age_us(release->event_ts_us_min, now_us) <= ttl_us) {
        return PIL_EXPIRY_NONE;
    }
    return pil_freshness_age_us(release->event_ts_us_max, now_us) <= ttl_us ? PIL_EXPIRY_SOME : PIL_EXPIRY_ALL;
}

const char *pil_freshness_expiry_text(pil_expiry expiry) {
    switch (expiry) {
    case PIL_EXPIRY_NONE: return "none";
    case PIL_EXPIRY_SOME: return "some";
    case PIL_EXPIRY_ALL: return "all";
    }
    PIL_UNREACHABLE("expiry");
}

/* The tighter of the view's ttl and the request's max_age; 0: no limit. Rows of a static view have no age. */
static int64_t limit_us(const struct pil_view *view, int64_t max_age_us) {
    if (view->is_static) {
        return INT64_MAX;
    }
    return max_age_us != 0 && (view->ttl_us == 0 || max_age_us < view->ttl_us) ? max_age_us : view->ttl_us;
}

void pil_freshness_judge_row(struct pil_lookup *lookup, const struct pil_freshness *freshness) {
    const struct pil_view *view = lookup->row.view;
    int64_t limit = limit_us(view, freshness->max_age_us);
    PIL_ASSERT(lookup->status == PIL_VALUE_PRESENT && limit > 0); /* judged once */
    if (pil_freshness_age_us(pil_row_event_ts_us(view, lookup->row.fields), freshness->now_us) <= limit) {
        return;
    }
    lookup->status = freshness->hide_expired ? PIL_VALUE_NOT_FOUND : PIL_VALUE_OUTSIDE_MAX_AGE;
    lookup->row.fields = freshness->hide_expired ? NULL : lookup->row.fields;
}
