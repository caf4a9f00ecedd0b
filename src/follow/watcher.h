/* SPDX-License-Identifier: Apache-2.0
 * The store handle that notices changes: one descriptor for the channels and projects of all views, where the store can
 * tell. Thread: one, which polls the descriptor. */
#pragma once

#include "follow/job.h"
#include "store/store.h"

struct pil_watcher {
    const struct pil_follow_view *views; /* borrowed */
    uint32_t view_count;
    pil_status (*open)(void *context, struct pil_store **ret_store, struct pil_error *ret_error);
    void *context;
    struct pil_store *store; /* owned; NULL: it could not be opened */
    int fd;                  /* the store's; -1: the store is away, or tells of no changes */
};

/* Call before each wait: opens the store when it is not open, and follows it when its URL leads elsewhere. Cost: one
 * system call (pil_store_renew), or opening and a watch for each view, in the caller's thread: a file system that hangs
 * holds it up. */
void pil_watcher_attend(struct pil_watcher *watcher);
/* Reads the descriptor empty. Look at channels and projects after it. */
void pil_watcher_drain(struct pil_watcher *watcher);
void pil_watcher_deinit(struct pil_watcher *watcher);
