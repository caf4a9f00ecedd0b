/* SPDX-License-Identifier: Apache-2.0
 * Commands about whether a row is there, until when, and how it is stored. */
#include "protocol/resp/handlers.h"
#include "protocol/resp/subcommand.h"

#include "cache/freshness.h"
#include "schema/view.h"
#include "snapshot/reader.h"

PIL_PREPARE(pil_redis_prepare_presence) {
    for (uint32_t i = 1; i < call->arg_count; i++) {
        if (pil_redis_add_key(turn, call, call->args[i]) == NULL) {
            return;
        }
    }
}

PIL_REPLY(pil_redis_reply_exists) {
    int64_t count = 0;
    for (uint32_t i = 0; i < call->request->lookup_count; i++) {
        count += pil_redis_is_there(pil_redis_lookup_of(turn, call) + i);
    }
    pil_resp_put_integer(sink, count);
}

PIL_REPLY(pil_redis_reply_type) {
    pil_resp_put_simple(sink, pil_redis_is_there(pil_redis_lookup_of(turn, call)) ? "hash" : "none");
}

/* Remaining time to live: -2 when the row is missing, -1 when it never expires, else at least 0. */
static int64_t left_us(const struct pil_turn *turn, const struct pil_redis_call *call) {
    const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
    const struct pil_view *schema = lookup->chain->view;
    return pil_redis_is_there(lookup)
               ? pil_freshness_left_us(schema, pil_row_event_ts_us(schema, lookup->row.fields), turn->wall_us)
               : -2;
}

PIL_REPLY(pil_redis_reply_ttl) {
    int64_t left = left_us(turn, call);
    pil_resp_put_integer(sink, left < 0 ? left : (left + 500000) / 1000000);
}

PIL_REPLY(pil_redis_reply_pttl) {
    int64_t left = left_us(turn, call);
    pil_resp_put_integer(sink, left < 0 ? left : left / 1000);
}

/* The time at which the row passes its view's ttl: -2 when the row is missing, -1 when it never does. */
static int64_t end_us(const struct pil_turn *turn, const struct pil_redis_call *call) {
    const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
    const struct pil_view *schema = lookup->chain->view;
    int64_t end = 0;
    if (!pil_redis_is_there(lookup)) {
        return -2;
    }
    if (schema->ttl_us == 0) {
        return -1;
    }
    bool is_beyond = __builtin_add_overflow(pil_row_event_ts_us(schema, lookup->row.fields), schema->ttl_us, &end);
    return is_beyond ? INT64_MAX : end < 0 ? 0 : end;
}

PIL_REPLY(pil_redis_reply_expiretime) {
    int64_t end = end_us(turn, call);
    pil_resp_put_integer(sink, end < 0 ? end : end / 1000000 + (end % 1000000 >= 500000));
}

PIL_REPLY(pil_redis_reply_pexpiretime) {
    int64_t end = end_us(turn, call);
    pil_resp_put_integer(sink, end < 0 ? end : end / 1000);
}

/* ---- OBJECT and MEMORY: subcommands about one key, their second argument. */

PIL_PREPARE(pil_redis_prepare_object) {
    bool is_about_key = pil_redis_is(call, 1, "encoding") || pil_redis_is(call, 1, "freq") ||
                        pil_redis_is(call, 1, "idletime") || pil_redis_is(call, 1, "refcount");
    if (is_about_key && call->arg_count == 3) {
        (void)pil_redis_add_key(turn, call, call->args[2]);
    }
}

static PIL_REPLY(reply_encoding) {
    if (pil_redis_is_there(pil_redis_lookup_of(turn, call))) {
        pil_resp_put_bulk_text(sink, "listpack"); /* of Redis's encodings of a hash the one in a single piece */
    } else {
        pil_resp_put_null(sink, call->connection->resp);
    }
}

static PIL_REPLY(reply_refcount) {
    if (pil_redis_is_there(pil_redis_lookup_of(turn, call))) {
        pil_resp_put_integer(sink, 1);
    } else {
        pil_resp_put_null(sink, call->connection->resp);
    }
}

static PIL_REPLY(reply_use) {
    if (pil_redis_is_there(pil_redis_lookup_of(turn, call))) {
        pil_resp_put_error(sink, "ERR the use of rows is not tracked, because none is ever evicted");
    } else {
        pil_resp_put_null(sink, call->connection->resp);
    }
}

PIL_REPLY(pil_redis_reply_object) {
    static const struct pil_subcommand subcommands[] = {
        {"encoding", 3, "ENCODING <key>", "Return listpack: a row is one piece of memory.", reply_encoding},
        {"freq", 3, "FREQ <key>", "Refused: nothing is evicted, so use is not tracked.", reply_use},
        {"idletime", 3, "IDLETIME <key>", "Refused likewise.", reply_use},
        {"refcount", 3, "REFCOUNT <key>", "Return 1.", reply_refcount},
    };
    pil_redis_reply_subcommand(turn, call, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}

PIL_PREPARE(pil_redis_prepare_memory) {
    bool is_about_key = pil_redis_is(call, 1, "usage") && call->arg_count > 2;
    struct pil_lookup *lookup = is_about_key ? pil_redis_add_key(turn, call, call->args[2]) : NULL;
    if (lookup != NULL) {
        lookup->line_mask = pil_redis_whole_row(lookup->chain->view);
    }
}

/* The bytes of a row: its stride, and its values in the heap. */
static uint64_t row_bytes(const struct pil_lookup *lookup) {
    const struct pil_view *schema = lookup->chain->view;
    uint64_t bytes = schema->layout.stride;
    for (uint32_t i = 0; i < schema->feature_count; i++) {
        const struct pil_feature *feature = &schema->features[i];
        if (pil_type_is_reference(feature->type) && !pil_row_is_null(schema, lookup->row.fields, i)) {
            size_t len = pil_row_value(&lookup->row, feature).len;
            bytes += len > PIL_REF_INLINE_BYTES ? len : 0;
        }
    }
    return bytes;
}

static PIL_REPLY(reply_usage) {
    int64_t samples = 0;
    bool is_plain = call->arg_count == 3;
    if (!is_plain && (call->arg_count != 5 || !pil_redis_is(call, 3, "samples"))) {
        pil_resp_put_error(sink, "ERR syntax error");
    } else if (!is_plain && !pil_number_parse_i64(call->args[4], &samples)) {
        pil_resp_put_error(sink, "ERR value is not an integer or out of range");
    } else if (samples < 0) {
        pil_resp_put_error(sink, "ERR syntax error");
    } else if (pil_redis_is_there(pil_redis_lookup_of(turn, call))) {
        turn->work += pil_redis_lookup_of(turn, call)->chain->view->feature_count;
        pil_resp_put_integer(sink, (int64_t)row_bytes(pil_redis_lookup_of(turn, call)));
    } else {
        pil_resp_put_null(sink, call->connection->resp);
    }
}

PIL_REPLY(pil_redis_reply_memory) {
    static const struct pil_subcommand subcommands[] = {
        {"usage", -3, "USAGE <key> [SAMPLES <count>]", "Return the bytes of a row; all of it is counted.", reply_usage},
    };
    pil_redis_reply_subcommand(turn, call, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}
