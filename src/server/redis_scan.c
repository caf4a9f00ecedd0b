/* SPDX-License-Identifier: Apache-2.0
 * SCAN and DBSIZE: over all slots of all served views. A cursor is a position, (view, shard, slot) in 8, 16 and 40
 * bits, plus 1 so that it is never 0 in the middle; it means the same as long as no release is swapped. */
#include "server/redis.h"

#include <stdio.h>

enum { COUNT_DEFAULT = 10, COUNT_MAX = 10000, KEY_TEXT_BYTES = 2 * PIL_KEY_BYTES_MAX + 2 * PIL_NAME_BYTES_MAX + 2 };

struct scan {
    uint64_t view, shard, slot;
    struct pil_bytes pattern;
    int64_t count;
    bool wants_none; /* TYPE of something that we do not have */
};

static bool parse(const struct pil_request *request, struct scan *scan, const char **ret_error) {
    int64_t cursor = 0;
    *ret_error = "ERR invalid cursor";
    if (!pil_redis_parse_i64(request->args[1], &cursor) || cursor < 0) {
        return false;
    }
    uint64_t position = cursor == 0 ? 0 : (uint64_t)cursor - 1;
    *scan = (struct scan){.view = position >> 56,
                          .shard = position >> 40 & 0xffff,
                          .slot = position & ((1ull << 40) - 1),
                          .pattern = pil_bytes_from_text("*"),
                          .count = COUNT_DEFAULT};
    *ret_error = "ERR syntax error";
    for (uint32_t i = 2; i < request->arg_count; i += 2) {
        if (i + 1 == request->arg_count) {
            return false;
        }
        struct pil_bytes name = request->args[i], value = request->args[i + 1];
        if (pil_bytes_equal_nocase(name, "match")) {
            scan->pattern = value;
        } else if (pil_bytes_equal_nocase(name, "type")) {
            scan->wants_none = !pil_bytes_equal_nocase(value, "hash");
        } else if (!pil_bytes_equal_nocase(name, "count")) {
            return false;
        } else if (!pil_redis_parse_i64(value, &scan->count)) {
            *ret_error = "ERR value is not an integer or out of range";
            return false;
        } else if (scan->count < 1) {
            return false;
        }
    }
    scan->count = scan->count < COUNT_MAX ? scan->count : COUNT_MAX;
    return true;
}

/* The text of a row's key, as a request would name it: with the project where several are served. Returns its length.
 */
static size_t key_text(const struct pil_cache *cache, const struct pil_cache_view *view,
                       const struct pil_release *release, const struct pil_shard *shard, const uint8_t *row,
                       char text[KEY_TEXT_BYTES]) {
    bool is_enough = pil_cache_view_find(cache, pil_bytes_from_text(view->name)) == view;
    size_t len = (size_t)snprintf(text, KEY_TEXT_BYTES, "%s%s%s:", is_enough ? "" : view->project, is_enough ? "" : "/",
                                  view->name);
    size_t rest = pil_view_key_format(release->view, pil_shard_row_key(shard, row), text + len, KEY_TEXT_BYTES - len);
    return len + (rest < KEY_TEXT_BYTES - len ? rest : KEY_TEXT_BYTES - len);
}

/* Steps to the next slot, over shards and views; false at the end. */
static bool step(struct pil_cache *cache, struct scan *scan, const struct pil_release **ret_release) {
    for (; scan->view < pil_cache_view_count(cache); scan->view++, scan->shard = 0, scan->slot = 0) {
        const struct pil_release *release = pil_cache_live(pil_cache_view_at(cache, (uint32_t)scan->view));
        for (; release != NULL && scan->shard < release->shard_count; scan->shard++, scan->slot = 0) {
            if (scan->slot < release->shards[scan->shard].slot_count) {
                *ret_release = release;
                return true;
            }
        }
    }
    return false;
}

/* Keys go out as they are found, so their number is only known at the end: they wait in scratch. */
PIL_REPLY(pil_redis_reply_scan) {
    struct pil_cache *cache = worker->server->cache;
    struct pil_batch *batch = worker->batch;
    struct scan scan;
    const char *error = NULL;
    if (!parse(request, &scan, &error)) {
        pil_resp_put_error(sink, error);
        return;
    }
    const struct pil_release *release = NULL;
    size_t scratch_before = batch->scratch_used;
    uint64_t found = 0;
    bool more = step(cache, &scan, &release);
    for (int64_t done = 0; more && done < scan.count; done++) {
        const struct pil_shard *shard = &release->shards[scan.shard];
        const uint8_t *row = pil_shard_row_at(shard, scan.slot);
        char *text = (char *)pil_batch_scratch(batch, 4 + KEY_TEXT_BYTES);
        if (text == NULL) {
            break; /* the cursor says where to go on */
        }
        const struct pil_cache_view *view = pil_cache_view_at(cache, (uint32_t)scan.view);
        size_t len = row != NULL ? key_text(cache, view, release, shard, row, text + 4) : 0;
        bool wanted = row != NULL && !scan.wants_none && pil_redis_match(scan.pattern, pil_bytes_from(text + 4, len));
        batch->scratch_used = (size_t)((uint8_t *)text - batch->scratch) + (wanted ? 4 + len : 0);
        if (wanted) {
            pil_store_u32(text, (uint32_t)len);
            found++;
        }
        scan.slot++;
        more = step(cache, &scan, &release);
    }
    uint8_t cursor[24];
    struct pil_sink digits = {.at = cursor, .end = cursor + sizeof cursor};
    pil_sink_write_u64(&digits, more ? (scan.view << 56 | scan.shard << 40 | scan.slot) + 1 : 0);
    pil_resp_put_array(sink, 2);
    pil_resp_put_bulk(sink, pil_bytes_from(cursor, (size_t)(digits.at - cursor)));
    pil_resp_put_array(sink, found);
    for (const uint8_t *at = batch->scratch + scratch_before; found > 0; found--) {
        uint32_t len = pil_load_u32(at);
        pil_resp_put_bulk(sink, pil_bytes_from(at + 4, len));
        at += 4 + len;
    }
    batch->scratch_used = scratch_before;
}

PIL_REPLY(pil_redis_reply_dbsize) {
    struct pil_cache *cache = worker->server->cache;
    uint64_t rows = 0;
    (void)request;
    for (uint32_t i = 0; i < pil_cache_view_count(cache); i++) {
        const struct pil_release *release = pil_cache_live(pil_cache_view_at(cache, i));
        rows += release != NULL ? release->row_count : 0;
    }
    pil_resp_put_integer(sink, (int64_t)rows);
}
