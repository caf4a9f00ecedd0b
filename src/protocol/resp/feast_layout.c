/* SPDX-License-Identifier: Apache-2.0
 * HMGET as Feast's SDK asks its Redis store: the key is an entity of a project, the fields are hashes of features, and
 * each field "_ts:view" names a view of which the others may be (wire/feast_redis.h). A row is asked of each view; what
 * is answered is what Feast would have written there. */
#include "protocol/resp/handlers.h"

#include "snapshot/reader.h"
#include "wire/feast_redis.h"

enum { DIGITS_BYTES_MAX = 24 }; /* by which the canonical bytes of a part may exceed its bytes in the key */

/* ---- The view that a field names. */

static void fail_view(struct pil_turn *turn, struct pil_redis_call *call, struct pil_bytes project,
                      struct pil_bytes name) {
    call->error =
        pil_batch_text(turn->batch, "ERR no view '%.*s' of project '%.*s' is served here", pil_redis_shown(name),
                       (const char *)name.data, pil_redis_shown(project), (const char *)project.data);
}

/* The view of that name in that project, and nowhere else. NULL: the error is set. */
static const struct pil_cache_view *find_in_project(struct pil_turn *turn, struct pil_redis_call *call,
                                                    struct pil_bytes project, struct pil_bytes name) {
    char text[PIL_SCOPE_NAME_BYTES];
    const struct pil_cache_view *view = NULL;
    bool is_name = project.len > 0 && memchr(name.data, '/', name.len) == NULL;
    struct pil_bytes full = pil_scope_name_in(project, name, text);
    pil_status status = is_name ? pil_scope_view(&turn->scope, full, &view) : PIL_STATUS_NOT_FOUND;
    if (status == PIL_STATUS_DENIED) {
        call->error =
            pil_batch_text(turn->batch, "NOPERM you may not read view '%.*s'", (int)full.len, (const char *)full.data);
    } else if (status != PIL_STATUS_OK) {
        fail_view(turn, call, project, name);
    }
    return view;
}

static bool ends_with(struct pil_bytes bytes, const char *text) {
    size_t len = strlen(text);
    return bytes.len >= len && memcmp(bytes.data + bytes.len - len, text, len) == 0;
}

/* The project of a key of version 2 is what is left when the join keys of one of its views are taken from it. Without
 * such a view it is the longest project that the key ends with. NULL: the error is set. */
static const struct pil_cache_view *find_by_join_keys(struct pil_turn *turn, struct pil_redis_call *call,
                                                      struct pil_bytes name) {
    struct pil_scope *scope = &turn->scope;
    struct pil_key_part parts[PIL_ENTITIES_MAX];
    struct pil_bytes key = call->args[1], project, longest = {0};
    turn->work += pil_cache_view_count(scope->cache);
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(scope->cache, i);
        if (!pil_cache_view_is_served(view) || !pil_bytes_equal_text(name, view->name) ||
            !ends_with(key, view->project)) {
            continue;
        }
        const struct pil_serving *serving = pil_scope_serving(scope, view);
        if (serving != NULL && pil_feast_redis_parts(key, serving->chain.view, parts, &project) == PIL_STATUS_OK &&
            pil_bytes_equal_text(project, view->project)) {
            return find_in_project(turn, call, project, name);
        }
        longest = strlen(view->project) > longest.len ? pil_bytes_from_text(view->project) : longest;
    }
    if (longest.len == 0) {
        call->error = pil_batch_text(turn->batch, "ERR no view '%.*s' of the project of this key is served here",
                                     pil_redis_shown(name), (const char *)name.data);
        return NULL;
    }
    return find_in_project(turn, call, longest, name);
}

static const struct pil_cache_view *find_view(struct pil_turn *turn, struct pil_redis_call *call,
                                              struct pil_bytes name) {
    struct pil_bytes project;
    pil_status status = pil_feast_redis_project(call->args[1], &project);
    if (status == PIL_STATUS_INVALID) {
        call->error = "ERR this begins as a key in the layout of Feast's Redis store, and is none";
        return NULL;
    }
    return status == PIL_STATUS_OK ? find_in_project(turn, call, project, name) : find_by_join_keys(turn, call, name);
}

/* ---- Its row. */

/* A key of version 2 cannot tell its join keys. */
static void fail_join_keys(struct pil_turn *turn, struct pil_redis_call *call, const struct pil_view *schema) {
    char has[PIL_FEAST_REDIS_NAMES_BYTES], wants[PIL_FEAST_REDIS_NAMES_BYTES];
    pil_feast_redis_key_names(call->args[1], has);
    pil_feast_redis_view_names(schema, wants);
    call->error = pil_batch_text(turn->batch, "ERR the key has %s%s; those of view %s/%s are, in this order, %s",
                                 has[0] != '\0' ? "the join keys " : "other join keys", has, schema->project,
                                 schema->name, wants);
}

/* Encodes the key of the view's row into the arena. Returns false when the error is set. */
static bool encode_key(struct pil_turn *turn, struct pil_redis_call *call, const struct pil_cache_view *view,
                       const struct pil_view *schema, struct pil_bytes *ret_key) {
    struct pil_key_part parts[PIL_ENTITIES_MAX];
    struct pil_bytes key = call->args[1], project;
    uint32_t entity = 0;
    size_t room = key.len + (size_t)schema->entity_count * DIGITS_BYTES_MAX, len = 0;
    pil_status status = pil_feast_redis_parts(key, schema, parts, &project);
    if (status == PIL_STATUS_CONFLICT) {
        fail_join_keys(turn, call, schema);
        return false;
    }
    if (status != PIL_STATUS_OK) {
        call->error = "ERR a value in this key of Feast's Redis store has not the length of its type";
        return false;
    }
    if (!pil_bytes_equal_text(project, view->project)) {
        fail_view(turn, call, project, pil_bytes_from_text(view->name));
        return false;
    }
    uint8_t *buffer = pil_arena_alloc(&turn->batch->arena, room, 1);
    status = buffer == NULL ? PIL_STATUS_TOO_LARGE
                            : pil_view_key_encode(schema, parts, schema->entity_count, buffer, room, &len, &entity);
    if (status == PIL_STATUS_TOO_LARGE) {
        pil_redis_refuse_length(turn, call, view);
        return false;
    }
    if (status != PIL_STATUS_OK) {
        const struct pil_entity *of = &schema->entities[entity];
        const struct pil_key_place place = {.join_key = of->join_key, .type = of->type, .row = PIL_KEY_PART_ONE_ROW};
        char problem[PIL_KEY_PROBLEM_BYTES];
        call->error = pil_batch_text(turn->batch, "ERR a key of view %s/%s cannot be read: %s", schema->project,
                                     schema->name, pil_key_part_explain(&parts[entity], place, problem));
        return false;
    }
    *ret_key = pil_bytes_from(buffer, len);
    return true;
}

/* Adds the view that a field names, and the lookup of its row. Returns false when the error or refusal is set. */
static bool add_view(struct pil_turn *turn, struct pil_redis_call *call, struct pil_bytes name) {
    const struct pil_cache_view *view = find_view(turn, call, name);
    const struct pil_serving *serving = view != NULL ? pil_redis_serving(turn, call, view) : NULL;
    struct pil_bytes key;
    if (serving == NULL || !encode_key(turn, call, view, serving->chain.view, &key)) {
        return false;
    }
    struct pil_lookup *lookup = pil_batch_lookup(turn, call->request);
    if (lookup == NULL) {
        return false;
    }
    *lookup = pil_lookup_make(&serving->chain, key, view->index, 1);
    (void)pil_selection_add_view(&turn->scope, &call->selection, view);
    return true;
}

/* The slot of a view that was added: all are of one project, so names tell them apart. Returns view_count when there is
 * none. */
static uint32_t find_slot(const struct pil_selection *selection, struct pil_bytes name) {
    uint32_t slot = 0;
    while (slot < selection->view_count && !pil_bytes_equal_text(name, selection->views[slot].view->name)) {
        slot++;
    }
    return slot;
}

static bool add_views(struct pil_turn *turn, struct pil_redis_call *call) {
    struct pil_bytes name;
    for (uint32_t i = 2; i < call->arg_count; i++) {
        if (!pil_feast_redis_is_time(call->args[i], &name)) {
            continue;
        }
        turn->work += 2 * call->selection.view_count; /* the reply looks for it once more */
        if (find_slot(&call->selection, name) == call->selection.view_count && !add_view(turn, call, name)) {
            return false;
        }
    }
    return true;
}

/* ---- Its features. */

/* The first feature with this field that is not called `other`. */
static const char *name_by_field(const struct pil_view *view, uint32_t field, const char *other) {
    for (uint32_t i = 0; i < view->feature_count; i++) {
        if (view->features[i].field == field && view->features[i].name != other) {
            return view->features[i].name;
        }
    }
    PIL_UNREACHABLE("a field that two features share");
}

static void fail_shared(struct pil_turn *turn, struct pil_redis_call *call, const struct pil_view *first,
                        const struct pil_view *second, uint32_t field) {
    const char *name = name_by_field(first, field, NULL);
    call->error = pil_batch_text(turn->batch,
                                 "ERR features %s:%s and %s:%s have one field in the layout of Feast's Redis store: "
                                 "rename one, or read them by another protocol",
                                 first->name, name, second->name, name_by_field(second, field, name));
}

/* Adds the feature that has this field, in whichever of the views. Returns false when two have it: the error is set. */
static bool add_feature(struct pil_turn *turn, struct pil_redis_call *call, uint32_t field) {
    struct pil_selection *selection = &call->selection;
    uint32_t in_slot = 0, feature = PIL_SELECTION_NO_FEATURE;
    for (uint32_t slot = 0; slot < selection->view_count; slot++) {
        const struct pil_view *schema = pil_selection_schema(selection, slot);
        int32_t index = pil_view_feature_find_field(schema, field);
        bool is_first = feature == PIL_SELECTION_NO_FEATURE;
        if (index >= 0 && (!is_first || schema->features[index].shares_field)) {
            fail_shared(turn, call, is_first ? schema : pil_selection_schema(selection, in_slot), schema, field);
            return false;
        }
        in_slot = index >= 0 ? slot : in_slot;
        feature = index >= 0 ? (uint32_t)index : feature;
    }
    turn->work += selection->view_count;
    pil_selection_add_index(selection, in_slot, feature);
    return true;
}

/* A field that is not of any of these views has no feature: it is missing, as in Redis. Times are no features, so that
 * the selection is the same as of any other request for these features. */
static bool add_features(struct pil_turn *turn, struct pil_redis_call *call) {
    struct pil_bytes name;
    for (uint32_t i = 2; i < call->arg_count; i++) {
        const struct pil_bytes field = call->args[i];
        if (field.len != PIL_FEAST_REDIS_FIELD_BYTES) {
            if (!pil_feast_redis_is_time(field, &name)) {
                pil_selection_add_index(&call->selection, 0, PIL_SELECTION_NO_FEATURE);
            }
        } else if (!add_feature(turn, call, pil_load_u32(field.data))) {
            return false;
        }
    }
    return true;
}

PIL_PREPARE(pil_redis_prepare_feast_layout) {
    uint32_t count = call->arg_count - 2, views = 0;
    struct pil_bytes name;
    for (uint32_t i = 2; i < call->arg_count; i++) {
        views += pil_feast_redis_is_time(call->args[i], &name);
    }
    if (views == 0) {
        call->error = "ERR a key in the layout of Feast's Redis store needs a field _ts:VIEW that names the view";
        return;
    }
    views = views < PIL_MOMENT_VIEWS_MAX ? views : PIL_MOMENT_VIEWS_MAX;
    if (pil_selection_begin(&turn->batch->arena, views, count, &call->selection) != PIL_STATUS_OK) {
        call->request->refusal.reason = PIL_REFUSAL_ROOM;
        return;
    }
    if (!add_views(turn, call) || !add_features(turn, call)) {
        pil_batch_drop_lookups(turn, call->request);
        return;
    }
    for (uint32_t slot = 0; slot < call->selection.view_count; slot++) {
        pil_request_lookups(turn, call->request)[slot].line_mask = call->selection.views[slot].line_mask;
    }
    call->request->view = call->selection.views[0].view;
    call->request->selection = &call->selection;
    call->field_count = call->selection.feature_count;
}

/* ---- The answer. */

static void put_feature(struct pil_turn *turn, const struct pil_redis_call *call, const struct pil_lookup *lookup,
                        uint32_t index, struct pil_sink *sink) {
    const struct pil_view *schema = lookup->chain->view;
    if (!pil_redis_is_there(lookup)) {
        pil_redis_count_value(turn, lookup, PIL_VALUE_NOT_FOUND, 1);
        pil_resp_put_null(sink, call->connection->resp);
    } else if (index == PIL_SELECTION_NO_FEATURE) {
        pil_redis_count_value(turn, lookup, PIL_VALUE_NULL_VALUE, 1);
        pil_resp_put_null(sink, call->connection->resp);
    } else if (pil_row_is_null(schema, lookup->row.fields, index)) {
        pil_redis_count_value(turn, lookup, PIL_VALUE_NULL_VALUE, 1);
        pil_feast_redis_put_null(sink, schema->features[index].type);
    } else {
        const struct pil_feature *feature = &schema->features[index];
        pil_redis_count_value(turn, lookup, lookup->status, 1);
        pil_feast_redis_put_value(sink, feature->type, pil_row_value(&lookup->row, feature));
    }
}

static void put_time(const struct pil_redis_call *call, const struct pil_lookup *lookup, struct pil_sink *sink) {
    if (pil_redis_is_there(lookup)) {
        pil_feast_redis_put_time(sink, pil_row_event_ts_us(lookup->chain->view, lookup->row.fields));
    } else {
        pil_resp_put_null(sink, call->connection->resp);
    }
}

PIL_REPLY(pil_redis_reply_feast_layout) {
    const struct pil_lookup *lookups = pil_redis_lookup_of(turn, call);
    const struct pil_selection_feature *next = call->selection.features;
    struct pil_bytes name;
    pil_resp_put_array(sink, call->arg_count - 2);
    for (uint32_t i = 2; i < call->arg_count; i++) {
        if (pil_feast_redis_is_time(call->args[i], &name)) {
            put_time(call, &lookups[find_slot(&call->selection, name)], sink);
        } else {
            put_feature(turn, call, &lookups[next->slot], next->feature, sink);
            next++;
        }
    }
}
