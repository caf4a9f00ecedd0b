/* SPDX-License-Identifier: Apache-2.0 */
#include "follow/watcher.h"

#include <string.h>

static int watch_all(const struct pil_watcher *watcher) {
    int fd = pil_store_watch(watcher->store, PIL_LAYOUT_PROJECTS);
    for (uint32_t i = 0; i < watcher->view_count && fd >= 0; i++) {
        struct pil_release_ref ref = {0};
        char prefix[PIL_STORE_NAME_BYTES];
        memcpy(ref.project, watcher->views[i].project, sizeof ref.project);
        memcpy(ref.view, watcher->views[i].view, sizeof ref.view);
        pil_layout_channels(&ref, prefix);
        fd = pil_store_watch(watcher->store, prefix);
    }
    return fd;
}

void pil_watcher_attend(struct pil_watcher *watcher) {
    if (watcher->store != NULL) {
        pil_ignore(pil_store_renew(watcher->store, NULL), "channels are polled, and say what is wrong");
        return;
    }
    watcher->fd = -1;
    if (watcher->open(watcher->context, &watcher->store, NULL) == PIL_STATUS_OK) {
        watcher->fd = watch_all(watcher);
    }
}

int pil_watcher_descriptor(const struct pil_watcher *watcher, uint64_t now_ns, uint64_t *due_ns) {
    if (watcher->fd < 0 || now_ns >= watcher->pause_until_ns) {
        return watcher->fd;
    }
    *due_ns = watcher->pause_until_ns < *due_ns ? watcher->pause_until_ns : *due_ns;
    return -1;
}

void pil_watcher_drain(struct pil_watcher *watcher, uint64_t now_ns) {
    watcher->pause_until_ns = now_ns + PIL_WATCHER_PAUSE_NS;
    if (watcher->store != NULL) {
        pil_store_changed(watcher->store);
    }
}

void pil_watcher_deinit(struct pil_watcher *watcher) {
    pil_store_close(&watcher->store);
    watcher->fd = -1;
}
