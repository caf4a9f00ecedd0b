/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/serving.h"

#include <stdlib.h>

void pil_serving_init(struct pil_serving *serving, struct pil_release *release) {
    PIL_ASSERT(release != NULL && release->view != NULL);
    *serving = (struct pil_serving){.magic = PIL_SERVING_MAGIC, .release = release};
    pil_chain_init(&serving->chain, release);
}

pil_status pil_serving_create(struct pil_release *release, struct pil_serving **ret_serving) {
    struct pil_serving *serving = malloc(sizeof *serving);
    if (serving == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    pil_serving_init(serving, release);
    *ret_serving = serving;
    return PIL_STATUS_OK;
}

void pil_serving_destroy(struct pil_serving **serving_pointer) {
    struct pil_serving *serving = *serving_pointer;
    if (serving == NULL) {
        return;
    }
    PIL_ASSERT(serving->magic == PIL_SERVING_MAGIC);
    pil_cache_release_destroy(&serving->release);
    serving->magic = 0;
    free(serving);
    *serving_pointer = NULL;
}
