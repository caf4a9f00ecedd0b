/* SPDX-License-Identifier: Apache-2.0
 * What mapped.c (state) and mapped_session.c (speaking with clients) share. */
#pragma once

#include "mapped/mapped.h"
#include "wire/mapped.h"

enum {
    MAPPED_HOLDS_MAX = 256, /* of one session */
    MAPPED_NAME_BYTES = 64,
    MAPPED_CGROUP_BYTES = 256,
    MAPPED_SHARDS_MAX = 4096, /* of a release: what one answer has room for in a socket's buffer, 64 in a packet */
};
PIL_STATIC_ASSERT((int)PIL_MAPPED_VIEWS_MAX == (int)PIL_SETTINGS_VIEWS_MAX);

/* A release as it was published: the live one comes first in the list of its view. */
struct pil_mapped_generation {
    struct pil_mapped_generation *next;
    uint64_t number;
    char release[PIL_RELEASE_ID_CHARS + 1];
    int64_t created_us;
    uint64_t bytes;
    int *fds; /* closed once retired */
    uint32_t shard_count;
    uint64_t retired_ns; /* 0: live */
    uint32_t holder_count;
};

struct pil_mapped_view {
    struct pil_mapped_generation *generations;
    bool is_regulated;         /* says the project, or nobody knows what it says */
    bool is_release_regulated; /* says the live release */
    bool is_project_known;
};

struct pil_mapped_hold {
    uint32_t view_index;
    struct pil_mapped_generation *generation;
    int64_t since_us;
};

struct pil_mapped_session {
    struct pil_mapped_session *next, *previous;
    int fd;
    int32_t pid;
    uint32_t uid, gid;
    char cgroup[MAPPED_CGROUP_BYTES]; /* "": not readable */
    char name[MAPPED_NAME_BYTES];
    bool is_welcome;
    bool is_paused; /* has answers that it did not read */
    uint64_t since_ns;
    struct pil_mapped_hold holds[MAPPED_HOLDS_MAX];
    uint32_t hold_count;
};

struct pil_mapped {
    struct pil_server *server;
    const struct pil_settings *settings;
    struct pil_mapped_control *page; /* writable */
    int page_fd, catalog_fd, epoll;
    int listeners[PIL_SETTINGS_LISTENERS_MAX];
    uint32_t listener_count;
    uint64_t resume_ns; /* 0: listeners are watched; else when they will be again */
    json_t *projects[PIL_SETTINGS_VIEWS_MAX];
    uint32_t project_count;
    struct pil_mapped_view views[PIL_SETTINGS_VIEWS_MAX];
    struct pil_mapped_session *sessions;
    uint32_t session_count;
};

struct pil_mapped_generation *pil_mapped_generation_find(const struct pil_mapped *mapped, uint32_t view_index,
                                                         uint64_t number);
void pil_mapped_generations_sweep(struct pil_mapped *mapped, uint32_t view_index);
void pil_mapped_listeners_watch(struct pil_mapped *mapped, bool is_watched);
/* Lets go of all that the session holds, closes and frees it. */
void pil_mapped_session_close(struct pil_mapped *mapped, struct pil_mapped_session *session);
