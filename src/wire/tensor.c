/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/tensor.h"

#include "schema/value_status.h"

/* Head: u32 magic, u16 head bytes, u8 element bytes, u8 0, u32 rows, features, width, views, i64 now, u64 statuses,
 * times, values, total. */
enum {
    AT_HEAD = 4,
    AT_ELEMENT = 6,
    AT_ROWS = 8,
    AT_FEATURES = 12,
    AT_WIDTH = 16,
    AT_VIEWS = 20,
    AT_NOW = 24,
    AT_STATUSES = 32,
    AT_TIMES = 40,
    AT_VALUES = 48,
    AT_BYTES = 56,
};
/* View: 16 bytes release id, u64 generation, i64 worst age, u64 not found, i64 created, 8 reserved. */
enum { AT_GENERATION = 16, AT_AGE = 24, AT_NOT_FOUND = 32, AT_CREATED = 40 };

void pil_tensor_layout(struct pil_tensor_head *head) {
    head->statuses_at = PIL_TENSOR_FIXED_BYTES + (uint64_t)head->view_count * PIL_TENSOR_VIEW_BYTES;
    head->times_at = pil_align_up(head->statuses_at + (uint64_t)head->rows * head->features, 8);
    head->values_at = pil_align_up(head->times_at + 8 * (uint64_t)head->rows * head->view_count, PIL_TENSOR_ALIGNMENT);
    head->bytes = head->values_at + (uint64_t)head->rows * head->width * head->element_bytes;
}

void pil_tensor_put_view(const struct pil_tensor_view *view, uint8_t to[PIL_TENSOR_VIEW_BYTES]) {
    memset(to, 0, PIL_TENSOR_VIEW_BYTES);
    memcpy(to, view->release, strnlen(view->release, PIL_RELEASE_ID_CHARS));
    pil_store_u64(to + AT_GENERATION, view->generation);
    pil_store_i64(to + AT_AGE, view->worst_age_us);
    pil_store_u64(to + AT_NOT_FOUND, view->not_found);
    pil_store_i64(to + AT_CREATED, view->created_us);
}

size_t pil_tensor_put_head(const struct pil_tensor_head *head, uint8_t to[PIL_TENSOR_HEAD_BYTES_MAX]) {
    pil_store_u32(to, PIL_TENSOR_MAGIC);
    pil_store_u16(to + AT_HEAD, (uint16_t)head->statuses_at);
    to[AT_ELEMENT] = (uint8_t)head->element_bytes;
    to[AT_ELEMENT + 1] = 0;
    pil_store_u32(to + AT_ROWS, head->rows);
    pil_store_u32(to + AT_FEATURES, head->features);
    pil_store_u32(to + AT_WIDTH, head->width);
    pil_store_u32(to + AT_VIEWS, head->view_count);
    pil_store_i64(to + AT_NOW, head->now_us);
    pil_store_u64(to + AT_STATUSES, head->statuses_at);
    pil_store_u64(to + AT_TIMES, head->times_at);
    pil_store_u64(to + AT_VALUES, head->values_at);
    pil_store_u64(to + AT_BYTES, head->bytes);
    for (uint32_t i = 0; i < head->view_count; i++) {
        pil_tensor_put_view(&head->views[i], to + PIL_TENSOR_FIXED_BYTES + (size_t)i * PIL_TENSOR_VIEW_BYTES);
    }
    return (size_t)head->statuses_at;
}

bool pil_tensor_is_release_id(struct pil_bytes text) {
    bool is_it = text.len == PIL_RELEASE_ID_CHARS;
    for (size_t i = 0; i < text.len && is_it; i++) {
        is_it = (text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f');
    }
    return is_it;
}

/* Eight at a time: less one, a status has none of the upper six bits. A zero borrows, and has all of them. */
bool pil_tensor_are_statuses(const uint8_t *from, uint64_t count) {
    _Static_assert(PIL_VALUE_PRESENT == 1 && PIL_VALUE_OUTSIDE_MAX_AGE == 4, "statuses less one have two bits");
    const uint64_t ones = UINT64_C(0x0101010101010101), upper = UINT64_C(0xfcfcfcfcfcfcfcfc);
    uint64_t outside = 0, i = 0;
    for (; i + sizeof outside <= count; i += sizeof outside) {
        outside |= (pil_load_u64(from + i) - ones) & upper;
    }
    for (; i < count; i++) {
        outside |= (uint64_t)(from[i] - 1) & upper;
    }
    return outside == 0;
}

static struct pil_tensor_view load_view(const uint8_t from[PIL_TENSOR_VIEW_BYTES]) {
    struct pil_tensor_view view = {.generation = pil_load_u64(from + AT_GENERATION),
                                   .worst_age_us = pil_load_i64(from + AT_AGE),
                                   .not_found = pil_load_u64(from + AT_NOT_FOUND),
                                   .created_us = pil_load_i64(from + AT_CREATED)};
    memcpy(view.release, from, PIL_RELEASE_ID_CHARS);
    return view;
}

pil_status pil_tensor_load_views(const uint8_t *from, uint32_t count, struct pil_tensor_view *ret_views,
                                 struct pil_error *ret_error) {
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = from + (size_t)i * PIL_TENSOR_VIEW_BYTES;
        if (!pil_tensor_is_release_id(pil_bytes_from(at, PIL_RELEASE_ID_CHARS))) {
            return pil_fail(ret_error, PIL_STATUS_CORRUPT, "view %u of an answer has no release id", i);
        }
        ret_views[i] = load_view(at);
    }
    return PIL_STATUS_OK;
}

/* The offsets in the head must be those that follow from its counts: they are there for convenience and cannot be
 * chosen. */
static bool is_as_laid_out(const uint8_t *from, const struct pil_tensor_head *head, size_t len) {
    return pil_load_u16(from + AT_HEAD) == head->statuses_at && pil_load_u64(from + AT_STATUSES) == head->statuses_at &&
           pil_load_u64(from + AT_TIMES) == head->times_at && pil_load_u64(from + AT_VALUES) == head->values_at &&
           pil_load_u64(from + AT_BYTES) == head->bytes && head->bytes == len;
}

pil_status pil_tensor_decode(struct pil_bytes answer, struct pil_tensor_head *ret_head, struct pil_error *ret_error) {
    const uint8_t *from = answer.data;
    if (answer.len < PIL_TENSOR_FIXED_BYTES || pil_load_u32(from) != PIL_TENSOR_MAGIC) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the answer of %zu bytes does not start with PLV1", answer.len);
    }
    struct pil_tensor_head head = {.element_bytes = from[AT_ELEMENT],
                                   .rows = pil_load_u32(from + AT_ROWS),
                                   .features = pil_load_u32(from + AT_FEATURES),
                                   .width = pil_load_u32(from + AT_WIDTH),
                                   .view_count = pil_load_u32(from + AT_VIEWS),
                                   .now_us = pil_load_i64(from + AT_NOW)};
    if ((head.element_bytes != 4 && head.element_bytes != 8) || head.view_count == 0 ||
        head.view_count > PIL_TENSOR_VIEWS_MAX || head.rows > answer.len || head.features > answer.len ||
        head.width > answer.len) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT,
                        "an answer of %zu bytes says %u rows, %u features, %u elements of %u bytes, %u views",
                        answer.len, head.rows, head.features, head.width, head.element_bytes, head.view_count);
    }
    pil_tensor_layout(&head);
    if (!is_as_laid_out(from, &head, answer.len)) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the offsets of an answer of %zu bytes do not fit its counts",
                        answer.len);
    }
    PIL_TRY(pil_tensor_load_views(from + PIL_TENSOR_FIXED_BYTES, head.view_count, head.views, ret_error));
    if (!pil_tensor_are_statuses(from + head.statuses_at, (uint64_t)head.rows * head.features)) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "an answer of %u rows has statuses that are none", head.rows);
    }
    *ret_head = head;
    return PIL_STATUS_OK;
}
