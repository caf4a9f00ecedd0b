/* SPDX-License-Identifier: Apache-2.0
 * The mapped listener of a server without workers, and clients of it on real sockets: everything in one thread, so that
 * a test decides when the listener gets its turn. */
#pragma once

#include "base/fdpass.h"
#include "mapped/internal.h"
#include "support/cache_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MAPPED_FEATURES = 4, MAPPED_ROWS = 64 };

struct mapped_fixture {
    struct pil_settings settings; /* views p/v and p/w */
    struct pil_server *server;
    struct pil_mapped *mapped;
    struct pil_project *project;
    int listener;
    struct sockaddr_un address; /* abstract: no file is left behind */
    socklen_t address_bytes;
    uint64_t published; /* the seed of the last release */
};

/* One packet of the server. */
struct mapped_answer {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    struct pil_mapped_message message; /* its text lies in packet */
    int fds[PIL_MAPPED_FDS_MAX];
    uint32_t fd_count;
};

static inline void mapped_fixture_init(struct mapped_fixture *f) {
    static const char *const names[] = {"v", "w"};
    struct pil_error error;
    int none = -1;
    *f = (struct mapped_fixture){.settings = {.view_count = 2,
                                              .worker_count = 1,
                                              .mapped_generations_max = 3,
                                              .mapped_hold_timeout_ms = 60000,
                                              .limits = {.mapped_sessions_max = 4}},
                                 .address = {.sun_family = AF_UNIX},
                                 .address_bytes = sizeof f->address};
    for (uint32_t i = 0; i < 2; i++) {
        memcpy(f->settings.views[i].project, "p", 2);
        memcpy(f->settings.views[i].view, names[i], 2);
        memcpy(f->settings.views[i].channel, "c", 2);
    }
    f->project = fixture_project(MAPPED_FEATURES);
    PIL_ASSERT(pil_server_create(&f->settings, NULL, 0, &none, &f->server, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_mapped_create(f->server, &f->mapped, &error) == PIL_STATUS_OK);
    f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    PIL_ASSERT(f->listener >= 0);
    PIL_ASSERT(bind(f->listener, (struct sockaddr *)&f->address, sizeof(sa_family_t)) == 0); /* the kernel names it */
    PIL_ASSERT(getsockname(f->listener, (struct sockaddr *)&f->address, &f->address_bytes) == 0);
    PIL_ASSERT(listen(f->listener, 16) == 0);
    PIL_ASSERT(pil_mapped_listen(f->mapped, f->listener) == PIL_STATUS_OK);
}

static inline void mapped_fixture_deinit(struct mapped_fixture *f) {
    pil_mapped_destroy(&f->mapped);
    pil_server_destroy(&f->server);
    pil_project_destroy(&f->project);
    pil_sys_close(&f->listener);
}

/* A release of 2^bits shards, published as the server process does it. Its id ends with its number in hex. */
static inline void mapped_publish_view(struct mapped_fixture *f, uint32_t view_index, const struct pil_view *view,
                                       uint32_t bits) {
    struct pil_cache *cache = pil_server_cache(f->server);
    struct pil_release *release = NULL;
    struct pil_error error;
    char id[PIL_RELEASE_ID_CHARS + 1];
    uint32_t count = 1u << bits;
    int fds[256];
    PIL_ASSERT(count <= 256);
    for (uint32_t i = 0; i < count; i++) {
        fds[i] = fixture_shard(view, MAPPED_ROWS, f->published + 1, i, bits);
    }
    snprintf(id, sizeof id, "%016llx", (unsigned long long)++f->published);
    PIL_ASSERT(pil_cache_release_map(id, fds, count, &release, &error) == PIL_STATUS_OK);
    release->created_us = (int64_t)f->published * 1000;
    fixture_publish(cache, view_index, release);
    pil_mapped_publish(f->mapped, view_index, release, fds, count);
    pil_mapped_validate(f->mapped);
}

static inline void mapped_publish(struct mapped_fixture *f, uint32_t view_index, uint32_t bits) {
    mapped_publish_view(f, view_index, f->project->views[0].view, bits);
}

/* Connects; the session begins with the listener's next turn. */
static inline int mapped_connect(const struct mapped_fixture *f) {
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    PIL_ASSERT(fd >= 0);
    PIL_ASSERT(connect(fd, (const struct sockaddr *)&f->address, f->address_bytes) == 0);
    return fd;
}

static inline void mapped_turn(struct mapped_fixture *f) {
    for (int i = 0; i < 4; i++) { /* accept; then what came with it */
        pil_mapped_turn(f->mapped);
        pil_mapped_validate(f->mapped);
    }
}

/* The session of the client that connected last; NULL: there is none. */
static inline struct pil_mapped_session *mapped_last_session(const struct mapped_fixture *f) {
    struct pil_list_link *last = f->mapped->sessions.head.previous;
    return f->mapped->session_count > 0 ? PIL_LIST_ENTRY(struct pil_mapped_session, link, last) : NULL;
}

static inline void mapped_send(int fd, struct pil_mapped_message message) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    size_t len = pil_mapped_encode(&message, packet);
    PIL_ASSERT(send(fd, packet, len, MSG_NOSIGNAL) == (ssize_t)len);
}

static inline void mapped_answer_deinit(struct mapped_answer *answer) {
    for (uint32_t i = 0; i < answer->fd_count; i++) {
        close(answer->fds[i]);
    }
    answer->fd_count = 0;
}

/* 1: an answer. 0: none has come. -1: the server has closed the session. */
static inline int mapped_receive(int fd, struct mapped_answer *answer) {
    struct pil_fdpass_received received;
    struct pil_error error;
    answer->fd_count = 0;
    pil_status status = pil_fdpass_receive(fd, false, answer->packet, sizeof answer->packet, &received);
    if (status != PIL_STATUS_OK) {
        PIL_ASSERT(status != PIL_STATUS_TOO_LARGE && status != PIL_STATUS_SYSTEM);
        return status == PIL_STATUS_AGAIN ? 0 : -1;
    }
    answer->fd_count = received.fd_count;
    memcpy(answer->fds, received.fds, received.fd_count * sizeof received.fds[0]);
    PIL_ASSERT(pil_mapped_decode(pil_bytes_from(answer->packet, received.bytes), &answer->message, &error) ==
               PIL_STATUS_OK);
    return 1;
}
