/* SPDX-License-Identifier: Apache-2.0
 * Requests of the Open Inference Protocol from anybody: the first byte says how many of the last are binary tensors,
 * what is between is JSON, and all of it a path. Invariants: every value of a request that parsed lies where the
 * request says; written again it parses to the same values; every refusal has a sentence; answers are JSON whatever is
 * in them; parsing needs no more scratch than the JSON is long. */
#include "base/panic.h"
#include "unit/wire/collect.h"
#include "base/json.h"
#include "wire/oip_reply.h"
#include "wire/value.h"

enum { INPUT_MAX = 4096, TENSOR_MAX = 4, OUTPUT_MAX = 4, VALUE_MAX = 64, SCRATCH_BYTES = 16 * INPUT_MAX };

struct parsed {
    struct pil_oip_input inputs[TENSOR_MAX];
    struct pil_oip_output outputs[OUTPUT_MAX];
    struct pil_key_part values[VALUE_MAX];
    uint8_t scratch[SCRATCH_BYTES];
    struct pil_oip_request request;
    struct pil_error error;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static pil_status parse(struct parsed *parsed, struct pil_bytes json, struct pil_bytes binary, size_t scratch_bytes) {
    struct pil_oip_buffers buffers = {
        .inputs = parsed->inputs,
        .outputs = parsed->outputs,
        .values = parsed->values,
        .scratch = parsed->scratch,
        .input_max = TENSOR_MAX,
        .output_max = OUTPUT_MAX,
        .value_max = VALUE_MAX,
        .scratch_bytes = scratch_bytes,
    };
    parsed->error.text[0] = '\0';
    return pil_oip_parse(json, binary, &buffers, &parsed->request, &parsed->error);
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

static size_t binary_bytes(const struct parsed *parsed, const struct pil_oip_input *input) {
    size_t bytes = 0;
    for (uint32_t row = 0; row < parsed->request.row_count; row++) {
        bytes += input->datatype == PIL_OIP_BYTES ? 4 + parsed->values[input->value_first + row].text.len : 8;
    }
    return bytes;
}

/* Integers as INT64 and strings as BYTES, both binary. */
static void put_again(struct collect *json, struct collect *binary, const struct parsed *parsed) {
    struct pil_sink *sink = &json->sink;
    pil_sink_write_text(sink, "{\"inputs\":[");
    for (uint32_t i = 0; i < parsed->request.input_count; i++) {
        const struct pil_oip_input *input = &parsed->inputs[i];
        pil_sink_write_text(sink, i > 0 ? ",{\"name\":" : "{\"name\":");
        pil_value_put_json_string(sink, input->name);
        pil_sink_write_text(sink, input->datatype == PIL_OIP_BYTES ? ",\"datatype\":\"BYTES\",\"shape\":["
                                                                   : ",\"datatype\":\"INT64\",\"shape\":[");
        pil_sink_write_u64(sink, parsed->request.row_count);
        pil_sink_write_text(sink, "],\"parameters\":{\"binary_data_size\":");
        pil_sink_write_u64(sink, binary_bytes(parsed, input));
        pil_sink_write_text(sink, "}}");
        for (uint32_t row = 0; row < parsed->request.row_count; row++) {
            const struct pil_key_part *part = &parsed->values[input->value_first + row];
            if (input->datatype == PIL_OIP_BYTES) {
                pil_oip_put_binary_string(&binary->sink, part->text);
            } else {
                pil_sink_write(&binary->sink, &part->integer, sizeof part->integer);
            }
        }
    }
    pil_sink_write_text(sink, "]}");
}

static void check_again(const struct parsed *first) {
    static struct parsed again;
    struct collect json, binary;
    collect_init(&json);
    collect_init(&binary);
    put_again(&json, &binary, first);
    check_json(collect_bytes(&json));
    pil_status status = parse(&again, collect_bytes(&json), collect_bytes(&binary), sizeof again.scratch);
    PIL_ASSERT(status == PIL_STATUS_OK);
    PIL_ASSERT(again.request.input_count == first->request.input_count);
    PIL_ASSERT(again.request.row_count == first->request.row_count);
    for (uint32_t i = 0; i < first->request.input_count; i++) {
        for (uint32_t row = 0; row < first->request.row_count; row++) {
            const struct pil_key_part *a = &first->values[first->inputs[i].value_first + row];
            const struct pil_key_part *b = &again.values[again.inputs[i].value_first + row];
            PIL_ASSERT(a->kind == b->kind);
            PIL_ASSERT(a->kind == PIL_KEY_PART_INT ? a->integer == b->integer : pil_bytes_equal(a->text, b->text));
        }
    }
    collect_deinit(&json);
    collect_deinit(&binary);
}

static void check_answer(struct pil_bytes raw) {
    struct collect out;
    collect_init(&out);
    struct pil_oip_encoder encoder = {.sink = &out.sink};
    struct pil_oip_tensor tensor = {raw, PIL_OIP_FP32, 2, {1, -1}};
    pil_oip_put_begin(&encoder, raw, raw);
    pil_oip_put_text_parameter(&encoder, (struct pil_bytes){0}, "release", raw);
    pil_oip_put_outputs(&encoder);
    pil_oip_put_output(&encoder, &tensor, NULL);
    pil_oip_put_numbers(&encoder, PIL_OIP_FP32, raw.data, raw.len / 4, true);
    pil_oip_put_numbers(&encoder, PIL_OIP_FP64, raw.data, raw.len / 8, false);
    pil_oip_put_numbers(&encoder, PIL_OIP_UINT8, raw.data, raw.len, true);
    pil_oip_put_string(&encoder, PIL_SCALAR_STRING, raw);
    pil_oip_put_string(&encoder, PIL_SCALAR_BYTES, raw);
    pil_oip_put_output_end(&encoder);
    pil_oip_put_binary_output(&encoder, &tensor, raw.len);
    pil_oip_put_end(&encoder);
    check_json(collect_bytes(&out));
    collect_deinit(&out);
}

static void check_path(struct pil_bytes path) {
    struct pil_oip_route route;
    pil_oip_route_parse(path, &route);
    PIL_ASSERT(route.model_len <= sizeof route.model && route.version.len <= path.len);
    PIL_ASSERT(route.kind >= PIL_OIP_ROUTE_MODEL || route.model_len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct parsed parsed;
    if (size == 0 || size > INPUT_MAX) {
        return 0;
    }
    struct pil_bytes rest = pil_bytes_from(data + 1, size - 1);
    size_t tail = data[0] < rest.len ? data[0] : rest.len;
    struct pil_bytes json = pil_bytes_from(rest.data, rest.len - tail);
    pil_status status = parse(&parsed, json, pil_bytes_from(rest.data + json.len, tail), json.len);
    if (status == PIL_STATUS_OK) {
        check_again(&parsed);
    } else {
        PIL_ASSERT(parsed.error.text[0] != '\0');
        struct collect out;
        collect_init(&out);
        pil_oip_put_error(&out.sink, pil_bytes_from_text(parsed.error.text));
        check_json(collect_bytes(&out));
        collect_deinit(&out);
    }
    check_answer(rest);
    check_path(rest);
    return 0;
}
