/* SPDX-License-Identifier: Apache-2.0
 * The serving of each view that a batch of requests answers from: the one published when the batch first used the view.
 * Valid until the worker's next quiescent state. Thread: the worker. */
#pragma once

#include "base/panic.h"
#include "cache/cache.h"

enum { PIL_MOMENT_VIEWS_MAX = 64 };

/* Zero-initialised or cleared, it holds no servings. */
struct pil_moment {
    uint64_t taken;                                           /* one bit for each view whose serving is in `servings` */
    uint64_t publish_count;                                   /* of the cache, when the first serving was taken */
    const struct pil_serving *servings[PIL_MOMENT_VIEWS_MAX]; /* NULL: nothing is published */
};

static inline void pil_moment_clear(struct pil_moment *moment) {
    moment->taken = 0;
}

/* Loads the view's serving at its first use; for pil_moment_serving. */
const struct pil_serving *pil_moment_take(struct pil_moment *moment, const struct pil_cache *cache,
                                          const struct pil_cache_view *view);
/* The view's serving at this moment; NULL: nothing is published. */
static inline const struct pil_serving *pil_moment_serving(struct pil_moment *moment, const struct pil_cache *cache,
                                                           const struct pil_cache_view *view) {
    PIL_ASSERT(view->index < PIL_MOMENT_VIEWS_MAX);
    return (moment->taken >> view->index & 1) != 0 ? moment->servings[view->index]
                                                   : pil_moment_take(moment, cache, view);
}

/* Takes the servings of all views. Returns true if they were all live at one time; false if a release was published
 * since the first one was taken: clear the moment and try again. */
bool pil_moment_pin(struct pil_moment *moment, const struct pil_cache *cache);
