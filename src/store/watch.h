/* SPDX-License-Identifier: Apache-2.0
 * The inotify part of the directory store: one descriptor for any number of folders, which may be created and removed
 * at any time. */
#pragma once

#include <stdint.h>

struct pil_watch {
    int fd; /* -1 until the first pil_watch_add */
    char **prefixes;
    uint32_t prefix_count;
};

/* Watches root/prefix and the folders that lead to it. Returns the descriptor, or -1 when the kernel refuses. */
int pil_watch_add(struct pil_watch *watch, const char *root, const char *prefix);
/* Reads all events and watches folders that were created since. */
void pil_watch_drain(struct pil_watch *watch, const char *root);
/* Watches another root from here on, with the same prefixes. */
void pil_watch_move(struct pil_watch *watch, const char *root);
void pil_watch_deinit(struct pil_watch *watch);
