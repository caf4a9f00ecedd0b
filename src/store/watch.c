/* SPDX-License-Identifier: Apache-2.0
 * To notice the creation of a missing folder, its parent must be watched, so the whole path from the root is watched,
 * each parent before its child: a folder made after the watch of its parent raises an event, and one made before is
 * found by the next step. */
#include "store/watch.h"

#include "base/panic.h"
#include "base/sys.h"
#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
    /* IN_MASK_ADD: a folder may be both a parent of one prefix and another prefix itself. */
    WAY_EVENTS =
        IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD,
    FOLDER_EVENTS = WAY_EVENTS | IN_CLOSE_WRITE, /* we rename files into place; other programs may write them in place
                                                  */
};

/* Watches the folders from the root to the prefix as far as they exist; returns false if even the root cannot be
 * watched. */
static bool arm(struct pil_watch *watch, const char *root, const char *prefix) {
    if (inotify_add_watch(watch->fd, root, prefix[0] != '\0' ? WAY_EVENTS : FOLDER_EVENTS) < 0) {
        return false;
    }
    struct pil_text path = {0};
    for (const char *slash = strchr(prefix, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        pil_text_clear(&path);
        pil_text_format(&path, "%s/%.*s", root, (int)(slash - prefix), prefix);
        uint32_t events = IN_DONT_FOLLOW | (slash[1] != '\0' ? (uint32_t)WAY_EVENTS : (uint32_t)FOLDER_EVENTS);
        if (path.failed || inotify_add_watch(watch->fd, path.data, events) < 0) {
            break;
        }
    }
    pil_text_deinit(&path);
    return true;
}

int pil_watch_add(struct pil_watch *watch, const char *root, const char *prefix) {
    if (watch->fd < 0) {
        watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    }
    if (watch->fd < 0 || !arm(watch, root, prefix)) {
        return -1;
    }
    char **prefixes = realloc(watch->prefixes, (watch->prefix_count + 1) * sizeof *watch->prefixes);
    if (prefixes == NULL) {
        return -1;
    }
    watch->prefixes = prefixes;
    prefixes[watch->prefix_count] = strdup(prefix);
    if (prefixes[watch->prefix_count] == NULL) {
        return -1;
    }
    watch->prefix_count++;
    return watch->fd;
}

void pil_watch_drain(struct pil_watch *watch, const char *root) {
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    if (watch->fd < 0) {
        return;
    }
    while (read(watch->fd, events, sizeof events) > 0) {
    }
    for (uint32_t i = 0; i < watch->prefix_count; i++) {
        (void)arm(watch, root, watch->prefixes[i]); /* a root that is gone cannot be watched */
    }
}

/* The descriptor keeps its number, so callers that poll it need not know. */
void pil_watch_move(struct pil_watch *watch, const char *root) {
    int fd = watch->fd < 0 ? -1 : inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) {
        return; /* the old watches stay; pil_watch_drain adds those of the new root */
    }
    bool is_moved = dup3(fd, watch->fd, O_CLOEXEC) == watch->fd;
    pil_sys_close(&fd);
    for (uint32_t i = 0; is_moved && i < watch->prefix_count; i++) {
        (void)arm(watch, root, watch->prefixes[i]); /* a root that is gone again cannot be watched */
    }
}

void pil_watch_deinit(struct pil_watch *watch) {
    for (uint32_t i = 0; i < watch->prefix_count; i++) {
        free(watch->prefixes[i]);
    }
    free(watch->prefixes);
    pil_sys_close(&watch->fd);
    *watch = (struct pil_watch){.fd = -1};
}
