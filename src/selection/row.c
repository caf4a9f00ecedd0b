/* SPDX-License-Identifier: Apache-2.0 */
#include "selection/row.h"

pil_row_state pil_row_state_of(const struct pil_lookup *lookup, int64_t now_us, bool hide_expired) {
    if (lookup->row == NULL) {
        return PIL_ROW_MISSING;
    }
    const struct pil_view *view = lookup->release->view;
    int64_t age_us = 0;
    bool is_expired =
        view->ttl_us != 0 &&
        (__builtin_sub_overflow(now_us, pil_row_event_ts_us(view, lookup->row), &age_us) || age_us > view->ttl_us);
    if (!is_expired) {
        return PIL_ROW_FRESH;
    }
    return hide_expired ? PIL_ROW_MISSING : PIL_ROW_EXPIRED;
}

struct pil_bytes pil_row_value(const struct pil_lookup *lookup, const struct pil_feature *feature) {
    const uint8_t *field = lookup->row + feature->offset;
    return pil_type_is_reference(feature->type) ? pil_shard_reference(pil_lookup_shard(lookup), field)
                                                : pil_bytes_from(field, pil_type_row_bytes(feature->type));
}
