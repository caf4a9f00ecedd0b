/* SPDX-License-Identifier: Apache-2.0
 * The fetcher: which release each served view should have, by its channel, and the way there: manifest, admission, a
 * private copy of each shard, verification, seal, hand over. It never publishes anything that was not verified whole,
 * and what fails leaves what is served alone. No process knowledge: what is held, admitted and handed over goes through
 * functions of the daemon. Thread: one. */
#pragma once

#include "base/bounds.h"
#include "release/channel.h"
#include "store/store.h"

struct pil_fetcher_view {
    char project[PIL_NAME_BYTES_MAX + 1];
    char view[PIL_NAME_BYTES_MAX + 1];
    char channel[PIL_NAME_BYTES_MAX + 1];
    bool is_removed; /* a slot that is not followed */
};

typedef enum pil_fetch_result {
    PIL_FETCH_OK,
    PIL_FETCH_CORRUPT,
    PIL_FETCH_WILL_NOT_FIT,
    PIL_FETCH_NOT_FOUND, /* no such channel, or it points to a release that is not there */
    PIL_FETCH_ERROR,     /* the store, or the machine */
} pil_fetch_result;
const char *pil_fetch_result_text(pil_fetch_result result);

/* One fetch, for metrics and logs. */
struct pil_fetch_report {
    pil_fetch_result result;
    const char *release; /* "" when unknown */
    const char *text;    /* why not */
    uint64_t copy_ns, verify_ns, collapse_ns;
    int64_t created_us;         /* of the release; 0: its manifest was not read */
    uint64_t bytes, huge_bytes; /* huge_bytes: of these, in huge pages */
};

struct pil_fetcher_hooks {
    void *context;
    bool use_huge_pages; /* move what was fetched into huge pages before it is handed over */
    /* Whether all shards of this release are in memory already: publishing it needs no I/O. */
    bool (*is_held)(void *context, uint32_t view_index, const char *release);
    /* Whether `bytes` more may be loaded; TOO_LARGE with the sum in *ret_error. */
    pil_status (*admit)(void *context, uint32_t view_index, const char *release, uint64_t bytes,
                        struct pil_error *ret_error);
    /* A verified, sealed shard; fd is the callee's. */
    pil_status (*hand_over)(void *context, uint32_t view_index, const char *release, uint32_t shard_index,
                            uint32_t shard_count, int fd);
    /* All shards were handed over or held: serve it. created_us is the manifest's, 0 when it was held already. */
    pil_status (*publish)(void *context, uint32_t view_index, const char *release, int64_t created_us);
    /* The channel was read with success, now. */
    void (*checked)(void *context, uint32_t view_index, const struct pil_channel *channel);
    void (*reported)(void *context, uint32_t view_index, const struct pil_fetch_report *report);
    /* The applied project changed: its document, and the first view that is of it. */
    void (*project)(void *context, uint32_t view_index, struct pil_bytes document);
    /* Whether to give up: asked between blocks. */
    bool (*is_cancelled)(void *context);
};

struct pil_fetcher;
/* Views and hooks are borrowed for the fetcher's life. */
struct pil_fetcher *pil_fetcher_create(const struct pil_fetcher_view *views, uint32_t view_count,
                                       const struct pil_fetcher_hooks *hooks);
void pil_fetcher_destroy(struct pil_fetcher **fetcher);
/* Before the first pass: what is being served already. */
void pil_fetcher_set_live(struct pil_fetcher *fetcher, uint32_t view_index, const char *release);
/* A release is no longer held. If that crossed with its being published, the next pass fetches it again. */
void pil_fetcher_dropped(struct pil_fetcher *fetcher, uint32_t view_index, const char *release);

/* Reads every channel of the store once and fetches what is due. A release that was refused is tried again after a
 * back-off of 1 s, doubling up to 60 s, or at once when the channel points elsewhere. Returns the milliseconds until
 * the next retry is due, UINT64_MAX when none waits. */
uint64_t pil_fetcher_pass(struct pil_fetcher *fetcher, struct pil_store *store);
