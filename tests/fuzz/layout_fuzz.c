/* SPDX-License-Identifier: Apache-2.0
 * Keys and values of Feast's Redis layout. The first byte chooses a view and a type of feature; the rest is a key, and
 * the raw bytes of a value. Invariants: what is taken from a key lies in it, one part behind the other; both ways to
 * find the project of a key agree; a value says its own length and is whole Protocol Buffers. */
#include "base/panic.h"
#include "unit/wire/collect.h"
#include "wire/feast_redis.h"
#include "wire/resp.h"

enum { INPUT_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char names[][12] = {"driver_id", "city_name", "a", "b"};
static struct pil_entity entities[] = {
    {.join_key = names[0], .type = PIL_SCALAR_INT64}, {.join_key = names[1], .type = PIL_SCALAR_STRING},
    {.join_key = names[3], .type = PIL_SCALAR_BYTES}, {.join_key = names[2], .type = PIL_SCALAR_UNIX_TIMESTAMP},
    {.join_key = names[0], .type = PIL_SCALAR_INT32},
};
static const struct pil_view views[] = {
    {.entities = entities, .entity_count = 1},
    {.entities = entities, .entity_count = 2},
    {.entities = entities + 1, .entity_count = 1},
    {.entities = entities + 1, .entity_count = 4},
};
enum { VIEWS = sizeof views / sizeof *views };

static void check_key(const struct pil_view *view, struct pil_bytes key) {
    struct pil_key_part parts[PIL_ENTITIES_MAX];
    struct pil_bytes project, again;
    char text[PIL_FEAST_REDIS_NAMES_BYTES];
    uint8_t buffer[INPUT_MAX + PIL_ENTITIES_MAX * 24];
    size_t len = 0;
    uint32_t entity = 0;
    pil_feast_redis_key_names(key, text);
    PIL_ASSERT(strlen(text) < sizeof text);
    pil_status found = pil_feast_redis_project(key, &again);
    if (pil_feast_redis_parts(key, view, parts, &project) != PIL_STATUS_OK) {
        return;
    }
    PIL_ASSERT(project.data >= key.data && project.data + project.len == key.data + key.len);
    PIL_ASSERT(found == PIL_STATUS_NOT_FOUND || (found == PIL_STATUS_OK && pil_bytes_equal(project, again)));
    for (uint32_t i = 0; i < view->entity_count; i++) {
        bool is_inside = parts[i].text.data >= key.data && parts[i].text.data + parts[i].text.len <= project.data;
        PIL_ASSERT(parts[i].kind != PIL_KEY_PART_TEXT || is_inside);
    }
    pil_status status = pil_view_key_encode(view, parts, view->entity_count, buffer, sizeof buffer, &len, &entity);
    PIL_ASSERT(status == PIL_STATUS_OK || status == PIL_STATUS_INVALID);
}

static uint64_t take_varint(struct pil_bytes *rest) {
    uint64_t value = 0;
    uint32_t shift = 0;
    uint8_t byte;
    do {
        PIL_ASSERT(rest->len > 0 && shift < 70);
        byte = *rest->data;
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        *rest = pil_bytes_from(rest->data + 1, rest->len - 1);
        shift += 7;
    } while (byte >= 0x80);
    return value;
}

/* One field of a message, and its bytes if it has a length. */
static struct pil_bytes take_field(struct pil_bytes *rest) {
    uint64_t wire = take_varint(rest) & 7, len = wire == 5 ? 4 : wire == 1 ? 8 : 0;
    if (wire == 0) {
        (void)take_varint(rest);
        return (struct pil_bytes){0};
    }
    len = wire == 2 ? take_varint(rest) : len;
    PIL_ASSERT(wire != 3 && wire != 4 && len <= rest->len);
    struct pil_bytes field = pil_bytes_from(rest->data, len);
    *rest = pil_bytes_from(rest->data + len, rest->len - len);
    return wire == 2 ? field : (struct pil_bytes){0};
}

static void check_value(struct pil_type type, struct pil_bytes raw) {
    struct collect out;
    struct pil_resp_value value;
    collect_init(&out);
    pil_feast_redis_put_value(&out.sink, type, raw);
    struct pil_bytes rest = collect_bytes(&out);
    PIL_ASSERT(pil_resp_value_next(&rest, &value) == PIL_STATUS_OK && value.kind == PIL_RESP_KIND_BULK);
    PIL_ASSERT(rest.len == 0);
    struct pil_bytes elements = take_field(&value.text);
    PIL_ASSERT(value.text.len == 0);
    while (type.shape != PIL_SHAPE_SCALAR && elements.len > 0) {
        (void)take_field(&elements);
    }
    collect_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX) {
        return 0;
    }
    struct pil_bytes rest = pil_bytes_from(data + 1, size - 1);
    struct pil_type type = {.scalar = data[0] / VIEWS % PIL_SCALAR_COUNT,
                            .shape = data[0] >= 128 ? PIL_SHAPE_LIST : PIL_SHAPE_SCALAR};
    check_key(&views[data[0] % VIEWS], rest);
    if (type.shape == PIL_SHAPE_LIST || pil_scalar_is_text(type.scalar) ||
        rest.len >= pil_scalar_bytes(type.scalar)) { /* the row has all of a value of fixed width */
        check_value(type, rest);
    }
    return 0;
}
