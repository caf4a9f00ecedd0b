/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/value_text.h"

#include "base/clock.h"
#include "base/json_value.h"
#include "base/utf8.h"
#include "cli/report.h"
#include "schema/json_text.h"
#include "wire/value.h"

#include <stdlib.h>

/* A sink that appends to a pil_text. */
struct text_sink {
    struct pil_sink sink;
    struct pil_text *text;
    uint8_t buffer[4096];
};

static bool flush(struct pil_sink *sink) {
    struct text_sink *self = (struct text_sink *)sink;
    pil_text_append(self->text, self->buffer, (size_t)(sink->at - self->buffer));
    sink->at = self->buffer;
    sink->end = self->buffer + sizeof self->buffer;
    return true;
}

static void append_resp(struct pil_text *text, struct pil_type type, struct pil_bytes raw) {
    struct text_sink self = {.sink = {.grow = flush}, .text = text};
    self.sink.at = self.buffer;
    self.sink.end = self.buffer + sizeof self.buffer;
    pil_value_put_resp(&self.sink, type, raw);
    flush(&self.sink);
}

static struct pil_bytes raw_of(const struct pil_shard *shard, const uint8_t *row, const struct pil_feature *feature) {
    const uint8_t *field = row + feature->offset;
    return pil_type_is_reference(feature->type) ? pil_shard_reference(shard, field)
                                                : pil_bytes_from(field, pil_type_row_bytes(feature->type));
}

static void append_hex(struct pil_text *text, struct pil_bytes raw) {
    for (size_t i = 0; i < raw.len; i++) {
        pil_text_format(text, "%02x", raw.data[i]);
    }
}

void pil_value_text_append(struct pil_text *text, const struct pil_shard *shard, const uint8_t *row,
                           uint32_t feature_index) {
    const struct pil_feature *feature = &shard->view->features[feature_index];
    struct pil_bytes raw = raw_of(shard, row, feature);
    bool scalar = feature->type.shape == PIL_SHAPE_SCALAR;
    if (pil_row_is_null(shard->view, row, feature_index)) {
        pil_text_format(text, "null");
    } else if (scalar && feature->type.scalar == PIL_SCALAR_UNIX_TIMESTAMP) {
        char time[PIL_CLOCK_TEXT_BYTES];
        pil_clock_format_us(pil_load_i64(raw.data), time);
        pil_text_format(text, "%s", time);
    } else if (scalar && feature->type.scalar == PIL_SCALAR_BYTES) {
        append_hex(text, raw);
    } else if (scalar && feature->type.scalar == PIL_SCALAR_BOOL) {
        pil_text_format(text, raw.data[0] ? "true" : "false");
    } else {
        append_resp(text, feature->type, raw);
    }
}

/* nan and inf are not JSON, also in lists, so such values stay text. */
static bool is_json(struct pil_bytes text) {
    uint8_t *scratch = pil_report_need(malloc(text.len + 1));
    const struct pil_json_value value = {.text = text, .scratch = scratch, .scratch_bytes = text.len + 1};
    bool is_it = pil_json_value_check(&value, NULL) == PIL_STATUS_OK;
    free(scratch);
    return is_it;
}

json_t *pil_value_to_json(const struct pil_shard *shard, const uint8_t *row, uint32_t feature_index) {
    const struct pil_feature *feature = &shard->view->features[feature_index];
    struct pil_text text = {0};
    pil_value_text_append(&text, shard, row, feature_index);
    bool textual = feature->type.shape == PIL_SHAPE_SCALAR &&
                   (feature->type.scalar == PIL_SCALAR_STRING || feature->type.scalar == PIL_SCALAR_BYTES ||
                    feature->type.scalar == PIL_SCALAR_UNIX_TIMESTAMP);
    bool is_null = pil_row_is_null(shard->view, row, feature_index);
    json_t *value = NULL;
    if (!text.failed && (!textual || is_null) && is_json(pil_text_bytes(&text))) {
        pil_ignore(pil_json_load(pil_text_bytes(&text), JSON_DECODE_ANY, &value, NULL), "NULL says it");
    } else if (!text.failed && pil_utf8_is_valid(pil_text_bytes(&text))) {
        value = json_stringn(pil_text_chars(&text), text.len);
    } else if (!text.failed) {
        pil_text_clear(&text);
        append_hex(&text, raw_of(shard, row, feature));
        value = text.failed ? NULL : json_pack("{s:s}", "hex", pil_text_chars(&text));
    }
    pil_text_deinit(&text);
    return value;
}

void pil_value_key_append(struct pil_text *text, const struct pil_shard *shard, const uint8_t *row) {
    struct pil_bytes key = pil_shard_row_key(shard, row);
    char small[256];
    size_t len = pil_view_key_format(shard->view, key, small, sizeof small);
    if (len <= sizeof small) {
        pil_text_append(text, small, len);
        return;
    }
    char *large = pil_report_need(calloc(1, len));
    pil_text_append(text, large, pil_view_key_format(shard->view, key, large, len));
    free(large);
}
