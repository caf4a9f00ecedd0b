/* SPDX-License-Identifier: Apache-2.0
 * Feast's request bodies from anybody, and values from a damaged heap. Invariants: a request, encoded again, parses to
 * the same; whatever we answer is JSON, whatever is in it; parsing needs no more scratch than the body is long. */
#include "base/panic.h"
#include "unit/wire/collect.h"
#include "wire/feast.h"
#include "base/json.h"
#include "wire/value.h"

enum { INPUT_MAX = 4096, COLUMN_MAX = 8, VALUE_MAX = 64, FEATURE_MAX = 16, SCRATCH_BYTES = 16 * INPUT_MAX };

struct parsed {
    struct pil_feast_column columns[COLUMN_MAX];
    struct pil_feast_value values[VALUE_MAX];
    struct pil_bytes features[FEATURE_MAX];
    uint8_t scratch[SCRATCH_BYTES];
    struct pil_feast_request request;
    struct pil_feast_rejection rejection;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static pil_status parse(struct parsed *parsed, struct pil_bytes body, size_t scratch_bytes) {
    struct pil_feast_buffers buffers = {
        .columns = parsed->columns,
        .values = parsed->values,
        .features = parsed->features,
        .scratch = parsed->scratch,
        .column_max = COLUMN_MAX,
        .value_max = VALUE_MAX,
        .feature_max = FEATURE_MAX,
        .scratch_bytes = scratch_bytes,
    };
    return pil_feast_parse(body, &buffers, &parsed->request, &parsed->rejection);
}

static void check_json(struct pil_bytes text) {
    static uint8_t scratch[1 << 20];
    struct pil_json json;
    struct pil_bytes raw;
    pil_json_init(&json, text, scratch, sizeof scratch);
    pil_status status = pil_json_skip(&json, &raw);
    PIL_ASSERT(status == PIL_STATUS_OK);
    status = pil_json_finish(&json);
    PIL_ASSERT(status == PIL_STATUS_OK);
}

static void put_value(struct pil_sink *sink, const struct pil_feast_value *value) {
    switch (value->kind) {
    case PIL_FEAST_KIND_NULL: pil_sink_write_text(sink, "null"); return;
    case PIL_FEAST_KIND_BOOL: pil_sink_write_text(sink, value->integer != 0 ? "true" : "false"); return;
    case PIL_FEAST_KIND_INTEGER: pil_sink_write_i64(sink, value->integer); return;
    case PIL_FEAST_KIND_NUMBER:
    case PIL_FEAST_KIND_NESTED: pil_sink_write_bytes(sink, value->text); return;
    case PIL_FEAST_KIND_STRING: pil_value_put_json_string(sink, value->text); return;
    }
}

static void put_request(struct pil_sink *sink, const struct pil_feast_request *request) {
    pil_sink_write_text(sink, "{\"feature_service\":");
    pil_value_put_json_string(sink, request->feature_service);
    pil_sink_write_text(sink, request->full_feature_names ? ",\"full_feature_names\":true" : "");
    pil_sink_write_text(sink, request->include_view_metadata ? ",\"include_feature_view_version_metadata\":true" : "");
    for (uint32_t i = 0; request->has_features && i < request->feature_count; i++) {
        pil_sink_write_text(sink, i == 0 ? ",\"features\":[" : ",");
        pil_value_put_json_string(sink, request->features[i]);
    }
    if (request->has_features) {
        pil_sink_write_text(sink, request->feature_count == 0 ? ",\"features\":[]" : "]");
    }
    pil_sink_write_text(sink, ",\"entities\":{");
    for (uint32_t i = 0; i < request->column_count; i++) {
        pil_sink_write_text(sink, i > 0 ? "," : "");
        pil_value_put_json_string(sink, request->columns[i].name);
        pil_sink_write_text(sink, ":[");
        for (uint32_t k = 0; k < request->columns[i].value_count; k++) {
            pil_sink_write_text(sink, k > 0 ? "," : "");
            put_value(sink, &request->values[request->columns[i].value_first + k]);
        }
        pil_sink_put(sink, ']');
    }
    pil_sink_write_text(sink, "}}");
}

static void check_again(const struct pil_feast_request *request) {
    static struct parsed again;
    struct collect first, second;
    collect_init(&first);
    collect_init(&second);
    put_request(&first.sink, request);
    pil_status status = parse(&again, collect_bytes(&first), sizeof again.scratch);
    PIL_ASSERT(status == PIL_STATUS_OK);
    put_request(&second.sink, &again.request);
    PIL_ASSERT(pil_bytes_equal(collect_bytes(&first), collect_bytes(&second)));
    collect_deinit(&first);
    collect_deinit(&second);
}

static void check_request(struct pil_bytes body) {
    static struct parsed parsed;
    if (parse(&parsed, body, body.len) == PIL_STATUS_OK) {
        if (!parsed.request.is_cut) {
            check_again(&parsed.request);
        }
        return;
    }
    struct collect out;
    collect_init(&out);
    pil_feast_put_rejection(&out.sink, &parsed.rejection);
    check_json(collect_bytes(&out));
    collect_deinit(&out);
}

/* `raw` as the payload of a value of this type. */
static void check_value(struct pil_type type, struct pil_bytes raw) {
    struct collect out;
    if (type.shape == PIL_SHAPE_SCALAR && !pil_type_is_reference(type) && raw.len < pil_type_row_bytes(type)) {
        return; /* fields of fixed width always have it */
    }
    collect_init(&out);
    pil_value_put_json(&out.sink, type, raw);
    check_json(collect_bytes(&out));
    PIL_ASSERT(!pil_value_is_readable_by_feast(type, raw) || type.shape == PIL_SHAPE_SCALAR || raw.len > 0);
    collect_deinit(&out);
    if (type.shape == PIL_SHAPE_LIST) {
        collect_init(&out);
        pil_value_put_resp(&out.sink, type, raw);
        check_json(collect_bytes(&out));
        collect_deinit(&out);
    }
}

static void check_error(pil_feast_error error, struct pil_bytes argument) {
    struct collect out;
    collect_init(&out);
    pil_feast_put_error(&out.sink, error, argument, argument);
    check_json(collect_bytes(&out));
    collect_deinit(&out);
}

/* The first byte says what the rest is: below TYPES, a value of one type; from ERRORS on, the argument of an error. Any
 * other byte begins a request. One thing at a time, so that an input costs microseconds. */
enum { TYPES = 2 * PIL_SCALAR_COUNT, ERRORS = 0x80 };
PIL_STATIC_ASSERT((int)TYPES <= ' ' && (int)ERRORS + (int)PIL_FEAST_ERROR_COUNT <= 256);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > INPUT_MAX) {
        return 0;
    }
    struct pil_bytes rest = pil_bytes_from(data + (size > 0), size - (size > 0));
    uint8_t first = size > 0 ? data[0] : ' ';
    if (first < TYPES) {
        check_value((struct pil_type){.scalar = (pil_scalar)(first / 2),
                                      .shape = first % 2 == 0 ? PIL_SHAPE_SCALAR : PIL_SHAPE_LIST},
                    rest);
    } else if (first >= ERRORS && first < ERRORS + PIL_FEAST_ERROR_COUNT) {
        check_error((pil_feast_error)(first - ERRORS), rest);
    } else {
        check_request(pil_bytes_from(data, size));
    }
    return 0;
}
