/* SPDX-License-Identifier: Apache-2.0
 * SCAN, KEYS and DBSIZE over all slots of all served views. A cursor is a position, (view, shard, slot) in 8, 16 and 40
 * bits, plus 1 so that only the end is 0. It stays valid until a release is swapped. One call passes at most COUNT_MAX
 * rows, and fewer when its turn's work or its room is used up: SCAN then answers a cursor, KEYS an error. */
#include "protocol/resp/glob.h"
#include "protocol/resp/handlers.h"
#include "schema/view.h"
#include "snapshot/reader.h"
#include "wire/feast_redis.h"

#include <stdio.h>

enum {
    COUNT_DEFAULT = 10,
    COUNT_MAX = 10000,
    KEY_TEXT_BYTES = 2 * PIL_KEY_BYTES_MAX + 2 * PIL_NAME_BYTES_MAX + 2,
    PREFIX_BYTES = 2 * PIL_NAME_BYTES_MAX + 3,
    LENGTH_BYTES = 4,
    ROW_WORK = 64, /* steps of a row whatever its key is: the row is seldom in the caches */
};

struct scan {
    uint64_t view, shard, slot;
    struct pil_bytes pattern;
    struct pil_glob glob;
    int64_t count, passed;                   /* rows: at most, and so far; empty slots are not counted */
    bool wants_none;                         /* TYPE names a type that does not exist here */
    const struct pil_shard *shard_of_prefix; /* the prefix is that of this shard's view */
    char prefix[PREFIX_BYTES];               /* "view:" or "project/view:" */
};

bool pil_redis_compile(struct pil_turn *turn, struct pil_bytes pattern, bool folds, struct pil_sink *sink,
                       struct pil_glob *ret_glob) {
    pil_status status = pil_glob_compile(pattern, folds, &turn->batch->arena, ret_glob);
    if (status == PIL_STATUS_OK) {
        return true;
    }
    pil_resp_put_error(sink, status == PIL_STATUS_TOO_LARGE
                                 ? pil_batch_text(turn->batch, "ERR a pattern has at most %d bytes, this one has %zu",
                                                  PIL_GLOB_BYTES_MAX, pattern.len)
                                 : "ERR no room for the pattern in this turn; ask again");
    return false;
}

static bool parse(const struct pil_redis_call *call, struct scan *scan, const char **ret_error) {
    int64_t cursor = 0;
    *ret_error = "ERR invalid cursor";
    if (!pil_number_parse_i64(call->args[1], &cursor) || cursor < 0) {
        return false;
    }
    uint64_t position = cursor == 0 ? 0 : (uint64_t)cursor - 1;
    *scan = (struct scan){.view = position >> 56,
                          .shard = position >> 40 & 0xffff,
                          .slot = position & ((1ull << 40) - 1),
                          .pattern = pil_bytes_from_text("*"),
                          .count = COUNT_DEFAULT};
    *ret_error = "ERR syntax error";
    for (uint32_t i = 2; i < call->arg_count; i += 2) {
        if (i + 1 == call->arg_count) {
            return false;
        }
        struct pil_bytes name = call->args[i], value = call->args[i + 1];
        if (pil_bytes_equal_nocase(name, "match")) {
            scan->pattern = value;
        } else if (pil_bytes_equal_nocase(name, "type")) {
            scan->wants_none = !pil_bytes_equal_nocase(value, "hash");
        } else if (!pil_bytes_equal_nocase(name, "count")) {
            return false;
        } else if (!pil_number_parse_i64(value, &scan->count)) {
            *ret_error = "ERR value is not an integer or out of range";
            return false;
        } else if (scan->count < 1) {
            return false;
        }
    }
    scan->count = scan->count < COUNT_MAX ? scan->count : COUNT_MAX;
    return true;
}

/* Feast lists keys of its layout only to delete them. No key here is spelled so, and none can be deleted. Returns false
 * when the error is written instead. */
static bool refuse_feast_layout(struct pil_bytes pattern, struct pil_sink *sink) {
    bool is_it = pil_feast_redis_is_key(pattern);
    if (is_it) {
        pil_resp_put_error(sink,
                           "READONLY Pillion serves immutable releases: keys in the layout of Feast's Redis store "
                           "are neither listed nor deleted; stop serving the view instead");
    }
    return !is_it;
}

/* Sets the prefix of the keys of a view: with the project when the view's name alone is ambiguous. */
static void set_prefix(struct pil_scope *scope, struct scan *scan, const struct pil_shard *shard) {
    const struct pil_cache_view *view = pil_cache_view_at(scope->cache, (uint32_t)scan->view), *found = NULL;
    bool is_enough = pil_scope_view(scope, pil_bytes_from_text(view->name), &found) == PIL_STATUS_OK;
    snprintf(scan->prefix, sizeof scan->prefix, "%s%s%s:", is_enough ? "" : view->project, is_enough ? "" : "/",
             view->name);
    scan->shard_of_prefix = shard;
}

/* Writes a row's key as a request would spell it. Returns its length. */
static size_t key_text(const struct scan *scan, const struct pil_shard *shard, const uint8_t *row,
                       char text[KEY_TEXT_BYTES]) {
    size_t len = strlen(scan->prefix);
    memcpy(text, scan->prefix, len);
    size_t rest = pil_view_key_format(shard->view, pil_shard_row_key(shard, row), text + len, KEY_TEXT_BYTES - len);
    return len + (rest < KEY_TEXT_BYTES - len ? rest : KEY_TEXT_BYTES - len);
}

/* The shard at the scan's position; skips ends of shards and views, and views that the peer may not read. NULL at the
 * end of the scan. */
static const struct pil_shard *shard_at(struct pil_scope *scope, struct scan *scan) {
    for (; scan->view < pil_cache_view_count(scope->cache); scan->view++, scan->shard = 0, scan->slot = 0) {
        const struct pil_cache_view *view = pil_cache_view_at(scope->cache, (uint32_t)scan->view);
        const struct pil_release *release = pil_scope_may_read(scope, view) ? pil_scope_live(scope, view) : NULL;
        for (; release != NULL && scan->shard < release->shard_count; scan->shard++, scan->slot = 0) {
            if (scan->slot < release->shards[scan->shard].slot_count) {
                return &release->shards[scan->shard];
            }
        }
    }
    return NULL;
}

/* Appends the key at the scan's position to the arena, preceded by its length. Returns false when there is no room. */
static bool add_key(struct pil_turn *turn, struct scan *scan, const struct pil_shard *shard, uint64_t *found) {
    struct pil_arena *arena = &turn->batch->arena;
    const uint8_t *row = pil_shard_row_at(shard, scan->slot);
    size_t mark = pil_arena_mark(arena);
    char *text = pil_arena_alloc(arena, LENGTH_BYTES + KEY_TEXT_BYTES, 1);
    if (text == NULL) {
        return false;
    }
    pil_arena_rewind(arena, mark);
    turn->work += ROW_WORK;
    scan->passed += row != NULL;
    if (row == NULL || scan->wants_none) {
        return true;
    }
    if (scan->shard_of_prefix != shard) {
        set_prefix(&turn->scope, scan, shard);
    }
    size_t len = key_text(scan, shard, row, text + LENGTH_BYTES);
    uint64_t matching = scan->glob.work;
    if (pil_glob_match(&scan->glob, pil_bytes_from(text + LENGTH_BYTES, len))) {
        pil_store_u32(text, (uint32_t)len);
        (void)pil_arena_alloc(arena, LENGTH_BYTES + len, 1); /* keeps the bytes just written */
        ++*found;
    }
    turn->work += len + scan->glob.work - matching;
    return true;
}

/* Whether the slot is within the COUNT of the scan: an empty one always is. */
static bool is_counted_in(const struct scan *scan, const struct pil_shard *shard) {
    return scan->passed < scan->count || pil_shard_row_at(shard, scan->slot) == NULL;
}

/* Collects keys in the arena, because the reply begins with their number. Returns whether the scan is at its end. */
static bool collect(struct pil_turn *turn, struct scan *scan, uint64_t *ret_found) {
    const struct pil_shard *shard = shard_at(&turn->scope, scan);
    uint64_t found = 0, work_max = turn->work + PIL_TURN_WORK_MAX;
    turn->work += scan->glob.work;
    while (shard != NULL && is_counted_in(scan, shard) && turn->work < work_max) {
        if (!add_key(turn, scan, shard, &found)) {
            break;
        }
        scan->slot++;
        shard = shard_at(&turn->scope, scan);
    }
    *ret_found = found;
    return shard == NULL;
}

static void put_keys(struct pil_sink *sink, const uint8_t *at, uint64_t count) {
    pil_resp_put_array(sink, count);
    for (; count > 0; count--) {
        uint32_t len = pil_load_u32(at);
        pil_resp_put_bulk(sink, pil_bytes_from(at + LENGTH_BYTES, len));
        at += LENGTH_BYTES + len;
    }
}

PIL_REPLY(pil_redis_reply_scan) {
    struct pil_arena *arena = &turn->batch->arena;
    size_t begin = pil_arena_mark(arena);
    struct scan scan;
    const char *error = NULL;
    if (!parse(call, &scan, &error)) {
        pil_resp_put_error(sink, error);
        return;
    }
    if (!refuse_feast_layout(scan.pattern, sink) || !pil_redis_compile(turn, scan.pattern, false, sink, &scan.glob)) {
        return;
    }
    uint64_t found = 0;
    size_t keys = pil_arena_mark(arena);
    bool is_done = collect(turn, &scan, &found);
    uint8_t cursor[24];
    struct pil_sink digits = {.at = cursor, .end = cursor + sizeof cursor};
    pil_sink_write_u64(&digits, is_done ? 0 : (scan.view << 56 | scan.shard << 40 | scan.slot) + 1);
    pil_resp_put_array(sink, 2);
    pil_resp_put_bulk(sink, pil_bytes_from(cursor, (size_t)(digits.at - cursor)));
    put_keys(sink, arena->data + keys, found);
    pil_arena_rewind(arena, begin);
}

PIL_REPLY(pil_redis_reply_keys) {
    struct pil_arena *arena = &turn->batch->arena;
    size_t begin = pil_arena_mark(arena);
    struct scan scan = {.pattern = call->args[1], .count = COUNT_MAX};
    uint64_t found = 0;
    if (!refuse_feast_layout(scan.pattern, sink) || !pil_redis_compile(turn, scan.pattern, false, sink, &scan.glob)) {
        return;
    }
    size_t keys = pil_arena_mark(arena);
    if (collect(turn, &scan, &found)) {
        put_keys(sink, arena->data + keys, found);
    } else if (scan.passed == COUNT_MAX) {
        pil_resp_put_error(
            sink,
            pil_batch_text(turn->batch, "ERR there are more rows than one KEYS may look at, %d; use SCAN", COUNT_MAX));
    } else {
        pil_resp_put_error(sink, "ERR these keys or this pattern are too much work for one KEYS; use SCAN");
    }
    pil_arena_rewind(arena, begin);
}

PIL_REPLY(pil_redis_reply_dbsize) {
    uint64_t rows = 0;
    (void)call;
    for (uint32_t i = 0; i < pil_cache_view_count(turn->scope.cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(turn->scope.cache, i);
        const struct pil_release *release =
            pil_scope_may_read(&turn->scope, view) ? pil_scope_live(&turn->scope, view) : NULL;
        rows += release != NULL ? release->row_count : 0;
    }
    pil_resp_put_integer(sink, (int64_t)rows);
}
