/* SPDX-License-Identifier: Apache-2.0
 * The store handle that notices changes: one descriptor for the channels and projects of all views, if the store can
 * report changes. Thread: one, which polls the descriptor. */
#pragma once

#include "follow/job.h"
#include "store/store.h"

/* After a change the next one is looked for this much later: programs may change thousands of files a second, and each
 * change makes the fetcher read all channels and projects. */
#define PIL_WATCHER_PAUSE_NS 100000000ull

struct pil_watcher {
    const struct pil_follow_view *views; /* borrowed */
    uint32_t view_count;
    pil_status (*open)(void *context, struct pil_store **ret_store, struct pil_error *ret_error);
    void *context;
    struct pil_store *store; /* owned; NULL: it could not be opened */
    int fd;                  /* owned by the store; -1: the store is away or does not report changes */
    uint64_t pause_until_ns;
};

/* Call it before each wait: opens the store if it is not open, and follows its URL if that leads elsewhere by now.
 * Cost: one system call (pil_store_renew), or opening the store and one watch for each view. It runs in the caller's
 * thread: a hanging file system blocks the caller. */
void pil_watcher_attend(struct pil_watcher *watcher);
/* The descriptor to wait for; -1: none, or there was a change just now. In that case lowers *due_ns to the time by
 * which to ask again. */
int pil_watcher_descriptor(const struct pil_watcher *watcher, uint64_t now_ns, uint64_t *due_ns);
/* Reads the descriptor until it is empty. Read the channels and projects after that. */
void pil_watcher_drain(struct pil_watcher *watcher, uint64_t now_ns);
void pil_watcher_deinit(struct pil_watcher *watcher);
