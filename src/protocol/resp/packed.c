/* SPDX-License-Identifier: Apache-2.0
 * GET, MGET and the commands about parts of strings: a row of a view of fixed-width features as one string of bytes. */
#include "protocol/resp/handlers.h"

#include "schema/view.h"
#include "snapshot/reader.h"

/* Adds the lookups of the keys before argument `end`. */
static void add_keys(struct pil_turn *turn, struct pil_redis_call *call, uint32_t end) {
    for (uint32_t i = 1; i < end && call->error == NULL; i++) {
        struct pil_lookup *lookup = pil_redis_add_key(turn, call, call->args[i]);
        if (lookup == NULL) {
            return;
        }
        const struct pil_view *schema = lookup->chain->view;
        if (schema->packing.first_reference >= 0) {
            call->error = pil_batch_text(
                turn->batch, "ERR view %s has feature %s of variable width; packed rows need fixed widths: use HMGET",
                schema->name, schema->features[schema->packing.first_reference].name);
        }
        lookup->line_mask = pil_redis_whole_row(schema);
    }
}

PIL_PREPARE(pil_redis_prepare_packed) {
    add_keys(turn, call, call->arg_count);
}

PIL_PREPARE(pil_redis_prepare_part) {
    add_keys(turn, call, 2);
}

/* Packed rows: null floats are quiet NaNs, other nulls zeros; the bitmap behind the values marks nulls. Packed rows
 * cannot hold texts. */
static const uint8_t null_values[][8] = {
    [PIL_SCALAR_BOOL] = {0},
    [PIL_SCALAR_INT32] = {0},
    [PIL_SCALAR_INT64] = {0},
    [PIL_SCALAR_FLOAT32] = {0, 0, 0xc0, 0x7f},
    [PIL_SCALAR_FLOAT64] = {0, 0, 0, 0, 0, 0, 0xf8, 0x7f},
    [PIL_SCALAR_STRING] = {0},
    [PIL_SCALAR_BYTES] = {0},
    [PIL_SCALAR_UNIX_TIMESTAMP] = {0},
    [PIL_SCALAR_FLOAT16] = {0, 0x7e},
    [PIL_SCALAR_BFLOAT16] = {0xc0, 0x7f},
    [PIL_SCALAR_INT8] = {0},
};
PIL_STATIC_ASSERT(sizeof null_values / sizeof null_values[0] == PIL_SCALAR_COUNT);

static void put_null_value(struct pil_sink *sink, const struct pil_feature *feature) {
    uint32_t count = feature->type.shape == PIL_SHAPE_VECTOR ? feature->type.dimension : 1;
    uint32_t width = pil_scalar_bytes(feature->type.scalar);
    PIL_ASSERT(width <= sizeof null_values[0]);
    for (uint32_t i = 0; i < count; i++) {
        pil_sink_write(sink, null_values[feature->type.scalar], width);
    }
}

static void put_fields(struct pil_sink *sink, const struct pil_view *schema, const uint8_t *row) {
    for (uint32_t i = 0; i < schema->feature_count; i++) {
        const struct pil_feature *feature = &schema->features[i];
        if (pil_row_is_null(schema, row, i)) {
            put_null_value(sink, feature);
        } else {
            pil_sink_write(sink, row + feature->offset, pil_type_row_bytes(feature->type));
        }
    }
}

/* Writes the bytes of a packed row and counts its values. */
static void put_bytes(struct pil_turn *turn, struct pil_sink *sink, const struct pil_lookup *lookup) {
    const struct pil_view *schema = lookup->chain->view;
    const struct pil_row_packing *packing = &schema->packing;
    uint32_t nulls = schema->feature_count - pil_redis_count_present(lookup);
    pil_redis_count_value(turn, lookup, PIL_VALUE_NULL_VALUE, nulls);
    pil_redis_count_value(turn, lookup, lookup->status, schema->feature_count - nulls);
    if (nulls > 0 || packing->run_count == 0) {
        put_fields(sink, schema, lookup->row.fields);
    }
    for (uint32_t i = 0; nulls == 0 && i < packing->run_count; i++) {
        pil_sink_write(sink, lookup->row.fields + packing->runs[i].offset, packing->runs[i].bytes);
    }
    pil_sink_write(sink, lookup->row.fields + schema->layout.null_offset, schema->layout.null_bytes);
}

static void count_missing(struct pil_turn *turn, const struct pil_lookup *lookup) {
    pil_redis_count_value(turn, lookup, PIL_VALUE_NOT_FOUND, lookup->chain->view->feature_count);
}

static void put_packed(struct pil_turn *turn, const struct pil_redis_call *call, struct pil_sink *sink,
                       const struct pil_lookup *lookup) {
    if (!pil_redis_is_there(lookup)) {
        count_missing(turn, lookup);
        pil_resp_put_null(sink, call->connection->resp);
        return;
    }
    pil_resp_put_bulk_head(sink, lookup->chain->view->packing.bytes);
    put_bytes(turn, sink, lookup);
    pil_sink_write(sink, "\r\n", 2);
}

PIL_REPLY(pil_redis_reply_get) {
    put_packed(turn, call, sink, pil_redis_lookup_of(turn, call));
}

PIL_REPLY(pil_redis_reply_mget) {
    pil_resp_put_array(sink, call->request->lookup_count);
    for (uint32_t i = 0; i < call->request->lookup_count; i++) {
        put_packed(turn, call, sink, pil_redis_lookup_of(turn, call) + i);
    }
}

PIL_REPLY(pil_redis_reply_strlen) {
    const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
    pil_resp_put_integer(sink, pil_redis_is_there(lookup) ? lookup->chain->view->packing.bytes : 0);
}

/* A sink that passes on the bytes from `skip` on, `take` of them. */
struct part_sink {
    struct pil_sink sink; /* first: encoders see this */
    struct pil_sink *to;
    uint64_t skip, take;
    uint8_t run[PIL_SINK_RESERVE_MAX];
};

static bool pass_part(struct pil_sink *base) {
    struct part_sink *part = (struct part_sink *)(void *)base;
    uint64_t bytes = (uint64_t)(base->at - part->run);
    uint64_t skipped = bytes < part->skip ? bytes : part->skip;
    uint64_t taken = bytes - skipped < part->take ? bytes - skipped : part->take;
    pil_sink_write(part->to, part->run + skipped, taken);
    part->skip -= skipped;
    part->take -= taken;
    base->at = part->run;
    base->end = part->run + sizeof part->run;
    return true;
}

/* Turns start and end of GETRANGE, inclusive and negative from the end, into a range within `bytes`; its length is 0
 * when nothing is left. */
static uint64_t clip(int64_t bytes, int64_t start, int64_t end, uint64_t *ret_skip) {
    start = start < 0 ? start + bytes : start;
    end = end < 0 ? end + bytes : end;
    start = start < 0 ? 0 : start;
    end = end < 0 ? 0 : end < bytes ? end : bytes - 1;
    *ret_skip = (uint64_t)start;
    return start > end || bytes == 0 ? 0 : (uint64_t)(end - start + 1);
}

PIL_REPLY(pil_redis_reply_getrange) {
    const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
    int64_t start = 0, end = 0;
    if (!pil_number_parse_i64(call->args[2], &start) || !pil_number_parse_i64(call->args[3], &end)) {
        pil_resp_put_error(sink, "ERR value is not an integer or out of range");
        return;
    }
    if (!pil_redis_is_there(lookup)) {
        count_missing(turn, lookup);
        pil_resp_put_bulk_text(sink, "");
        return;
    }
    struct part_sink part = {.sink = {.grow = pass_part}, .to = sink};
    part.sink.at = part.run;
    part.sink.end = part.run + sizeof part.run;
    int64_t bytes = lookup->chain->view->packing.bytes;
    part.take = start < 0 && end < 0 && start > end ? 0 : clip(bytes, start, end, &part.skip);
    pil_resp_put_bulk_head(sink, part.take);
    put_bytes(turn, &part.sink, lookup);
    pass_part(&part.sink);
    pil_sink_write(sink, "\r\n", 2);
}
