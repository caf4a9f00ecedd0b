/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/moment.h"

const struct pil_serving *pil_moment_take(struct pil_moment *moment, const struct pil_cache *cache,
                                          const struct pil_cache_view *view) {
    if (moment->taken == 0) {
        moment->publish_count = pil_cache_publish_count(cache);
    }
    moment->servings[view->index] = pil_cache_serving(view);
    moment->taken |= 1ull << view->index;
    return moment->servings[view->index];
}

/* The count is incremented after each publish. If it has not changed since before the first release was taken, at most
 * one release was published meanwhile and no other view changed: with or without that release, the set was live at one
 * time. */
bool pil_moment_pin(struct pil_moment *moment, const struct pil_cache *cache) {
    for (uint32_t i = 0; i < pil_cache_view_count(cache); i++) {
        (void)pil_moment_serving(moment, cache, pil_cache_view_at((struct pil_cache *)(uintptr_t)cache, i));
    }
    return moment->taken == 0 || moment->publish_count == pil_cache_publish_count(cache);
}
