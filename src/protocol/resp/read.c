/* SPDX-License-Identifier: Apache-2.0
 * RESP commands that read rows. Each entity of a view is a hash: a null feature is a missing field, as in a Redis that
 * was loaded with the same data. */
#include "protocol/resp/handlers.h"

#include "cache/freshness.h"
#include "protocol/resp/glob.h"
#include "schema/view.h"
#include "snapshot/reader.h"
#include "wire/feast_redis.h"
#include "wire/value.h"

const struct pil_cache_view *pil_redis_find_view(struct pil_turn *turn, struct pil_redis_call *call,
                                                 struct pil_bytes key, struct pil_bytes *ret_rest) {
    const uint8_t *colon = memchr(key.data, ':', key.len);
    struct pil_bytes name = colon != NULL ? pil_bytes_from(key.data, (size_t)(colon - key.data)) : key;
    const struct pil_cache_view *view = NULL;
    pil_status status = colon != NULL ? pil_scope_view(&turn->scope, name, &view) : PIL_STATUS_NOT_FOUND;
    if (status == PIL_STATUS_OK) {
        *ret_rest = pil_bytes_from(colon + 1, key.len - name.len - 1);
        return view;
    }
    if (pil_feast_redis_is_key(key)) {
        call->error = "ERR a key in the layout of Feast's Redis store is read by HMGET, with fields and _ts:VIEW; "
                      "other commands have keys view:key";
        return NULL;
    }
    const char *text = (const char *)name.data;
    int len = pil_redis_shown(name);
    call->error =
        status == PIL_STATUS_DENIED ? pil_batch_text(turn->batch, "NOPERM you may not read view '%.*s'", len, text)
        : status == PIL_STATUS_INVALID
            ? pil_batch_text(turn->batch, "ERR view '%.*s' is ambiguous; keys are project/view:key", len, text)
            : pil_batch_text(turn->batch, "ERR no view '%.*s' is served here; keys are view:key", len, text);
    return NULL;
}

/* The part of a key text that could not be read; false: the text has no such part. */
static bool find_part(struct pil_turn *turn, const struct pil_view *schema, struct pil_bytes text, uint32_t entity,
                      struct pil_key_part *ret_part) {
    *ret_part = (struct pil_key_part){.kind = PIL_KEY_PART_TEXT, .text = text};
    if (schema->entity_count <= 1 || entity >= schema->entity_count) {
        return entity < schema->entity_count;
    }
    bool is_last = false;
    for (uint32_t i = 0; i <= entity; i++) {
        uint8_t *buffer = pil_arena_alloc(&turn->batch->arena, text.len, 1);
        if (is_last || buffer == NULL ||
            pil_view_key_text_next(&text, buffer, text.len, &ret_part->text, &is_last) != PIL_STATUS_OK) {
            return false;
        }
    }
    return true;
}

static void set_key_error(struct pil_turn *turn, struct pil_redis_call *call, const struct pil_view *schema,
                          struct pil_bytes text, uint32_t entity) {
    struct pil_key_part part;
    if (find_part(turn, schema, text, entity, &part)) {
        const struct pil_entity *of = &schema->entities[entity];
        const struct pil_key_place place = {.join_key = of->join_key, .type = of->type, .row = PIL_KEY_PART_ONE_ROW};
        char problem[PIL_KEY_PROBLEM_BYTES];
        call->error = pil_batch_text(turn->batch, "ERR a key of view %s/%s cannot be read: %s", schema->project,
                                     schema->name, pil_key_part_explain(&part, place, problem));
    } else if (schema->entity_count > 0) {
        call->error = pil_batch_text(turn->batch, "ERR a key of view %s/%s has %u parts, joined by |", schema->project,
                                     schema->name, schema->entity_count);
    } else {
        call->error =
            pil_batch_text(turn->batch, "ERR view %s/%s has one row, without a key; its key is %s:", schema->project,
                           schema->name, schema->name);
    }
}

/* Encodes a key into the arena, or points into the text where the text is the canonical form. */
static pil_status encode_key(struct pil_turn *turn, const struct pil_view *schema, struct pil_bytes text,
                             struct pil_bytes *ret_key, uint32_t *ret_entity) {
    if (schema->entity_count == 1 && pil_scalar_is_text(schema->entities[0].type) && text.len <= PIL_KEY_BYTES_MAX) {
        *ret_key = text;
        return PIL_STATUS_OK;
    }
    size_t room = schema->layout.key_is_fixed ? schema->layout.key_bytes : text.len + 12 * (size_t)schema->entity_count;
    uint8_t *buffer = pil_arena_alloc(&turn->batch->arena, room, 1);
    size_t len = 0;
    if (buffer == NULL) {
        return PIL_STATUS_TOO_LARGE;
    }
    PIL_TRY(pil_view_key_encode_text(schema, text, buffer, room, &len, ret_entity));
    *ret_key = pil_bytes_from(buffer, len);
    return PIL_STATUS_OK;
}

const struct pil_serving *pil_redis_serving(struct pil_turn *turn, struct pil_redis_call *call,
                                            const struct pil_cache_view *view) {
    const struct pil_serving *serving = pil_scope_serving(&turn->scope, view);
    if (serving == NULL) {
        call->error = pil_batch_text(turn->batch, "%s view %s/%s has no release yet",
                                     pil_redis_is_loading(turn) ? "LOADING" : "NOTREADY", view->project, view->name);
    }
    return serving;
}

void pil_redis_refuse_length(struct pil_turn *turn, struct pil_redis_call *call, const struct pil_cache_view *view) {
    call->error = pil_batch_text(turn->batch, "ERR a key of view %s/%s is longer than %d bytes", view->project,
                                 view->name, PIL_KEY_BYTES_MAX);
}

struct pil_lookup *pil_redis_add_key(struct pil_turn *turn, struct pil_redis_call *call, struct pil_bytes text) {
    struct pil_bytes rest, key;
    const struct pil_cache_view *view = pil_redis_find_view(turn, call, text, &rest);
    if (view == NULL) {
        return NULL;
    }
    const struct pil_serving *serving = pil_redis_serving(turn, call, view);
    if (serving == NULL) {
        return NULL;
    }
    uint32_t entity = UINT32_MAX;
    pil_status status = encode_key(turn, serving->chain.view, rest, &key, &entity);
    if (status == PIL_STATUS_TOO_LARGE) {
        pil_redis_refuse_length(turn, call, view);
        return NULL;
    }
    if (status != PIL_STATUS_OK) {
        set_key_error(turn, call, serving->chain.view, rest, entity);
        return NULL;
    }
    struct pil_lookup *lookup = pil_batch_lookup(turn, call->request);
    if (lookup != NULL) {
        *lookup = pil_lookup_make(&serving->chain, key, view->index, 1);
        call->request->view = view;
    }
    return lookup;
}

bool pil_redis_is_loading(struct pil_turn *turn) {
    struct pil_scope *scope = &turn->scope;
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        if (pil_scope_live(scope, pil_cache_view_at(scope->cache, i)) != NULL) {
            return false;
        }
    }
    return true;
}

PIL_PREPARE(pil_redis_prepare_fields) {
    uint32_t count = call->arg_count - 2;
    struct pil_lookup *lookup = pil_redis_add_key(turn, call, call->args[1]);
    if (lookup == NULL) {
        return;
    }
    if (pil_selection_begin(&turn->batch->arena, 1, count, &call->selection) != PIL_STATUS_OK) {
        call->request->refusal.reason = PIL_REFUSAL_ROOM;
        return;
    }
    pil_selection_add_fields(&turn->scope, &call->selection, call->request->view, &call->args[2], count);
    lookup->line_mask = call->selection.views[0].line_mask;
    call->request->selection = &call->selection;
    call->field_count = count;
}

PIL_PREPARE(pil_redis_prepare_hmget) {
    call->is_feast_layout = pil_feast_redis_is_key(call->args[1]);
    if (call->is_feast_layout) {
        pil_redis_prepare_feast_layout(turn, call);
    } else {
        pil_redis_prepare_fields(turn, call);
    }
}

uint64_t pil_redis_whole_row(const struct pil_view *schema) {
    uint64_t lines = pil_align_up(schema->layout.stride, 64) / 64;
    return lines >= 64 ? UINT64_MAX : (1ull << lines) - 1;
}

PIL_PREPARE(pil_redis_prepare_row) {
    struct pil_lookup *lookup = pil_redis_add_key(turn, call, call->args[1]);
    if (lookup != NULL) {
        lookup->line_mask = pil_redis_whole_row(lookup->chain->view);
        call->field_count = lookup->chain->view->feature_count;
    }
}

/* Writes a field as a bulk string, or nil when it is missing or null. */
static void put_field(struct pil_turn *turn, const struct pil_redis_call *call, struct pil_sink *sink, uint32_t index) {
    const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
    const struct pil_view *schema = lookup->chain->view;
    if (!pil_redis_is_there(lookup)) {
        pil_redis_count_value(turn, lookup, PIL_VALUE_NOT_FOUND, 1);
        pil_resp_put_null(sink, call->connection->resp);
    } else if (index >= schema->feature_count || pil_row_is_null(schema, lookup->row.fields, index)) {
        pil_redis_count_value(turn, lookup, PIL_VALUE_NULL_VALUE, 1);
        pil_resp_put_null(sink, call->connection->resp);
    } else {
        const struct pil_feature *feature = &schema->features[index];
        pil_redis_count_value(turn, lookup, lookup->status, 1);
        pil_value_put_resp_bulk(sink, feature->type, pil_row_value(&lookup->row, feature));
    }
}

PIL_REPLY(pil_redis_reply_hget) {
    put_field(turn, call, sink, call->selection.features[0].feature);
}

PIL_REPLY(pil_redis_reply_hmget) {
    if (call->is_feast_layout) {
        pil_redis_reply_feast_layout(turn, call, sink);
        return;
    }
    pil_resp_put_array(sink, call->field_count);
    for (uint32_t i = 0; i < call->field_count; i++) {
        put_field(turn, call, sink, call->selection.features[i].feature);
    }
}

uint32_t pil_redis_count_present(const struct pil_lookup *lookup) {
    const struct pil_view *schema = lookup->chain->view;
    uint32_t nulls = 0;
    for (uint32_t i = 0; i < schema->layout.null_bytes; i++) {
        uint8_t bits = lookup->row.fields[schema->layout.null_offset + i];
        nulls += bits == 0 ? 0 : (uint32_t)__builtin_popcount(bits); /* often 0, and popcount may be a call */
    }
    return schema->feature_count - nulls;
}

/* Writes the names, the values, or both, of the features that are not null. */
static void put_row(struct pil_turn *turn, const struct pil_redis_call *call, struct pil_sink *sink, bool names,
                    bool values) {
    const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
    const struct pil_view *schema = lookup->chain->view;
    bool there = pil_redis_is_there(lookup);
    uint32_t count = there ? pil_redis_count_present(lookup) : 0;
    if (names && values) {
        pil_resp_put_map(sink, call->connection->resp, count);
    } else {
        pil_resp_put_array(sink, count);
    }
    if (!there) {
        pil_redis_count_value(turn, lookup, PIL_VALUE_NOT_FOUND, schema->feature_count);
        return;
    }
    pil_redis_count_value(turn, lookup, lookup->status, count);
    pil_redis_count_value(turn, lookup, PIL_VALUE_NULL_VALUE, schema->feature_count - count);
    for (uint32_t i = 0; i < schema->feature_count; i++) {
        const struct pil_feature *feature = &schema->features[i];
        if (pil_row_is_null(schema, lookup->row.fields, i)) {
            continue;
        }
        if (names) {
            pil_resp_put_bulk_text(sink, feature->name);
        }
        if (values) {
            pil_value_put_resp_bulk(sink, feature->type, pil_row_value(&lookup->row, feature));
        }
    }
}

PIL_REPLY(pil_redis_reply_hgetall) {
    put_row(turn, call, sink, true, true);
}

PIL_REPLY(pil_redis_reply_hkeys) {
    put_row(turn, call, sink, true, false);
}

PIL_REPLY(pil_redis_reply_hvals) {
    put_row(turn, call, sink, false, true);
}

PIL_REPLY(pil_redis_reply_hlen) {
    const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
    pil_resp_put_integer(sink, pil_redis_is_there(lookup) ? pil_redis_count_present(lookup) : 0);
}

static bool has_field(const struct pil_turn *turn, const struct pil_redis_call *call) {
    const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
    uint32_t index = call->selection.features[0].feature;
    return pil_redis_is_there(lookup) && index < lookup->chain->view->feature_count &&
           !pil_row_is_null(lookup->chain->view, lookup->row.fields, index);
}

PIL_REPLY(pil_redis_reply_hexists) {
    pil_resp_put_integer(sink, has_field(turn, call));
}

/* A sink that only counts the bytes written. */
struct counting_sink {
    struct pil_sink sink;
    uint64_t passed;
    uint8_t run[PIL_SINK_RESERVE_MAX];
};

static bool count_run(struct pil_sink *base) {
    struct counting_sink *sink = (struct counting_sink *)(void *)base;
    sink->passed += (uint64_t)(base->at - sink->run);
    base->at = sink->run;
    base->end = sink->run + sizeof sink->run;
    return true;
}

PIL_REPLY(pil_redis_reply_hstrlen) {
    uint64_t len = 0;
    if (has_field(turn, call)) {
        const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
        const struct pil_feature *feature = &lookup->chain->view->features[call->selection.features[0].feature];
        struct counting_sink counter = {.sink = {.grow = count_run}};
        counter.sink.at = counter.run;
        counter.sink.end = counter.run + sizeof counter.run;
        pil_value_put_resp(&counter.sink, feature->type, pil_row_value(&lookup->row, feature));
        len = counter.passed + (uint64_t)(counter.sink.at - counter.run);
    }
    pil_resp_put_integer(sink, (int64_t)len);
}

/* Reads cursor, MATCH and COUNT of HSCAN. Returns NULL, or the error. */
static const char *parse_hscan(const struct pil_redis_call *call, int64_t *ret_cursor, struct pil_bytes *ret_pattern) {
    int64_t ignored = 0;
    *ret_pattern = pil_bytes_from_text("*");
    if (!pil_number_parse_i64(call->args[2], ret_cursor) || *ret_cursor < 0) {
        return "ERR invalid cursor";
    }
    for (uint32_t i = 3; i < call->arg_count; i += 2) {
        bool has_value = i + 1 < call->arg_count;
        if (has_value && pil_redis_is(call, i, "match")) {
            *ret_pattern = call->args[i + 1];
        } else if (!has_value || !pil_redis_is(call, i, "count")) {
            return "ERR syntax error";
        } else if (!pil_number_parse_i64(call->args[i + 1], &ignored)) {
            return "ERR value is not an integer or out of range";
        } else if (ignored < 1) {
            return "ERR syntax error";
        }
    }
    return NULL;
}

/* Writes the features of the row that are not null and match. `matches`: room for one byte per feature. */
static void put_matching(struct pil_turn *turn, const struct pil_lookup *lookup, struct pil_glob *glob, bool *matches,
                         struct pil_sink *sink) {
    const struct pil_view *schema = lookup->chain->view;
    uint64_t count = 0;
    for (uint32_t i = 0; i < schema->feature_count; i++) {
        matches[i] = !pil_row_is_null(schema, lookup->row.fields, i) &&
                     pil_glob_match(glob, pil_bytes_from_text(schema->features[i].name));
        count += matches[i];
    }
    turn->work += schema->feature_count + glob->work;
    pil_resp_put_array(sink, 2 * count);
    for (uint32_t i = 0; i < schema->feature_count; i++) {
        const struct pil_feature *feature = &schema->features[i];
        if (matches[i]) {
            pil_resp_put_bulk_text(sink, feature->name);
            pil_value_put_resp_bulk(sink, feature->type, pil_row_value(&lookup->row, feature));
        }
    }
}

PIL_REPLY(pil_redis_reply_hscan) {
    struct pil_arena *arena = &turn->batch->arena;
    size_t begin = pil_arena_mark(arena);
    const struct pil_lookup *lookup = pil_redis_lookup_of(turn, call);
    struct pil_glob glob;
    struct pil_bytes pattern;
    int64_t cursor = 0;
    const char *error = parse_hscan(call, &cursor, &pattern);
    if (error != NULL) {
        pil_resp_put_error(sink, error);
        return;
    }
    if (!pil_redis_compile(turn, pattern, false, sink, &glob)) {
        return;
    }
    bool *matches = PIL_ARENA_NEW(arena, bool, lookup->chain->view->feature_count);
    if (matches == NULL) {
        pil_resp_put_error(sink, "ERR no room for HSCAN in this turn; ask again");
    } else {
        pil_resp_put_array(sink, 2);
        pil_resp_put_bulk_text(sink, "0");
        if (cursor == 0 && pil_redis_is_there(lookup)) {
            put_matching(turn, lookup, &glob, matches, sink);
        } else {
            pil_resp_put_array(sink, 0);
        }
    }
    pil_arena_rewind(arena, begin);
}
