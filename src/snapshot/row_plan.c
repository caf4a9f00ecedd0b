/* SPDX-License-Identifier: Apache-2.0
 * The rules for rows, the same for the writer's input and for rows read from a file. The caller checks the bounds of
 * references; these functions check the values behind them. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "snapshot/internal.h"

void pil_row_plan_init(const struct pil_view *view, struct pil_row_plan *ret_plan) {
    const struct pil_row_layout *layout = &view->layout;
    uint32_t begin = layout->stride, end = 0, bytes = 0;
    ret_plan->view = view;
    ret_plan->bool_count = ret_plan->reference_count = 0;
    for (uint32_t i = 0; i < view->feature_count; i++) {
        const struct pil_feature *feature = &view->features[i];
        uint32_t width = pil_type_row_bytes(feature->type);
        begin = feature->offset < begin ? feature->offset : begin;
        end = feature->offset + width > end ? feature->offset + width : end;
        bytes += width;
        if (pil_type_is_reference(feature->type)) {
            ret_plan->references[ret_plan->reference_count++] = (uint16_t)i;
        } else if (pil_scalar_is_bool(feature->type.scalar)) {
            PIL_ASSERT(feature->type.shape == PIL_SHAPE_SCALAR);
            ret_plan->bools[ret_plan->bool_count++] = (uint16_t)i;
        }
    }
    if (bytes == 0) {
        begin = end = layout->null_offset + layout->null_bytes;
    }
    PIL_ASSERT(end - begin == bytes); /* falling alignment leaves no gaps */
    PIL_ASSERT(begin >= layout->null_offset + layout->null_bytes && end <= layout->stride);
    ret_plan->fields_begin = begin;
    ret_plan->fields_end = end;
}

/* Well-formed UTF-8 by table 3-7 of the Unicode standard: no overlong forms, no surrogates, at most U+10FFFF. */
static bool is_utf8(struct pil_bytes text) {
    const uint8_t *at = text.data, *end = at + text.len;
    while (at < end) {
        if (end - at >= 8 && (pil_load_u64(at) & 0x8080808080808080ull) == 0) {
            at += 8;
            continue;
        }
        uint8_t lead = *at++;
        if (lead < 0x80) {
            continue;
        }
        int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || end - at < more) {
            return false;
        }
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (*at < low || *at > high) {
            return false;
        }
        for (at++; more > 1; more--, at++) {
            if ((*at & 0xc0) != 0x80) {
                return false;
            }
        }
    }
    return true;
}

static bool are_bools(struct pil_bytes payload) {
    uint8_t all = 0;
    for (size_t i = 0; i < payload.len; i++) {
        all |= payload.data[i];
    }
    return all <= 1;
}

/* u32 count, u32 end[count], bytes. */
static const char *strings_problem(struct pil_bytes payload, bool utf8) {
    if (payload.len < 4 || pil_load_u32(payload.data) > (payload.len - 4) / 4) {
        return "has no room for its count of elements";
    }
    uint32_t count = pil_load_u32(payload.data);
    const uint8_t *ends = payload.data + 4, *bytes = ends + (size_t)count * 4;
    size_t len = payload.len - 4 - (size_t)count * 4;
    uint32_t start = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = pil_load_u32(ends + (size_t)i * 4);
        if (end < start || end > len) {
            return "has element ends that fall or leave the value";
        }
        if (utf8 && !is_utf8(pil_bytes_from(bytes + start, end - start))) {
            return "has an element that is not valid UTF-8";
        }
        start = end;
    }
    return start == len ? NULL : "has bytes after its last element";
}

static const char *value_problem(struct pil_type type, struct pil_bytes payload) {
    if (type.shape == PIL_SHAPE_SCALAR) {
        return pil_scalar_is_utf8(type.scalar) && !is_utf8(payload) ? "is not valid UTF-8" : NULL;
    }
    if (pil_scalar_is_text(type.scalar)) {
        return strings_problem(payload, pil_scalar_is_utf8(type.scalar));
    }
    if (payload.len % pil_scalar_bytes(type.scalar) != 0) {
        return "has a length that is not a multiple of its elements' width";
    }
    return pil_scalar_is_bool(type.scalar) && !are_bools(payload) ? "has an element that is neither 0 nor 1" : NULL;
}

/* Checks canonical key bytes of variable length; view.h has their format. */
static const char *key_problem(const struct pil_view *view, struct pil_bytes key) {
    struct pil_bytes rest = key;
    for (uint32_t i = 0; i < view->entity_count; i++) {
        pil_scalar type = view->entities[i].type;
        bool variable = pil_scalar_is_text(type);
        size_t len = pil_scalar_bytes(type);
        if (variable && view->entity_count == 1) {
            len = rest.len;
        } else if (variable) {
            if (rest.len < 4) {
                return "ends inside a component";
            }
            len = pil_load_u32(rest.data);
            rest = pil_bytes_from(rest.data + 4, rest.len - 4);
        }
        if (len > rest.len) {
            return "ends inside a component";
        }
        if (pil_scalar_is_utf8(type) && !is_utf8(pil_bytes_from(rest.data, len))) {
            return "is not valid UTF-8";
        }
        rest = pil_bytes_from(rest.data + len, rest.len - len);
    }
    return rest.len == 0 ? NULL : "has bytes after its last component";
}

static struct pil_row_problem problem(pil_status status, int32_t feature, const char *text) {
    return (struct pil_row_problem){.status = status, .feature = feature, .text = text};
}

struct pil_row_problem pil_row_plan_check(const struct pil_row_plan *plan, const uint8_t *row, const uint8_t *heap) {
    const struct pil_view *view = plan->view;
    if (!view->layout.key_is_fixed) {
        struct pil_bytes key = pil_row_key(view, row, heap);
        if (key.len > PIL_KEY_BYTES_MAX) {
            return problem(PIL_STATUS_TOO_LARGE, -1, "is longer than 65536 bytes");
        }
        const char *text = key_problem(view, key);
        if (text != NULL) {
            return problem(PIL_STATUS_INVALID, -1, text);
        }
    }
    for (uint32_t i = 0; i < plan->bool_count; i++) {
        uint32_t feature = plan->bools[i];
        if (row[view->features[feature].offset] > 1 && !pil_row_is_null(view, row, feature)) {
            return problem(PIL_STATUS_INVALID, (int32_t)feature, "is neither 0 nor 1");
        }
    }
    for (uint32_t i = 0; i < plan->reference_count; i++) {
        uint32_t feature = plan->references[i];
        const uint8_t *field = row + view->features[feature].offset;
        if (pil_row_is_null(view, row, feature)) {
            continue;
        }
        if (pil_load_u32(field) > PIL_VALUE_BYTES_MAX) {
            return problem(PIL_STATUS_TOO_LARGE, (int32_t)feature, "is longer than 16 MiB");
        }
        const char *text = value_problem(view->features[feature].type, pil_ref_payload(field, heap));
        if (text != NULL) {
            return problem(PIL_STATUS_INVALID, (int32_t)feature, text);
        }
    }
    return problem(PIL_STATUS_OK, -1, NULL);
}

static bool is_in_heap(const uint8_t *field) {
    return pil_load_u32(field) > PIL_REF_INLINE_BYTES;
}

static unsigned __int128 to_integer(XXH128_hash_t hash) {
    return (unsigned __int128)hash.high64 << 64 | hash.low64;
}

/* Hashes the row image up to the heap offset in `field`, and zeros in its place; returns where to continue. */
static const uint8_t *update_to_reference(XXH3_state_t *state, const uint8_t *at, const uint8_t *field) {
    static const uint8_t zeros[8];
    XXH3_128bits_update(state, at, (size_t)(field + 8 - at));
    XXH3_128bits_update(state, zeros, sizeof zeros);
    return field + PIL_REF_BYTES;
}

unsigned __int128 pil_row_plan_digest(const struct pil_row_plan *plan, const uint8_t *row, const uint8_t *heap) {
    const struct pil_view *view = plan->view;
    uint32_t stride = view->layout.stride;
    bool key_in_heap = !view->layout.key_is_fixed && is_in_heap(row);
    bool any = key_in_heap;
    for (uint32_t i = 0; i < plan->reference_count && !any; i++) {
        any = is_in_heap(row + view->features[plan->references[i]].offset); /* null fields are zero, thus not in the
                                                                             * heap */
    }
    if (!any) {
        return to_integer(XXH3_128bits(row, stride));
    }
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    const uint8_t *at = key_in_heap ? update_to_reference(&state, row, row) : row;
    /* References share one alignment, so their declared order is the order of their offsets. */
    for (uint32_t i = 0; i < plan->reference_count; i++) {
        const uint8_t *field = row + view->features[plan->references[i]].offset;
        at = is_in_heap(field) ? update_to_reference(&state, at, field) : at;
    }
    XXH3_128bits_update(&state, at, (size_t)(row + stride - at));
    if (key_in_heap) {
        struct pil_bytes key = pil_ref_payload(row, heap);
        XXH3_128bits_update(&state, key.data, key.len);
    }
    for (uint32_t i = 0; i < plan->reference_count; i++) {
        const uint8_t *field = row + view->features[plan->references[i]].offset;
        if (is_in_heap(field)) {
            struct pil_bytes payload = pil_ref_payload(field, heap);
            XXH3_128bits_update(&state, payload.data, payload.len);
        }
    }
    return to_integer(XXH3_128bits_digest(&state));
}
