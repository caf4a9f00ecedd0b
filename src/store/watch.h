/* SPDX-License-Identifier: Apache-2.0
 * The inotify part of the directory store: one descriptor over any number of folders, which may come, go and come back.
 */
#pragma once

#include <stdint.h>

struct pil_watch {
    int fd; /* -1 until the first pil_watch_add */
    char **prefixes;
    uint32_t prefix_count;
};

/* Watches root/prefix and the folders that lead to it. Returns the descriptor, or -1 when the kernel refuses. */
int pil_watch_add(struct pil_watch *watch, const char *root, const char *prefix);
/* Reads the events empty and watches folders that have come since. */
void pil_watch_drain(struct pil_watch *watch, const char *root);
/* The folder that is watched is another one from here on; its prefixes stay. */
void pil_watch_move(struct pil_watch *watch, const char *root);
void pil_watch_deinit(struct pil_watch *watch);
