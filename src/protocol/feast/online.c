/* SPDX-License-Identifier: Apache-2.0
 * POST /get-online-features from a body to lookups: for each view a block of lookups, one for each row. */
#include "protocol/feast/internal.h"

#include "base/hash.h"
#include "base/number.h"
#include "cache/cache.h"
#include "schema/project.h"
#include "server/lane.h"

#include <stdalign.h>
#include <stdio.h>

enum {
    COLUMNS_MAX = 256,
    KEY_PARTS_MAX = PIL_ENTITIES_MAX,
    KEY_PART_BYTES = 24, /* encoded size of a key part that is not text */
};

/* ---- Views and features. */

/* The projects of the views that the peer may read, for errors about a bare name: "rides" or "rides, shops". */
static struct pil_bytes project_names(struct pil_turn *turn) {
    char names[PIL_FEAST_ARGUMENT_BYTES] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < pil_cache_view_count(turn->scope.cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(turn->scope.cache, i);
        bool is_new = pil_scope_may_read(&turn->scope, view);
        for (uint32_t k = 0; k < i && is_new; k++) {
            const struct pil_cache_view *before = pil_cache_view_at(turn->scope.cache, k);
            is_new = !pil_scope_may_read(&turn->scope, before) || strcmp(before->project, view->project) != 0;
        }
        if (is_new && len < sizeof names) {
            int added = snprintf(names + len, sizeof names - len, "%s%s", len > 0 ? ", " : "", view->project);
            len += added > 0 ? (size_t)added : 0;
        }
    }
    return pil_bytes_from_text(pil_batch_text(turn->batch, "%s", names));
}

/* Makes the answer the error for a name that does not exist: "project/name" or a bare one. */
static void fail_unknown(struct pil_turn *turn, struct pil_feast_call *call, pil_feast_error error,
                         struct pil_bytes name) {
    const uint8_t *slash = name.len > 0 ? memchr(name.data, '/', name.len) : NULL;
    if (slash == NULL) {
        pil_feast_fail(turn, call, error, name, project_names(turn));
        return;
    }
    size_t len = (size_t)(slash - name.data);
    pil_feast_fail(turn, call, error, pil_bytes_from(slash + 1, name.len - len - 1), pil_bytes_from(name.data, len));
}

static void fail_limit(struct pil_turn *turn, struct pil_feast_call *call, const char *sent, const char *limit) {
    pil_feast_fail(turn, call, PIL_FEAST_ERROR_TOO_LARGE, pil_bytes_from_text(sent), pil_bytes_from_text(limit));
}

static bool select_feature(struct pil_turn *turn, struct pil_feast_call *call, struct pil_bytes view,
                           struct pil_bytes feature) {
    char full[PIL_SCOPE_NAME_BYTES] PIL_UNINITIALIZED;
    view = pil_scope_name_in(call->project, view, full);
    pil_status status = pil_selection_add(&turn->scope, &call->selection, view, feature);
    if (status == PIL_STATUS_OK) {
        return true;
    }
    if (status == PIL_STATUS_CONFLICT) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_FEATURE_UNKNOWN, feature, view);
    } else if (status == PIL_STATUS_AGAIN) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_VIEW_NOT_LOADED, view, (struct pil_bytes){0});
    } else if (status == PIL_STATUS_DENIED) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_VIEW_DENIED, view, (struct pil_bytes){0});
    } else if (status == PIL_STATUS_INVALID) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_VIEW_AMBIGUOUS, view, (struct pil_bytes){0});
    } else if (status == PIL_STATUS_TOO_LARGE) {
        fail_limit(turn, call, pil_batch_text(turn->batch, "%u features", call->body.feature_count),
                   pil_batch_text(turn->batch, "%d", PIL_SERVICE_FEATURES_MAX));
    } else {
        fail_unknown(turn, call, PIL_FEAST_ERROR_VIEW_UNKNOWN, view);
    }
    return false;
}

/* "view:feature", "view@latest:feature" */
static bool select_reference(struct pil_turn *turn, struct pil_feast_call *call, struct pil_bytes reference) {
    const uint8_t *colon = memchr(reference.data, ':', reference.len);
    if (colon == NULL || colon == reference.data || colon + 1 == reference.data + reference.len) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_REFERENCE_INVALID, reference, (struct pil_bytes){0});
        return false;
    }
    struct pil_bytes view = pil_bytes_from(reference.data, (size_t)(colon - reference.data));
    struct pil_bytes feature = pil_bytes_from(colon + 1, reference.len - view.len - 1);
    const uint8_t *at = memchr(view.data, '@', view.len);
    if (at != NULL) {
        struct pil_bytes version = pil_bytes_from(at + 1, view.len - (size_t)(at - view.data) - 1);
        if (!pil_bytes_equal_text(version, "latest")) {
            pil_feast_fail(turn, call, PIL_FEAST_ERROR_VERSION_UNKNOWN, reference, (struct pil_bytes){0});
            return false;
        }
        view.len = (size_t)(at - view.data);
    }
    return select_feature(turn, call, view, feature);
}

static bool select_service(struct pil_turn *turn, struct pil_feast_call *call, struct pil_bytes name) {
    const struct pil_project *project = NULL;
    const struct pil_service *service = NULL;
    char in_project[PIL_SCOPE_NAME_BYTES];
    name = pil_scope_name_in(call->project, name, in_project);
    pil_status status = pil_scope_service(&turn->scope, name, &project, &service);
    if (status == PIL_STATUS_INVALID) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_SERVICE_AMBIGUOUS, name, (struct pil_bytes){0});
        return false;
    }
    if (status == PIL_STATUS_AGAIN) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_SERVICE_NOT_KNOWN, name, (struct pil_bytes){0});
        return false;
    }
    if (status != PIL_STATUS_OK) {
        fail_unknown(turn, call, PIL_FEAST_ERROR_SERVICE_UNKNOWN, name);
        return false;
    }
    for (uint32_t f = 0; f < service->feature_count; f++) {
        const struct pil_view *schema = project->views[service->features[f].view_index].view;
        const char *feature = schema->features[service->features[f].feature_index].name;
        char text[PIL_SCOPE_NAME_BYTES];
        struct pil_bytes full =
            pil_scope_name_in(pil_bytes_from_text(schema->project), pil_bytes_from_text(schema->name), text);
        if (!select_feature(turn, call, full, pil_bytes_from_text(feature))) {
            return false;
        }
    }
    return true;
}

struct pil_bytes pil_feast_view_name(const struct pil_feast_call *call, uint32_t slot,
                                     char text[PIL_SCOPE_NAME_BYTES]) {
    const struct pil_view *schema = pil_selection_schema(&call->selection, slot);
    bool is_only = true;
    for (uint32_t other = 0; other < call->selection.view_count && is_only; other++) {
        is_only = other == slot || strcmp(pil_selection_schema(&call->selection, other)->name, schema->name) != 0;
    }
    return pil_scope_name_in(pil_bytes_from_text(is_only ? "" : schema->project), pil_bytes_from_text(schema->name),
                             text);
}

static struct pil_bytes full_name(const struct pil_feast_call *call, uint32_t slot, const char *feature,
                                  char text[PIL_FEAST_COLUMN_NAME_BYTES]) {
    char in_project[PIL_SCOPE_NAME_BYTES] PIL_UNINITIALIZED;
    struct pil_bytes view = pil_feast_view_name(call, slot, in_project);
    struct pil_sink sink = pil_sink_fixed(text, PIL_FEAST_COLUMN_NAME_BYTES);
    pil_sink_write_bytes(&sink, view);
    pil_sink_write_text(&sink, "__");
    pil_sink_write_text(&sink, feature);
    PIL_ASSERT(!sink.failed);
    return pil_bytes_from(text, (size_t)(sink.at - (uint8_t *)text));
}

struct pil_bytes pil_feast_column_name(const struct pil_feast_call *call, uint32_t i,
                                       char text[PIL_FEAST_COLUMN_NAME_BYTES]) {
    const struct pil_selection_feature *selected = &call->selection.features[i];
    const char *feature = pil_selection_schema(&call->selection, selected->slot)->features[selected->feature].name;
    return call->body.full_feature_names ? full_name(call, selected->slot, feature, text)
                                         : pil_bytes_from_text(feature);
}

static bool collides(const struct pil_feast_call *call, uint32_t i, uint32_t k) {
    char one[PIL_FEAST_COLUMN_NAME_BYTES] PIL_UNINITIALIZED, other[PIL_FEAST_COLUMN_NAME_BYTES] PIL_UNINITIALIZED;
    return pil_bytes_equal(pil_feast_column_name(call, i, one), pil_feast_column_name(call, k, other));
}

/* The first column whose feature another one has, too; feature_count: there is none. `seen`: a zero bit for each
 * feature of the view. */
static uint32_t find_repeated_feature(const struct pil_feast_call *call, uint64_t *seen) {
    uint32_t i = 0;
    for (; i < call->selection.feature_count; i++) {
        uint32_t feature = call->selection.features[i].feature;
        uint64_t bit = UINT64_C(1) << feature % 64;
        if ((seen[feature / 64] & bit) != 0) {
            break;
        }
        seen[feature / 64] |= bit;
    }
    return i;
}

/* The first column whose name another one has, too; feature_count: there is none. `table`: a hash table of zeros with
 * twice as many slots as columns. */
static uint32_t find_repeated_name(const struct pil_feast_call *call, uint16_t *table) {
    uint32_t slots = 2 * call->selection.feature_count, i = 0;
    char text[PIL_FEAST_COLUMN_NAME_BYTES];
    for (; i < call->selection.feature_count; i++) {
        uint64_t slot = pil_hash_block(pil_feast_column_name(call, i, text)) % slots;
        for (; table[slot] != 0; slot = (slot + 1) % slots) {
            if (collides(call, i, table[slot] - 1u)) {
                return i;
            }
        }
        table[slot] = (uint16_t)(i + 1);
    }
    return i;
}

/* No two columns of an answer have one name; Feast refuses such requests, too. Within a view, names are distinct where
 * features are. Else full names can be equal, too: a__b of view v is b of view v__a. */
static bool names_are_distinct(struct pil_turn *turn, struct pil_feast_call *call) {
    struct pil_arena *arena = &turn->batch->arena;
    size_t mark = pil_arena_mark(arena);
    uint32_t count = call->selection.feature_count;
    bool is_one_view = call->selection.view_count == 1;
    size_t bytes = is_one_view ? (pil_selection_schema(&call->selection, 0)->feature_count + 63) / 64 * sizeof(uint64_t)
                               : 2 * count * sizeof(uint16_t);
    void *room = pil_arena_alloc(arena, bytes, alignof(uint64_t));
    if (room == NULL) {
        call->request->refusal.reason = PIL_REFUSAL_ROOM;
        return false;
    }
    memset(room, 0, bytes);
    uint32_t repeated = is_one_view ? find_repeated_feature(call, room) : find_repeated_name(call, room);
    pil_arena_rewind(arena, mark);
    if (repeated < count) {
        char text[PIL_FEAST_COLUMN_NAME_BYTES];
        pil_feast_fail(turn, call,
                       call->body.full_feature_names ? PIL_FEAST_ERROR_NAME_COLLISION_FULL
                                                     : PIL_FEAST_ERROR_NAME_COLLISION,
                       pil_feast_column_name(call, repeated, text), (struct pil_bytes){0});
    }
    return repeated == count;
}

/* The project that the request is for, by ?project= or by its body. */
static bool find_project(struct pil_turn *turn, struct pil_feast_call *call, const struct pil_http_request *http) {
    struct pil_bytes in_path = {0}, in_body = call->body.project;
    (void)pil_http_query(http->query, "project", &in_path);
    if (in_path.len > 0 && in_body.len > 0 && !pil_bytes_equal(in_path, in_body)) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_PROJECT_TWICE, in_path, in_body);
        return false;
    }
    call->project = in_path.len > 0 ? in_path : in_body;
    return true;
}

static bool select_all(struct pil_turn *turn, struct pil_feast_call *call) {
    const struct pil_feast_request *body = &call->body;
    bool has_service = body->feature_service.len > 0;
    if (has_service && !select_service(turn, call, body->feature_service)) {
        return false;
    }
    for (uint32_t i = 0; !has_service && i < body->feature_count; i++) {
        if (!select_reference(turn, call, body->features[i])) {
            return false;
        }
    }
    if (call->selection.feature_count == 0) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_FEATURES_MISSING, (struct pil_bytes){0}, (struct pil_bytes){0});
        return false;
    }
    pil_selection_end(&turn->batch->arena, &call->selection);
    return names_are_distinct(turn, call);
}

/* ---- Keys. */

/* The column that holds an entity's values; NULL when there is none. Like Feast, accepts the entity's name, too. */
static const struct pil_feast_column *find_column(const struct pil_feast_request *body,
                                                  const struct pil_entity *entity) {
    for (uint32_t i = 0; i < body->column_count; i++) {
        if (pil_bytes_equal_text(body->columns[i].name, entity->join_key)) {
            return &body->columns[i];
        }
    }
    for (uint32_t i = 0; i < body->column_count; i++) {
        if (pil_bytes_equal_text(body->columns[i].name, entity->name)) {
            return &body->columns[i];
        }
    }
    return NULL;
}

/* Checks that all columns have as many values as the first, and at least one. Without columns there is one row: views
 * without entities can answer it, and others say what is missing. */
static bool count_rows(struct pil_turn *turn, struct pil_feast_call *call) {
    const struct pil_feast_request *body = &call->body;
    call->row_count = body->column_count > 0 ? body->columns[0].value_count : 1;
    for (uint32_t i = 1; i < body->column_count; i++) {
        if (body->columns[i].value_count != call->row_count) {
            pil_feast_fail(turn, call, PIL_FEAST_ERROR_COLUMNS_UNEQUAL, (struct pil_bytes){0}, (struct pil_bytes){0});
            return false;
        }
    }
    if (call->row_count == 0) {
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_ROWS_MISSING, body->columns[0].name, (struct pil_bytes){0});
        return false;
    }
    return true;
}

/* The answer's numbers of one row; a list counts as one, because its length is not known yet. */
static uint64_t values_of_row(const struct pil_feast_call *call) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < call->selection.feature_count; i++) {
        const struct pil_selection_feature *selected = &call->selection.features[i];
        const struct pil_type type =
            pil_selection_schema(&call->selection, selected->slot)->features[selected->feature].type;
        count += type.shape == PIL_SHAPE_VECTOR ? type.dimension : 1;
    }
    return count;
}

/* Checks what the request asks for against the limits, before any key is read. */
static bool is_within_limits(struct pil_turn *turn, struct pil_feast_call *call) {
    const struct pil_limits *limits = &turn->settings->limits;
    uint64_t rows = call->row_count, views = call->selection.view_count;
    uint64_t bytes_min = rows * call->selection.feature_count * PIL_FEAST_VALUE_BYTES_MIN;
    if (rows * views > limits->keys_per_request_max) {
        fail_limit(turn, call,
                   pil_batch_text(turn->batch, "%llu entity lookups (%llu row%s of %llu feature view%s)",
                                  (unsigned long long)(rows * views), (unsigned long long)rows, pil_number_plural(rows),
                                  (unsigned long long)views, pil_number_plural(views)),
                   pil_batch_text(turn->batch, "%u (limits.keys_per_request)", limits->keys_per_request_max));
        return false;
    }
    if (!pil_exchange_may_ask(turn, call->request, rows, values_of_row(call))) {
        return false;
    }
    if (bytes_min > limits->output_bytes_max) {
        fail_limit(turn, call,
                   pil_batch_text(turn->batch, "an answer of over %llu bytes", (unsigned long long)bytes_min),
                   pil_batch_text(turn->batch, "%u (limits.output_bytes)", limits->output_bytes_max));
        return false;
    }
    if (call->body.is_cut) {
        call->request->refusal.reason = PIL_REFUSAL_ROOM;
    }
    return !call->body.is_cut;
}

struct pil_key_part pil_feast_key_part(const struct pil_feast_value *value) {
    struct pil_key_part other = {.kind = PIL_KEY_PART_OTHER, .text = value->text};
    switch (value->kind) {
    case PIL_FEAST_KIND_INTEGER:
    case PIL_FEAST_KIND_NUMBER:
        return pil_key_part_of_number(value->text, value->kind == PIL_FEAST_KIND_INTEGER, value->integer);
    case PIL_FEAST_KIND_STRING: return (struct pil_key_part){.kind = PIL_KEY_PART_TEXT, .text = value->text};
    case PIL_FEAST_KIND_NULL: other.text = pil_bytes_from_text("null"); return other;
    case PIL_FEAST_KIND_BOOL: other.text = pil_bytes_from_text(value->integer != 0 ? "true" : "false"); return other;
    case PIL_FEAST_KIND_NESTED: return other;
    }
    PIL_UNREACHABLE("kind of a JSON value");
}

/* The join key columns of one view, and the view that their keys are looked up in. */
struct view_keys {
    const struct pil_selection_view *view;
    const struct pil_feast_column *columns[KEY_PARTS_MAX]; /* by entity */
};

static void reject_key(struct pil_turn *turn, struct pil_feast_call *call, const struct view_keys *keys,
                       uint32_t entity_index, uint32_t row, bool is_too_long) {
    const struct pil_entity *entity = &keys->view->serving->chain.view->entities[entity_index];
    const struct pil_feast_column *column = keys->columns[entity_index];
    const struct pil_feast_value *value = &call->body.values[column->value_first + row];
    const struct pil_key_part part = pil_feast_key_part(value);
    const struct pil_key_place place = {.join_key = entity->join_key, .type = entity->type, .row = row};
    char problem[PIL_KEY_PROBLEM_BYTES];
    const char *message = is_too_long ? pil_batch_text(turn->batch, "the key with join key %s is longer than %d bytes",
                                                       entity->join_key, PIL_KEY_BYTES_MAX)
                                      : pil_batch_text(turn->batch, "%s", pil_key_part_explain(&part, place, problem));
    const struct pil_feast_rejection rejection = {
        .http_status = 422,
        .type = "join_key_type",
        .message = message,
        .member = "entities",
        .field = column->name,
        .index = row,
        .input = value->kind == PIL_FEAST_KIND_STRING ? (struct pil_bytes){0} : value->text,
    };
    pil_feast_reject(turn, call, &rejection);
}

/* Writes the canonical key of a row to the arena. Returns false with the error set. */
static bool encode_key(struct pil_turn *turn, struct pil_feast_call *call, const struct view_keys *keys, uint32_t row,
                       struct pil_bytes *ret_key) {
    const struct pil_view *schema = keys->view->serving->chain.view;
    struct pil_key_part parts[KEY_PARTS_MAX] PIL_UNINITIALIZED;
    size_t room = 16, len = 0;
    uint32_t bad = 0;
    for (uint32_t e = 0; e < schema->entity_count; e++) {
        parts[e] = pil_feast_key_part(&call->body.values[keys->columns[e]->value_first + row]);
        room += parts[e].text.len + KEY_PART_BYTES;
    }
    size_t mark = pil_arena_mark(&turn->batch->arena);
    uint8_t *buffer = pil_arena_alloc(&turn->batch->arena, room, 1);
    if (buffer == NULL) {
        call->request->refusal.reason = PIL_REFUSAL_ROOM;
        return false;
    }
    pil_status status = pil_view_key_encode(schema, parts, schema->entity_count, buffer, room, &len, &bad);
    if (status != PIL_STATUS_OK) {
        reject_key(turn, call, keys, bad, row, status == PIL_STATUS_TOO_LARGE);
        return false;
    }
    pil_arena_rewind(&turn->batch->arena, mark + len);
    *ret_key = pil_bytes_from(buffer, len);
    return true;
}

static bool add_view_rows(struct pil_turn *turn, struct pil_feast_call *call, const struct pil_selection_view *view) {
    const struct pil_view *schema = view->serving->chain.view;
    struct view_keys keys = {.view = view};
    for (uint32_t e = 0; e < schema->entity_count; e++) {
        keys.columns[e] = find_column(&call->body, &schema->entities[e]);
        if (keys.columns[e] == NULL) {
            pil_feast_fail(turn, call, PIL_FEAST_ERROR_KEY_MISSING, pil_bytes_from_text(schema->entities[e].join_key),
                           pil_bytes_from_text(schema->name));
            return false;
        }
    }
    for (uint32_t row = 0; row < call->row_count; row++) {
        struct pil_bytes key;
        if (row % PIL_EXCHANGE_REST_ROWS == 0) {
            pil_lane_rest(turn);
        }
        if (!encode_key(turn, call, &keys, row, &key)) {
            return false;
        }
        struct pil_lookup *lookup = pil_batch_lookup(turn, call->request);
        if (lookup == NULL) {
            return false; /* pil_batch_lookup has refused the request */
        }
        *lookup = pil_lookup_make(&view->serving->chain, key, view->view->index, view->line_mask);
    }
    return true;
}

/* ---- The body. */

/* Allocates arrays for a body of this length. The values come last and take what is left, so that their unused part
 * can be returned to the arena. */
static bool make_buffers(struct pil_turn *turn, struct pil_bytes body, struct pil_feast_buffers *ret_buffers) {
    struct pil_arena *arena = &turn->batch->arena;
    size_t scratch_bytes = body.len + 1;
    *ret_buffers = (struct pil_feast_buffers){
        .scratch = pil_arena_alloc(arena, scratch_bytes, 1),
        .scratch_bytes = scratch_bytes,
        .columns = PIL_ARENA_NEW(arena, struct pil_feast_column, COLUMNS_MAX),
        .column_max = COLUMNS_MAX,
        .features = PIL_ARENA_NEW(arena, struct pil_bytes, PIL_SERVICE_FEATURES_MAX),
        .feature_max = PIL_SERVICE_FEATURES_MAX,
        .rest = pil_exchange_rest(turn),
    };
    size_t value_max = body.len / 2 + 1; /* each has a character and a comma */
    size_t room = pil_arena_left(arena) / sizeof(struct pil_feast_value);
    ret_buffers->value_max = (uint32_t)(value_max < room ? value_max : room - (room > 0));
    ret_buffers->values = PIL_ARENA_NEW(arena, struct pil_feast_value, ret_buffers->value_max);
    return ret_buffers->scratch != NULL && ret_buffers->columns != NULL && ret_buffers->features != NULL &&
           ret_buffers->values != NULL;
}

static bool parse(struct pil_turn *turn, struct pil_feast_call *call, struct pil_bytes body) {
    struct pil_arena *arena = &turn->batch->arena;
    struct pil_feast_buffers buffers;
    struct pil_feast_rejection rejection;
    uint32_t value_count = 0;
    if (!make_buffers(turn, body, &buffers)) {
        call->request->refusal.reason = PIL_REFUSAL_ROOM;
        return false;
    }
    if (pil_feast_parse(body, &buffers, &call->body, &rejection) != PIL_STATUS_OK) {
        pil_arena_rewind(arena, (size_t)((uint8_t *)buffers.values - arena->data)); /* room for the error */
        pil_feast_reject(turn, call, &rejection);
        return false;
    }
    for (uint32_t i = 0; i < call->body.column_count; i++) {
        uint32_t end = call->body.columns[i].value_first + call->body.columns[i].value_count;
        value_count = end > value_count ? end : value_count;
    }
    value_count = value_count < buffers.value_max ? value_count : buffers.value_max;
    pil_arena_rewind(arena, (size_t)((uint8_t *)(buffers.values + value_count) - arena->data));
    return true;
}

void pil_feast_online_prepare(struct pil_turn *turn, struct pil_feast_call *call, const struct pil_http_request *http) {
    call->http.exchange.head.content_type = "application/json";
    if (!parse(turn, call, http->body) || !find_project(turn, call, http)) {
        return;
    }
    if (pil_selection_begin(&turn->batch->arena, PIL_SETTINGS_VIEWS_MAX, PIL_SERVICE_FEATURES_MAX, &call->selection) !=
        PIL_STATUS_OK) {
        call->request->refusal.reason = PIL_REFUSAL_ROOM;
        return;
    }
    if (!select_all(turn, call) || !count_rows(turn, call) || !is_within_limits(turn, call)) {
        return;
    }
    for (uint32_t slot = 0; slot < call->selection.view_count; slot++) {
        if (!add_view_rows(turn, call, &call->selection.views[slot])) {
            return;
        }
    }
    call->is_online = true;
    call->request->view = call->selection.views[0].view;
    call->request->selection = &call->selection;
}
