/* SPDX-License-Identifier: Apache-2.0
 * Reads the body of POST /get-online-features. As in Feast's server, the JSON is read to its end first: a syntax error
 * takes precedence over members of the wrong type, the first of which is reported. */
#include "wire/feast.h"
#include "base/utf8.h"

enum { MISTAKES_MAX = 8 };

struct parser {
    struct pil_json json;
    const struct pil_feast_buffers *buffers;
    struct pil_feast_request request;
    struct pil_feast_rejection mistakes[MISTAKES_MAX]; /* in order; all mistakes unless the array is full */
    uint32_t mistake_count;
    uint32_t value_count;
    uint32_t limit; /* what there was too much of could have been so many */
    bool has_entities;
};

static const struct pil_bytes no_bytes;

/* ---- Rejections. */

static void note(struct parser *parser, struct pil_feast_rejection rejection) {
    if (parser->mistake_count < MISTAKES_MAX) {
        rejection.http_status = 422;
        parser->mistakes[parser->mistake_count++] = rejection;
    }
}

/* Of a repeated member only the last one counts: forgets the mistakes of the earlier one. Keeps them when the array is
 * full, because other mistakes may have been dropped and one must stay. */
static void forget(struct parser *parser, const char *member, const struct pil_bytes *field) {
    if (parser->mistake_count == MISTAKES_MAX) {
        return;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < parser->mistake_count; i++) {
        const struct pil_feast_rejection *mistake = &parser->mistakes[i];
        if (mistake->member != member || (field != NULL && !pil_bytes_equal(mistake->field, *field))) {
            parser->mistakes[kept++] = *mistake;
        }
    }
    parser->mistake_count = kept;
}

static pil_status too_many(struct parser *parser, const char *error, uint32_t limit) {
    parser->json.error = error;
    parser->limit = limit;
    return PIL_STATUS_TOO_LARGE;
}

/* Skips a value of the wrong type and notes the mistake. */
static pil_status refuse_value(struct parser *parser, struct pil_feast_rejection rejection) {
    PIL_TRY(pil_json_skip(&parser->json, &rejection.input));
    note(parser, rejection);
    return PIL_STATUS_OK;
}

/* ---- Members. */

static pil_status read_value(struct parser *parser, struct pil_feast_value *value) {
    struct pil_json *json = &parser->json;
    struct pil_json_number number;
    bool flag;
    *value = (struct pil_feast_value){.kind = PIL_FEAST_KIND_NULL};
    switch (pil_json_peek(json)) {
    case PIL_JSON_NULL: return pil_json_read_null(json);
    case PIL_JSON_BOOL:
        PIL_TRY(pil_json_read_bool(json, &flag));
        value->kind = PIL_FEAST_KIND_BOOL;
        value->integer = flag;
        return PIL_STATUS_OK;
    case PIL_JSON_NUMBER:
        PIL_TRY(pil_json_read_number(json, &number));
        value->kind = number.is_integral ? PIL_FEAST_KIND_INTEGER : PIL_FEAST_KIND_NUMBER;
        value->integer = number.integer;
        value->text = number.text;
        return PIL_STATUS_OK;
    case PIL_JSON_STRING: value->kind = PIL_FEAST_KIND_STRING; return pil_json_read_string(json, &value->text);
    case PIL_JSON_ARRAY:
    case PIL_JSON_OBJECT:
    case PIL_JSON_END: value->kind = PIL_FEAST_KIND_NESTED; return pil_json_skip(json, &value->text);
    }
    return PIL_STATUS_INVALID;
}

/* The column of that name, or a new one; NULL when there is no room. A linear search will do: there are few columns. */
static struct pil_feast_column *column_of(struct parser *parser, struct pil_bytes name) {
    struct pil_feast_request *request = &parser->request;
    for (uint32_t i = 0; i < request->column_count; i++) {
        if (pil_bytes_equal(request->columns[i].name, name)) {
            return &request->columns[i];
        }
    }
    if (request->column_count == parser->buffers->column_max) {
        return NULL;
    }
    struct pil_feast_column *column = &request->columns[request->column_count++];
    column->name = name;
    return column;
}

static pil_status read_column(struct parser *parser, struct pil_bytes name, const char *member) {
    struct pil_feast_column *column = column_of(parser, name);
    if (column == NULL) {
        return too_many(parser, "too many lists in entities", parser->buffers->column_max);
    }
    forget(parser, member, &name);
    column->value_first = parser->value_count;
    column->value_count = 0;
    if (pil_json_peek(&parser->json) != PIL_JSON_ARRAY) {
        return refuse_value(parser, (struct pil_feast_rejection){.type = "list_type",
                                                                 .message = "Input should be a valid list",
                                                                 .member = member,
                                                                 .field = name,
                                                                 .index = -1});
    }
    PIL_TRY(pil_json_enter(&parser->json, PIL_JSON_ARRAY));
    for (bool first = true, more;;) {
        PIL_TRY(pil_json_next_element(&parser->json, &first, &more));
        if (!more) {
            column->value_count = parser->value_count - column->value_first;
            return PIL_STATUS_OK;
        }
        struct pil_feast_value dropped;
        bool is_cut = parser->value_count >= parser->buffers->value_max;
        PIL_TRY(read_value(parser, is_cut ? &dropped : &parser->buffers->values[parser->value_count]));
        parser->request.is_cut |= is_cut;
        parser->value_count++;
    }
}

static pil_status read_entities(struct parser *parser, const char *member) {
    parser->has_entities = true;
    parser->request.column_count = 0;
    parser->request.is_cut = false;
    parser->value_count = 0;
    if (pil_json_peek(&parser->json) != PIL_JSON_OBJECT) {
        return refuse_value(parser, (struct pil_feast_rejection){.type = "dict_type",
                                                                 .message = "Input should be a valid dictionary",
                                                                 .member = member,
                                                                 .index = -1});
    }
    PIL_TRY(pil_json_enter(&parser->json, PIL_JSON_OBJECT));
    for (bool first = true, more;;) {
        struct pil_bytes name;
        PIL_TRY(pil_json_next_member(&parser->json, &first, &name, &more));
        if (!more) {
            return PIL_STATUS_OK;
        }
        PIL_TRY(read_column(parser, name, member));
    }
}

static pil_status read_features(struct parser *parser, const char *member) {
    struct pil_feast_request *request = &parser->request;
    request->has_features = true;
    request->feature_count = 0;
    if (pil_json_peek(&parser->json) != PIL_JSON_ARRAY) {
        return refuse_value(
            parser, (struct pil_feast_rejection){
                        .type = "list_type", .message = "Input should be a valid list", .member = member, .index = -1});
    }
    PIL_TRY(pil_json_enter(&parser->json, PIL_JSON_ARRAY));
    int64_t index = 0;
    for (bool first = true, more;; index++) {
        PIL_TRY(pil_json_next_element(&parser->json, &first, &more));
        if (!more) {
            return PIL_STATUS_OK;
        }
        if (request->feature_count == parser->buffers->feature_max) {
            return too_many(parser, "too many features", parser->buffers->feature_max);
        }
        if (pil_json_peek(&parser->json) == PIL_JSON_STRING) {
            PIL_TRY(pil_json_read_string(&parser->json, &parser->buffers->features[request->feature_count]));
            request->feature_count++;
        } else {
            PIL_TRY(refuse_value(parser, (struct pil_feast_rejection){.type = "string_type",
                                                                      .message = "Input should be a valid string",
                                                                      .member = member,
                                                                      .index = index}));
        }
    }
}

/* A name or null. */
static pil_status read_name(struct parser *parser, const char *member, struct pil_bytes *name) {
    *name = no_bytes;
    switch (pil_json_peek(&parser->json)) {
    case PIL_JSON_NULL: return pil_json_read_null(&parser->json);
    case PIL_JSON_STRING: return pil_json_read_string(&parser->json, name);
    case PIL_JSON_BOOL:
    case PIL_JSON_NUMBER:
    case PIL_JSON_ARRAY:
    case PIL_JSON_OBJECT:
    case PIL_JSON_END: break;
    }
    return refuse_value(
        parser, (struct pil_feast_rejection){
                    .type = "string_type", .message = "Input should be a valid string", .member = member, .index = -1});
}

/* Pydantic's words for true (1) and false (0); -1 for any other word. */
static int bool_of_word(struct pil_bytes text) {
    static const char *const words[2][6] = {{"false", "0", "off", "f", "n", "no"},
                                            {"true", "1", "on", "t", "y", "yes"}};
    for (int value = 0; value < 2; value++) {
        for (int i = 0; i < 6; i++) {
            if (pil_bytes_equal_nocase(text, words[value][i])) {
                return value;
            }
        }
    }
    return -1;
}

/* Accepts true and false, 1 and 0, or a word. */
static pil_status read_flag(struct parser *parser, const char *member, bool *flag) {
    struct pil_feast_value value;
    pil_json_kind kind = pil_json_peek(&parser->json); /* skips white space, so that the value starts at `at` */
    const uint8_t *begin = parser->json.at;
    PIL_TRY(read_value(parser, &value));
    int found = -1;
    if (value.kind == PIL_FEAST_KIND_STRING) {
        found = bool_of_word(value.text);
    } else if (value.kind == PIL_FEAST_KIND_BOOL || value.kind == PIL_FEAST_KIND_INTEGER) {
        found = value.integer == 0 || value.integer == 1 ? (int)value.integer : -1;
    }
    *flag = found == 1;
    if (found >= 0) {
        return PIL_STATUS_OK;
    }
    bool is_parsing = kind == PIL_JSON_STRING || kind == PIL_JSON_NUMBER;
    note(parser, (struct pil_feast_rejection){
                     .type = is_parsing ? "bool_parsing" : "bool_type",
                     .message = is_parsing ? "Input should be a valid boolean, unable to interpret input"
                                           : "Input should be a valid boolean",
                     .member = member,
                     .index = -1,
                     .input = pil_bytes_from(begin, (size_t)(parser->json.at - begin)),
                 });
    return PIL_STATUS_OK;
}

static pil_status read_member(struct parser *parser, struct pil_bytes name) {
    static const char *const members[] = {
        "entities", "features", "feature_service", "full_feature_names", "include_feature_view_version_metadata",
        "project"};
    size_t i = 0;
    while (i < sizeof members / sizeof *members && !pil_bytes_equal_text(name, members[i])) {
        i++;
    }
    if (i < sizeof members / sizeof *members) {
        forget(parser, members[i], NULL);
    }
    struct pil_bytes raw;
    switch (i) {
    case 0: return read_entities(parser, members[i]);
    case 1: return read_features(parser, members[i]);
    case 2: return read_name(parser, members[i], &parser->request.feature_service);
    case 3: return read_flag(parser, members[i], &parser->request.full_feature_names);
    case 4: return read_flag(parser, members[i], &parser->request.include_view_metadata);
    case 5: return read_name(parser, members[i], &parser->request.project);
    default: return pil_json_skip(&parser->json, &raw);
    }
}

static pil_status read_body(struct parser *parser) {
    struct pil_json *json = &parser->json;
    if (pil_json_peek(json) != PIL_JSON_OBJECT) {
        PIL_TRY(
            refuse_value(parser, (struct pil_feast_rejection){
                                     .type = "model_attributes_type",
                                     .message = "Input should be a valid dictionary or object to extract fields from",
                                     .index = -1,
                                 }));
        return pil_json_finish(json);
    }
    const uint8_t *begin = json->at;
    PIL_TRY(pil_json_enter(json, PIL_JSON_OBJECT));
    for (bool first = true, more = true; more;) {
        struct pil_bytes name;
        PIL_TRY(pil_json_next_member(json, &first, &name, &more));
        if (more) {
            PIL_TRY(read_member(parser, name));
        }
    }
    if (!parser->has_entities) {
        struct pil_bytes input = pil_bytes_from(begin, (size_t)(json->at - begin));
        note(parser,
             (struct pil_feast_rejection){
                 .type = "missing", .message = "Field required", .member = "entities", .index = -1, .input = input});
    }
    return pil_json_finish(json);
}

/* Where the reader stopped, in characters, as Python counts. */
static int64_t character_index(const struct pil_json *json) {
    int64_t count = 0;
    for (const uint8_t *at = json->begin; at < json->at; at++) {
        count += (*at & 0xc0) != 0x80;
    }
    return count;
}

/* As in Feast's server, invalid UTF-8 anywhere in the body takes precedence over a syntax error. */
static struct pil_feast_rejection reject_json(pil_status status, const struct pil_json *json) {
    if (status == PIL_STATUS_TOO_LARGE) {
        return (struct pil_feast_rejection){.http_status = 413, .message = json->error, .index = -1};
    }
    if (json->is_not_utf8 || !pil_utf8_is_valid(pil_bytes_from(json->at, (size_t)(json->end - json->at)))) {
        return (struct pil_feast_rejection){
            .http_status = 400, .message = "There was an error parsing the body", .index = -1};
    }
    return (struct pil_feast_rejection){
        .http_status = 422,
        .type = "json_invalid",
        .message = "JSON decode error",
        .index = character_index(json),
        .detail = json->error,
        .input = pil_bytes_from_text("{}"),
    };
}

pil_status pil_feast_parse(struct pil_bytes body, const struct pil_feast_buffers *buffers,
                           struct pil_feast_request *ret_request, struct pil_feast_rejection *ret_rejection) {
    if (body.len == 0) {
        *ret_rejection = (struct pil_feast_rejection){.http_status = 422,
                                                      .type = "missing",
                                                      .message = "Field required",
                                                      .index = -1,
                                                      .input = pil_bytes_from_text("null")};
        return PIL_STATUS_INVALID;
    }
    struct parser parser = {.buffers = buffers};
    parser.request.columns = buffers->columns;
    parser.request.values = buffers->values;
    parser.request.features = buffers->features;
    pil_json_init(&parser.json, body, buffers->scratch, buffers->scratch_bytes);
    parser.json.rest = buffers->rest;
    pil_status status = read_body(&parser);
    if (status != PIL_STATUS_OK) {
        *ret_rejection = reject_json(status, &parser.json);
        ret_rejection->limit = parser.limit;
        return status;
    }
    if (parser.mistake_count > 0) {
        *ret_rejection = parser.mistakes[0];
        return PIL_STATUS_INVALID;
    }
    *ret_request = parser.request;
    return PIL_STATUS_OK;
}
