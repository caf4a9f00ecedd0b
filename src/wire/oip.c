/* SPDX-License-Identifier: Apache-2.0
 * Reads paths and inference requests. The elements of a tensor are read as numbers or strings, and checked against its
 * datatype and shape at the end of the request, because members may come in any order. */
#include "wire/oip.h"
#include "base/base64.h"
#include "base/character.h"
#include "base/panic.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    SHOWN_BYTES_MAX = 64, /* bytes of client text shown in a message */
    BASE64_BYTES_MAX = (PIL_KEY_BYTES_MAX + 2) / 3 * 4,
};

/* For "%.*s". */
#define SHOWN(bytes) (int)((bytes).len < SHOWN_BYTES_MAX ? (bytes).len : SHOWN_BYTES_MAX), (const char *)(bytes).data

static const struct datatype {
    const char *name;
    uint32_t bytes;
} datatypes[PIL_OIP_DATATYPE_COUNT] = {
#define X(name, bytes) [PIL_OIP_##name] = {#name, bytes},
    PIL_OIP_DATATYPE_TABLE(X)
#undef X
};

const char *pil_oip_datatype_text(pil_oip_datatype datatype) {
    return datatypes[datatype].name;
}

pil_oip_datatype pil_oip_key_datatype(pil_scalar scalar) {
    switch (scalar) {
    case PIL_SCALAR_INT32: return PIL_OIP_INT32;
    case PIL_SCALAR_INT64:
    case PIL_SCALAR_UNIX_TIMESTAMP: return PIL_OIP_INT64; /* seconds */
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES: return PIL_OIP_BYTES;
    case PIL_SCALAR_BOOL:
    case PIL_SCALAR_INT8:
    case PIL_SCALAR_FLOAT16:
    case PIL_SCALAR_BFLOAT16:
    case PIL_SCALAR_FLOAT32:
    case PIL_SCALAR_FLOAT64:
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("not the type of a key");
}

/* ---- Paths. */

static struct pil_bytes skip_bytes(struct pil_bytes bytes, size_t count) {
    return pil_bytes_from(bytes.data + count, bytes.len - count);
}

static bool take_suffix(struct pil_bytes *path, const char *suffix) {
    size_t len = strlen(suffix);
    if (path->len < len || memcmp(path->data + path->len - len, suffix, len) != 0) {
        return false;
    }
    path->len -= len;
    return true;
}

/* Takes "/versions/V" off the end of the path; V has no slash. */
static void take_version(struct pil_bytes *path, struct pil_bytes *version) {
    size_t at = path->len;
    while (at > 0 && path->data[at - 1] != '/') {
        at--;
    }
    struct pil_bytes before = {.data = path->data, .len = at};
    if (take_suffix(&before, "/versions/")) {
        *version = skip_bytes(*path, at);
        *path = before;
    }
}

static void decode_model(struct pil_bytes name, struct pil_oip_route *route) {
    for (size_t at = 0; at < name.len && route->model_len < sizeof route->model; route->model_len++) {
        int high = name.data[at] == '%' && name.len - at > 2 ? pil_character_hex_digit(name.data[at + 1]) : -1;
        int low = high >= 0 ? pil_character_hex_digit(name.data[at + 2]) : -1;
        route->model[route->model_len] = low >= 0 ? (uint8_t)(high * 16 + low) : name.data[at];
        at += low >= 0 ? 3 : 1;
    }
}

void pil_oip_route_parse(struct pil_bytes path, struct pil_oip_route *ret_route) {
    static const char models[] = "/v2/models/";
    static const struct {
        const char *path;
        pil_oip_route_kind kind;
    } others[] = {{"/v2", PIL_OIP_ROUTE_SERVER},
                  {"/v2/health/live", PIL_OIP_ROUTE_LIVE},
                  {"/v2/health/ready", PIL_OIP_ROUTE_READY},
                  {"/v2/repository/index", PIL_OIP_ROUTE_INDEX}};
    *ret_route = (struct pil_oip_route){.kind = PIL_OIP_ROUTE_UNKNOWN};
    (void)(path.len > 1 && take_suffix(&path, "/"));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (pil_bytes_equal_text(path, others[i].path)) {
            ret_route->kind = others[i].kind;
            return;
        }
    }
    if (path.len < sizeof models || memcmp(path.data, models, sizeof models - 1) != 0) {
        return;
    }
    path = skip_bytes(path, sizeof models - 1);
    ret_route->kind = take_suffix(&path, "/infer")   ? PIL_OIP_ROUTE_INFER
                      : take_suffix(&path, "/ready") ? PIL_OIP_ROUTE_MODEL_READY
                                                     : PIL_OIP_ROUTE_MODEL;
    take_version(&path, &ret_route->version);
    decode_model(path, ret_route);
}

/* ---- The parts of a request. */

struct parser {
    struct pil_json json;
    const struct pil_oip_buffers *buffers;
    struct pil_oip_request request;
    uint32_t input_count, output_count, value_count;
    bool has_inputs;
    struct pil_error *error;
};

/* Fails because of a value of the wrong kind; `where` is the name of the member. */
static pil_status wrong(struct parser *parser, const char *where, const char *wanted) {
    struct pil_bytes raw;
    PIL_TRY(pil_json_skip(&parser->json, &raw));
    return pil_fail(parser->error, PIL_STATUS_INVALID, "%s is %.*s; it must be %s", where, SHOWN(raw), wanted);
}

static pil_status read_text(struct parser *parser, const char *where, struct pil_bytes *ret_text) {
    return pil_json_peek(&parser->json) == PIL_JSON_STRING ? pil_json_read_string(&parser->json, ret_text)
                                                           : wrong(parser, where, "a string");
}

static pil_status read_flag(struct parser *parser, const char *where, bool *ret_flag) {
    return pil_json_peek(&parser->json) == PIL_JSON_BOOL ? pil_json_read_bool(&parser->json, ret_flag)
                                                         : wrong(parser, where, "true or false");
}

/* A whole number that is not negative. */
static pil_status read_count(struct parser *parser, const char *where, int64_t *ret_count) {
    struct pil_json_number number;
    if (pil_json_peek(&parser->json) != PIL_JSON_NUMBER) {
        return wrong(parser, where, "a whole number");
    }
    PIL_TRY(pil_json_read_number(&parser->json, &number));
    if (!number.is_integral || number.integer < 0) {
        return pil_fail(parser->error, PIL_STATUS_INVALID, "%s is %.*s; it must be a whole number, 0 or more", where,
                        SHOWN(number.text));
    }
    *ret_count = number.integer;
    return PIL_STATUS_OK;
}

static pil_status enter(struct parser *parser, pil_json_kind kind, const char *where) {
    return pil_json_peek(&parser->json) == kind ? pil_json_enter(&parser->json, kind)
                                                : wrong(parser, where, kind == PIL_JSON_ARRAY ? "a list" : "an object");
}

static pil_status skip(struct parser *parser) {
    struct pil_bytes raw;
    return pil_json_skip(&parser->json, &raw);
}

/* Calls `read` for each member of the object that comes next. */
static pil_status read_members(struct parser *parser, const char *where,
                               pil_status (*read)(struct parser *parser, struct pil_bytes name, void *target),
                               void *target) {
    PIL_TRY(enter(parser, PIL_JSON_OBJECT, where));
    for (bool first = true, more;;) {
        struct pil_bytes name;
        PIL_TRY(pil_json_next_member(&parser->json, &first, &name, &more));
        if (!more) {
            return PIL_STATUS_OK;
        }
        PIL_TRY(read(parser, name, target));
    }
}

/* "inputs[0]" or "inputs[0] (driver_id)", for messages. */
struct place {
    char text[SHOWN_BYTES_MAX + 40];
};

static struct place place_of(const struct parser *parser, const struct pil_oip_input *input) {
    struct place place;
    size_t index = (size_t)(input - parser->buffers->inputs);
    int len = snprintf(place.text, sizeof place.text, "inputs[%zu]", index);
    if (input->has_name) {
        snprintf(place.text + len, sizeof place.text - (size_t)len, " (%.*s)", SHOWN(input->name));
    }
    return place;
}

/* ---- Inputs. */

static pil_status read_element(struct parser *parser, const struct pil_oip_input *input, struct pil_key_part *part) {
    struct pil_json *json = &parser->json;
    struct pil_json_number number;
    pil_json_kind kind = pil_json_peek(json);
    if (kind == PIL_JSON_STRING) {
        part->kind = PIL_KEY_PART_TEXT;
        return pil_json_read_string(json, &part->text);
    }
    struct pil_bytes raw;
    if (kind == PIL_JSON_NUMBER) {
        PIL_TRY(pil_json_read_number(json, &number));
        if (number.is_integral) {
            /* An integer also when it is written 1.0: the tensor's datatype says so. */
            *part = (struct pil_key_part){.kind = PIL_KEY_PART_INT, .integer = number.integer, .text = number.text};
            return PIL_STATUS_OK;
        }
        raw = number.text;
    } else {
        PIL_TRY(pil_json_skip(json, &raw));
    }
    return pil_fail(parser->error, PIL_STATUS_INVALID,
                    "%s: element %u is %.*s; keys are whole numbers within int64, or strings",
                    place_of(parser, input).text, parser->value_count - input->value_first, SHOWN(raw));
}

/* A flat list, or lists of lists: row-major either way. */
static pil_status read_data(struct parser *parser, struct pil_oip_input *input) {
    struct pil_json *json = &parser->json;
    uint32_t depth = json->depth;
    input->value_first = parser->value_count;
    input->has_data = pil_json_peek(json) != PIL_JSON_NULL;
    if (!input->has_data) {
        return pil_json_read_null(json);
    }
    PIL_TRY(enter(parser, PIL_JSON_ARRAY, "data"));
    for (bool first = true, more; json->depth > depth;) {
        PIL_TRY(pil_json_next_element(json, &first, &more));
        if (!more) {
            first = false; /* continue with the enclosing list */
            continue;
        }
        if (pil_json_peek(json) == PIL_JSON_ARRAY) {
            PIL_TRY(pil_json_enter(json, PIL_JSON_ARRAY));
            first = true;
            continue;
        }
        if (parser->value_count == parser->buffers->value_max) {
            return pil_fail(parser->error, PIL_STATUS_TOO_LARGE, "%s: the inputs have over %u elements",
                            place_of(parser, input).text, parser->buffers->value_max);
        }
        PIL_TRY(read_element(parser, input, &parser->buffers->values[parser->value_count]));
        parser->value_count++;
    }
    input->value_count = parser->value_count - input->value_first;
    return PIL_STATUS_OK;
}

static pil_status read_shape(struct parser *parser, struct pil_oip_input *input) {
    input->has_shape = true;
    input->dimension_count = 0;
    PIL_TRY(enter(parser, PIL_JSON_ARRAY, "shape"));
    for (bool first = true, more;; input->dimension_count++) {
        int64_t dimension;
        PIL_TRY(pil_json_next_element(&parser->json, &first, &more));
        if (!more) {
            return PIL_STATUS_OK;
        }
        PIL_TRY(read_count(parser, "a dimension of shape", &dimension));
        if (input->dimension_count < 2) {
            input->dimensions[input->dimension_count] = (uint64_t)dimension;
        }
    }
}

static pil_status refuse_shared_memory(struct parser *parser) {
    return pil_fail(parser->error, PIL_STATUS_INVALID,
                    "shared memory is not supported here: send and take tensors in the body");
}

static pil_status read_input_parameter(struct parser *parser, struct pil_bytes name, void *target) {
    struct pil_oip_input *input = target;
    if (pil_bytes_equal_text(name, "binary_data_size")) {
        return read_count(parser, "binary_data_size", &input->binary_bytes);
    }
    if (pil_bytes_equal_text(name, "content_type")) {
        struct pil_bytes content_type;
        PIL_TRY(read_text(parser, "content_type", &content_type));
        input->is_base64 = pil_bytes_equal_text(content_type, "base64");
        return PIL_STATUS_OK;
    }
    return pil_bytes_equal_text(name, "shared_memory_region") ? refuse_shared_memory(parser) : skip(parser);
}

static pil_status read_datatype(struct parser *parser, pil_oip_datatype *ret_datatype) {
    struct pil_bytes text;
    PIL_TRY(read_text(parser, "datatype", &text));
    for (uint32_t i = 0; i < PIL_OIP_DATATYPE_COUNT; i++) {
        if (pil_bytes_equal_text(text, datatypes[i].name)) {
            *ret_datatype = (pil_oip_datatype)i;
            return PIL_STATUS_OK;
        }
    }
    return pil_fail(parser->error, PIL_STATUS_INVALID, "there is no datatype %.*s", SHOWN(text));
}

static pil_status read_input_member(struct parser *parser, struct pil_bytes name, void *target) {
    struct pil_oip_input *input = target;
    if (pil_bytes_equal_text(name, "name")) {
        input->has_name = true;
        return read_text(parser, "name", &input->name);
    }
    if (pil_bytes_equal_text(name, "datatype")) {
        input->has_datatype = true;
        return read_datatype(parser, &input->datatype);
    }
    if (pil_bytes_equal_text(name, "shape")) {
        return read_shape(parser, input);
    }
    if (pil_bytes_equal_text(name, "parameters")) {
        return read_members(parser, "parameters", read_input_parameter, input);
    }
    return pil_bytes_equal_text(name, "data") ? read_data(parser, input) : skip(parser);
}

static pil_status read_inputs(struct parser *parser) {
    parser->has_inputs = true;
    parser->input_count = parser->value_count = 0;
    PIL_TRY(enter(parser, PIL_JSON_ARRAY, "inputs"));
    for (bool first = true, more;;) {
        PIL_TRY(pil_json_next_element(&parser->json, &first, &more));
        if (!more) {
            return PIL_STATUS_OK;
        }
        if (parser->input_count == parser->buffers->input_max) {
            return pil_fail(parser->error, PIL_STATUS_TOO_LARGE, "the request has over %u inputs",
                            parser->buffers->input_max);
        }
        struct pil_oip_input *input = &parser->buffers->inputs[parser->input_count++];
        *input = (struct pil_oip_input){.binary_bytes = -1};
        PIL_TRY(read_members(parser, "an input", read_input_member, input));
    }
}

/* ---- Outputs and parameters. */

static pil_status read_output_parameter(struct parser *parser, struct pil_bytes name, void *target) {
    struct pil_oip_output *output = target;
    if (pil_bytes_equal_text(name, "binary_data")) {
        output->has_binary = true;
        return read_flag(parser, "binary_data", &output->is_binary);
    }
    if (pil_bytes_equal_text(name, "classification")) {
        return pil_fail(parser->error, PIL_STATUS_INVALID, "classification is not supported: outputs are features");
    }
    return pil_bytes_equal_text(name, "shared_memory_region") ? refuse_shared_memory(parser) : skip(parser);
}

static pil_status read_output_member(struct parser *parser, struct pil_bytes name, void *target) {
    struct pil_oip_output *output = target;
    if (pil_bytes_equal_text(name, "name")) {
        output->has_name = true;
        return read_text(parser, "name", &output->name);
    }
    return pil_bytes_equal_text(name, "parameters") ? read_members(parser, "parameters", read_output_parameter, output)
                                                    : skip(parser);
}

static pil_status read_outputs(struct parser *parser) {
    parser->output_count = 0;
    if (pil_json_peek(&parser->json) == PIL_JSON_NULL) {
        return pil_json_read_null(&parser->json);
    }
    PIL_TRY(enter(parser, PIL_JSON_ARRAY, "outputs"));
    for (bool first = true, more;;) {
        PIL_TRY(pil_json_next_element(&parser->json, &first, &more));
        if (!more) {
            return PIL_STATUS_OK;
        }
        if (parser->output_count == parser->buffers->output_max) {
            return pil_fail(parser->error, PIL_STATUS_TOO_LARGE, "the request asks for over %u outputs",
                            parser->buffers->output_max);
        }
        struct pil_oip_output *output = &parser->buffers->outputs[parser->output_count++];
        *output = (struct pil_oip_output){0};
        PIL_TRY(read_members(parser, "an output", read_output_member, output));
        if (!output->has_name) {
            return pil_fail(parser->error, PIL_STATUS_INVALID, "outputs[%u] has no name", parser->output_count - 1);
        }
    }
}

static pil_status read_parameter(struct parser *parser, struct pil_bytes name, void *target) {
    struct pil_oip_request *request = target;
    if (pil_bytes_equal_text(name, "binary_data_output")) {
        return read_flag(parser, "binary_data_output", &request->has_binary_output);
    }
    if (pil_bytes_equal_text(name, "use_defaults")) {
        return read_flag(parser, "use_defaults", &request->use_defaults);
    }
    if (pil_bytes_equal_text(name, "max_age_us")) {
        return read_count(parser, "max_age_us", &request->max_age_us);
    }
    if (!pil_bytes_equal_text(name, "datatype")) {
        return skip(parser);
    }
    PIL_TRY(read_datatype(parser, &request->datatype));
    return request->datatype == PIL_OIP_FP32 || request->datatype == PIL_OIP_FP64
               ? PIL_STATUS_OK
               : pil_fail(parser->error, PIL_STATUS_INVALID, "parameters.datatype is %s; features are FP32 or FP64",
                          datatypes[request->datatype].name);
}

static pil_status read_request_member(struct parser *parser, struct pil_bytes name, void *target) {
    struct pil_oip_request *request = target;
    if (pil_bytes_equal_text(name, "inputs")) {
        return read_inputs(parser);
    }
    if (pil_bytes_equal_text(name, "outputs")) {
        return read_outputs(parser);
    }
    bool is_parameters = pil_bytes_equal_text(name, "parameters"), is_id = pil_bytes_equal_text(name, "id");
    if (is_parameters || is_id) {
        if (pil_json_peek(&parser->json) == PIL_JSON_NULL) {
            return pil_json_read_null(&parser->json);
        }
        return is_id ? read_text(parser, "id", &request->id)
                     : read_members(parser, "parameters", read_parameter, request);
    }
    return skip(parser);
}

/* ---- Checks after the whole request was read. */

static pil_status check_head(struct parser *parser, const struct pil_oip_input *input) {
    const char *lacking = !input->has_name       ? "name"
                          : !input->has_datatype ? "datatype"
                          : !input->has_shape    ? "shape"
                                                 : NULL;
    if (lacking != NULL) {
        return pil_fail(parser->error, PIL_STATUS_INVALID, "%s has no %s", place_of(parser, input).text, lacking);
    }
    if (input->datatype == PIL_OIP_BOOL || (input->datatype >= PIL_OIP_FP16 && input->datatype <= PIL_OIP_FP64)) {
        return pil_fail(parser->error, PIL_STATUS_INVALID, "%s is %s; join keys are integers or BYTES",
                        place_of(parser, input).text, datatypes[input->datatype].name);
    }
    if (input->dimension_count < 1 || input->dimension_count > 2 ||
        (input->dimension_count == 2 && input->dimensions[1] != 1)) {
        return pil_fail(parser->error, PIL_STATUS_INVALID, "%s: the shape of a join key is [n] or [n, 1]",
                        place_of(parser, input).text);
    }
    if (input->has_data == (input->binary_bytes >= 0)) {
        return pil_fail(parser->error, PIL_STATUS_INVALID, "%s has %s", place_of(parser, input).text,
                        input->has_data ? "both data and a binary_data_size"
                                        : "no data: neither a list nor a binary_data_size");
    }
    if (input->is_base64 && (input->datatype != PIL_OIP_BYTES || input->binary_bytes >= 0)) {
        return pil_fail(parser->error, PIL_STATUS_INVALID,
                        "%s: content_type base64 is for BYTES in JSON; this input is %s%s",
                        place_of(parser, input).text, datatypes[input->datatype].name,
                        input->binary_bytes >= 0 ? " in binary, whose bytes are taken as they are" : "");
    }
    for (const struct pil_oip_input *other = parser->buffers->inputs; other < input; other++) {
        if (pil_bytes_equal(other->name, input->name)) {
            return pil_fail(parser->error, PIL_STATUS_INVALID, "%s is there twice", place_of(parser, input).text);
        }
    }
    return PIL_STATUS_OK;
}

static bool fits(pil_oip_datatype datatype, int64_t value) {
    uint32_t bits = 8 * datatypes[datatype].bytes;
    bool is_signed = datatype >= PIL_OIP_INT8;
    if (bits == 64) {
        return is_signed || value >= 0;
    }
    int64_t limit = INT64_C(1) << (is_signed ? bits - 1 : bits);
    return value < limit && value >= (is_signed ? -limit : 0);
}

static pil_status check_elements(struct parser *parser, const struct pil_oip_input *input) {
    const struct pil_key_part *values = &parser->buffers->values[input->value_first];
    bool is_bytes = input->datatype == PIL_OIP_BYTES;
    for (uint32_t i = 0; i < input->value_count; i++) {
        bool is_text = values[i].kind == PIL_KEY_PART_TEXT; /* else a whole number within int64 */
        if (is_text != is_bytes || (!is_text && !fits(input->datatype, values[i].integer))) {
            return pil_fail(parser->error, PIL_STATUS_INVALID, "%s: element %u, %.*s, is not %s%s",
                            place_of(parser, input).text, i, SHOWN(values[i].text),
                            is_bytes                          ? "a string, as BYTES are in JSON"
                            : input->datatype >= PIL_OIP_INT8 ? "an "
                                                              : "a ",
                            is_bytes ? "" : datatypes[input->datatype].name);
        }
    }
    return PIL_STATUS_OK;
}

/* Decodes the strings of an input: those with escapes where they lie, in the scratch memory, the others from the JSON
 * into it. So all together need no more of it than the length of the JSON. */
static pil_status decode_base64(struct parser *parser, const struct pil_oip_input *input) {
    struct pil_key_part *values = &parser->buffers->values[input->value_first];
    uint8_t *begin = parser->buffers->scratch;
    struct pil_json *json = &parser->json;
    for (uint32_t i = 0; i < input->value_count; i++) {
        struct pil_bytes text = values[i].text;
        if (text.len > BASE64_BYTES_MAX) {
            return pil_fail(parser->error, PIL_STATUS_TOO_LARGE,
                            "%s: element %u has %zu characters of base64; a key has at most %d bytes",
                            place_of(parser, input).text, i, text.len, PIL_KEY_BYTES_MAX);
        }
        if (!pil_base64_is_valid(text)) {
            return pil_fail(parser->error, PIL_STATUS_INVALID,
                            "%s: element %u, %.*s, is not base64 (RFC 4648, padded with '=')",
                            place_of(parser, input).text, i, SHOWN(text));
        }
        bool is_in_scratch = text.data >= begin && text.data < json->scratch;
        uint8_t *to = is_in_scratch ? begin + (text.data - begin) : json->scratch;
        PIL_ASSERT(is_in_scratch || (size_t)(json->scratch_end - to) >= text.len / 4 * 3);
        values[i].text = pil_bytes_from(to, pil_base64_decode(text, to));
        json->scratch += is_in_scratch ? 0 : values[i].text.len;
        pil_json_work(json, text.len);
    }
    return PIL_STATUS_OK;
}

/* Returns false if the number exceeds int64. */
static bool load_integer(pil_oip_datatype datatype, const uint8_t *from, int64_t *ret_value) {
    uint32_t bytes = datatypes[datatype].bytes;
    uint64_t raw = 0;
    memcpy(&raw, from, bytes);
    if (datatype >= PIL_OIP_INT8) {
        uint32_t unused = 64 - 8 * bytes;
        *ret_value = (int64_t)(raw << unused) >> unused;
        return true;
    }
    *ret_value = (int64_t)raw;
    return raw <= INT64_MAX;
}

static pil_status read_binary_integers(struct parser *parser, const struct pil_oip_input *input, struct pil_bytes data,
                                       uint32_t row_count) {
    uint32_t bytes = datatypes[input->datatype].bytes;
    struct pil_key_part *values = &parser->buffers->values[input->value_first];
    if (data.len != (uint64_t)row_count * bytes) {
        return pil_fail(parser->error, PIL_STATUS_INVALID,
                        "%s: binary_data_size is %zu; %u elements of %s are %" PRIu64, place_of(parser, input).text,
                        data.len, row_count, datatypes[input->datatype].name, (uint64_t)row_count * bytes);
    }
    for (uint32_t i = 0; i < row_count; i++) {
        values[i] = (struct pil_key_part){.kind = PIL_KEY_PART_INT};
        if (!load_integer(input->datatype, data.data + (size_t)i * bytes, &values[i].integer)) {
            return pil_fail(parser->error, PIL_STATUS_INVALID, "%s: element %u, %" PRIu64 ", is over int64",
                            place_of(parser, input).text, i, (uint64_t)values[i].integer);
        }
    }
    return PIL_STATUS_OK;
}

static pil_status read_binary_strings(struct parser *parser, const struct pil_oip_input *input, struct pil_bytes data,
                                      uint32_t row_count) {
    struct pil_key_part *values = &parser->buffers->values[input->value_first];
    for (uint32_t i = 0; i < row_count; i++) {
        uint32_t len = data.len >= 4 ? pil_load_u32(data.data) : 0;
        if (data.len < 4 || data.len - 4 < len) {
            return pil_fail(parser->error, PIL_STATUS_INVALID, "%s: its binary data ends inside element %u of %u",
                            place_of(parser, input).text, i, row_count);
        }
        values[i] = (struct pil_key_part){.kind = PIL_KEY_PART_TEXT, .text = pil_bytes_from(data.data + 4, len)};
        data = skip_bytes(data, 4 + (size_t)len);
    }
    return data.len == 0 ? PIL_STATUS_OK
                         : pil_fail(parser->error, PIL_STATUS_INVALID,
                                    "%s: %zu bytes of binary data are left behind its %u elements",
                                    place_of(parser, input).text, data.len, row_count);
}

/* Takes the input's bytes off the front of *binary. */
static pil_status read_binary(struct parser *parser, struct pil_oip_input *input, struct pil_bytes *binary,
                              uint32_t row_count) {
    if ((uint64_t)input->binary_bytes > binary->len) {
        return pil_fail(parser->error, PIL_STATUS_INVALID,
                        "%s: binary_data_size is %" PRId64 "; %zu bytes of binary data are left",
                        place_of(parser, input).text, input->binary_bytes, binary->len);
    }
    if (row_count > parser->buffers->value_max - parser->value_count) {
        return pil_fail(parser->error, PIL_STATUS_TOO_LARGE, "%s: the inputs have over %u elements",
                        place_of(parser, input).text, parser->buffers->value_max);
    }
    struct pil_bytes data = pil_bytes_from(binary->data, (size_t)input->binary_bytes);
    *binary = skip_bytes(*binary, data.len);
    input->value_first = parser->value_count;
    parser->value_count += row_count;
    return input->datatype == PIL_OIP_BYTES ? read_binary_strings(parser, input, data, row_count)
                                            : read_binary_integers(parser, input, data, row_count);
}

static pil_status finish_input(struct parser *parser, struct pil_oip_input *input, struct pil_bytes *binary) {
    PIL_TRY(check_head(parser, input));
    uint64_t rows = input->dimensions[0];
    if (input == parser->buffers->inputs) {
        if (rows > parser->buffers->value_max) {
            return pil_fail(parser->error, PIL_STATUS_TOO_LARGE, "%s has %" PRIu64 " rows; at most %u are possible",
                            place_of(parser, input).text, rows, parser->buffers->value_max);
        }
        parser->request.row_count = (uint32_t)rows;
    } else if (rows != parser->request.row_count) {
        return pil_fail(parser->error, PIL_STATUS_INVALID, "%s has %" PRIu64 " rows; the input before it has %u",
                        place_of(parser, input).text, rows, parser->request.row_count);
    }
    if (!input->has_data) {
        return read_binary(parser, input, binary, (uint32_t)rows);
    }
    if (input->value_count != rows) {
        return pil_fail(parser->error, PIL_STATUS_INVALID, "%s: data has %u elements; its shape says %" PRIu64,
                        place_of(parser, input).text, input->value_count, rows);
    }
    PIL_TRY(check_elements(parser, input));
    return input->is_base64 ? decode_base64(parser, input) : PIL_STATUS_OK;
}

static pil_status finish(struct parser *parser, struct pil_bytes binary) {
    if (!parser->has_inputs) {
        return pil_fail(parser->error, PIL_STATUS_INVALID, "the request has no inputs");
    }
    parser->request.row_count = 1; /* of a model without inputs */
    for (uint32_t i = 0; i < parser->input_count; i++) {
        PIL_TRY(finish_input(parser, &parser->buffers->inputs[i], &binary));
    }
    if (binary.len > 0) {
        return pil_fail(parser->error, PIL_STATUS_INVALID,
                        "%zu bytes of binary data are left behind those of the inputs", binary.len);
    }
    for (uint32_t i = 0; i < parser->output_count; i++) {
        struct pil_oip_output *output = &parser->buffers->outputs[i];
        output->is_binary = output->has_binary ? output->is_binary : parser->request.has_binary_output;
    }
    return PIL_STATUS_OK;
}

pil_status pil_oip_parse(struct pil_bytes json, struct pil_bytes binary, const struct pil_oip_buffers *buffers,
                         struct pil_oip_request *ret_request, struct pil_error *ret_error) {
    struct parser parser = {.buffers = buffers, .error = ret_error, .request = {.datatype = PIL_OIP_FP32}};
    pil_json_init(&parser.json, json, buffers->scratch, buffers->scratch_bytes);
    parser.json.rest = buffers->rest;
    pil_status status = read_members(&parser, "the request", read_request_member, &parser.request);
    if (status == PIL_STATUS_OK) {
        status = pil_json_finish(&parser.json);
    }
    if (parser.json.error != NULL) {
        return pil_fail(ret_error, status, "the JSON of the request: %s, at byte %zu", parser.json.error,
                        (size_t)(parser.json.at - parser.json.begin));
    }
    PIL_TRY(status);
    PIL_TRY(finish(&parser, binary));
    parser.request.inputs = buffers->inputs;
    parser.request.input_count = parser.input_count;
    parser.request.outputs = buffers->outputs;
    parser.request.output_count = parser.output_count;
    parser.request.has_outputs = parser.output_count > 0;
    *ret_request = parser.request;
    return PIL_STATUS_OK;
}
