/* SPDX-License-Identifier: Apache-2.0
 * Open Inference Protocol v2 over HTTP, with the binary tensor data extension: paths and requests into arrays. Join
 * keys are the only inputs, so a request's tensors become key parts. Pure: no input or output, no allocation. Answers
 * are in oip_reply.h. Sources: the protocol's inference_rest.md; Triton's extension_binary_data.md. Specified for users
 * in docs/open-inference-protocol.md. */
#pragma once

#include "base/bounds.h"
#include "base/json.h"
#include "base/status.h"
#include "schema/view.h"

/* clang-format off */
/* name bytes of an element; 0: u32 length, then that many bytes */
#define PIL_OIP_DATATYPE_TABLE(X) \
    X(BOOL,   1) \
    X(UINT8,  1) \
    X(UINT16, 2) \
    X(UINT32, 4) \
    X(UINT64, 8) \
    X(INT8,   1) \
    X(INT16,  2) \
    X(INT32,  4) \
    X(INT64,  8) \
    X(FP16,   2) \
    X(BF16,   2) \
    X(FP32,   4) \
    X(FP64,   8) \
    X(BYTES,  0)

typedef enum pil_oip_datatype {
#define X(name, bytes) PIL_OIP_##name,
    PIL_OIP_DATATYPE_TABLE(X)
#undef X
    PIL_OIP_DATATYPE_COUNT
} pil_oip_datatype;
/* clang-format on */

/* "INT64" */
const char *pil_oip_datatype_text(pil_oip_datatype datatype);
/* The datatype of a join key in metadata; requests may use any integer type or BYTES that the key's schema accepts. */
pil_oip_datatype pil_oip_key_datatype(pil_scalar scalar);

/* ---- Paths. */

typedef enum pil_oip_route_kind {
    PIL_OIP_ROUTE_UNKNOWN,
    PIL_OIP_ROUTE_SERVER,      /* GET v2 */
    PIL_OIP_ROUTE_LIVE,        /* GET v2/health/live */
    PIL_OIP_ROUTE_READY,       /* GET v2/health/ready */
    PIL_OIP_ROUTE_INDEX,       /* POST v2/repository/index */
    PIL_OIP_ROUTE_MODEL,       /* GET v2/models/M[/versions/V] */
    PIL_OIP_ROUTE_MODEL_READY, /* GET …/ready */
    PIL_OIP_ROUTE_INFER,       /* POST …/infer */
} pil_oip_route_kind;

enum { PIL_OIP_MODEL_BYTES_MAX = 2 * PIL_NAME_BYTES_MAX + 1 };

struct pil_oip_route {
    pil_oip_route_kind kind;
    struct pil_bytes version;                   /* still percent-encoded; empty: none */
    size_t model_len;                           /* longer names are cut to one byte more than any model's name has, so
                                                 * they match no model */
    uint8_t model[PIL_OIP_MODEL_BYTES_MAX + 1]; /* percent-decoded: "service" or "project/service" */
};
void pil_oip_route_parse(struct pil_bytes path, struct pil_oip_route *ret_route);

/* ---- Requests. */

struct pil_oip_input {
    struct pil_bytes name;
    pil_oip_datatype datatype; /* an integer type or BYTES */
    uint32_t value_first;      /* in buffers.values, one value for each row */
    /* Private. */
    bool has_name, has_datatype, has_shape, has_data;
    uint32_t value_count, dimension_count;
    uint64_t dimensions[2];
    int64_t binary_bytes; /* -1: not binary */
    bool is_base64;       /* parameters.content_type: the strings of the data are base64, as MLServer has it */
};
struct pil_oip_output {
    struct pil_bytes name;
    bool is_binary;
    /* Private. */
    bool has_name, has_binary;
};

/* The caller's arrays; after parsing, the request points into them. */
struct pil_oip_buffers {
    struct pil_oip_input *inputs;
    struct pil_oip_output *outputs;
    struct pil_key_part *values;
    uint8_t *scratch; /* the length of the JSON is always enough */
    uint32_t input_max, output_max;
    uint32_t value_max; /* of all inputs together */
    size_t scratch_bytes;
    struct pil_json_rest rest; /* from reading the JSON */
};

struct pil_oip_request {
    struct pil_bytes id; /* empty: none */
    const struct pil_oip_input *inputs;
    uint32_t input_count;
    const struct pil_oip_output *outputs; /* the requested outputs */
    uint32_t output_count;
    bool has_outputs;          /* "outputs" was present and not empty; else all outputs are wanted */
    bool has_binary_output;    /* binary_data_output: the default of is_binary */
    uint32_t row_count;        /* of each input */
    pil_oip_datatype datatype; /* parameters.datatype: FP32, the default, or FP64 */
    bool use_defaults;         /* parameters.use_defaults */
    int64_t max_age_us;        /* parameters.max_age_us; 0: none */
};

/* Reads the JSON and the binary tensors after it. INVALID or TOO_LARGE (exceeds the buffers) with a message that says
 * what is wrong and where. Unknown members and parameters are skipped; of equal members the last one counts. */
pil_status pil_oip_parse(struct pil_bytes json, struct pil_bytes binary, const struct pil_oip_buffers *buffers,
                         struct pil_oip_request *ret_request, struct pil_error *ret_error) PIL_CHECKED;
