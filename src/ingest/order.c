/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/order.h"
#include "ingest/value.h"
#include "snapshot/reader.h"

static int compare_numbers(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

static int compare_times(const struct pil_view *view, const struct pil_record *a, const struct pil_record *b) {
    int order =
        compare_numbers(pil_row_event_ts_us(view, pil_record_row(a)), pil_row_event_ts_us(view, pil_record_row(b)));
    order = order != 0 ? order : compare_numbers(a->event_ns, b->event_ns);
    order = order != 0 ? order : compare_numbers(a->created_us, b->created_us);
    return order != 0 ? order : compare_numbers(a->created_ns, b->created_ns);
}

static int compare_content(const struct pil_record *a, const struct pil_record *b) {
    return pil_value_compare_bytes(pil_bytes_from(pil_record_row(a), a->bytes - sizeof *a),
                                   pil_bytes_from(pil_record_row(b), b->bytes - sizeof *b));
}

static int compare_values(const struct pil_view *view, const struct pil_record *a, const struct pil_record *b) {
    const uint8_t *row_a = pil_record_row(a), *row_b = pil_record_row(b);
    struct pil_bytes heap_a = pil_value_heap(view, a), heap_b = pil_value_heap(view, b);
    int order = 0;
    for (uint32_t i = 0; order == 0 && i < view->feature_count; i++) {
        const struct pil_feature *feature = &view->features[i];
        bool null_a = pil_row_is_null(view, row_a, i), null_b = pil_row_is_null(view, row_b, i);
        if (null_a || null_b) {
            order = null_b - null_a;
        } else {
            order = pil_value_compare(feature->type, pil_value_of(feature, row_a, &heap_a),
                                      pil_value_of(feature, row_b, &heap_b));
        }
    }
    /* Values may compare equal and differ: zeros by their sign, NaNs by their payload. */
    return order != 0 ? order : compare_content(a, b);
}

bool pil_order_is_better(const struct pil_view *view, const struct pil_record *a, const struct pil_record *b) {
    int order = compare_times(view, a, b);
    return (order != 0 ? order : compare_values(view, a, b)) < 0;
}

pil_order_relation pil_order_relate(const struct pil_view *view, const struct pil_record *winner,
                                    const struct pil_record *loser) {
    if (compare_times(view, winner, loser) != 0) {
        return PIL_ORDER_LATE;
    }
    return compare_content(winner, loser) == 0 ? PIL_ORDER_DUPLICATE : PIL_ORDER_CONFLICT;
}
