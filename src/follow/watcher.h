/* SPDX-License-Identifier: Apache-2.0
 * The store handle that notices changes: one descriptor for the channels and projects of all views, if the store can
 * report changes. Thread: one, which polls the descriptor. */
#pragma once

#include "follow/job.h"
#include "store/store.h"

struct pil_watcher {
    const struct pil_follow_view *views; /* borrowed */
    uint32_t view_count;
    pil_status (*open)(void *context, struct pil_store **ret_store, struct pil_error *ret_error);
    void *context;
    struct pil_store *store; /* owned; NULL: it could not be opened */
    int fd;                  /* owned by the store; -1: the store is away or does not report changes */
};

/* Call it before each wait: opens the store if it is not open, and follows its URL if that leads elsewhere by now.
 * Cost: one system call (pil_store_renew), or opening the store and one watch for each view. It runs in the caller's
 * thread: a hanging file system blocks the caller. */
void pil_watcher_attend(struct pil_watcher *watcher);
/* Reads the descriptor until it is empty. Read the channels and projects after that. */
void pil_watcher_drain(struct pil_watcher *watcher);
void pil_watcher_deinit(struct pil_watcher *watcher);
