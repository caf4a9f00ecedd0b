/* SPDX-License-Identifier: Apache-2.0
 * A server of mapped reads for tests of libpillion: one thread, releases of the cache fixture, and knobs to misbehave.
 * It speaks what schemas/mapped.md says and nothing else of a daemon. */
#pragma once

#include "base/clock.h"
#include "support/cache_fixture.h"
#include "wire/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { SERVER_PEERS = 16, SERVER_VIEWS = 4, SERVER_SHARDS = 256 };

struct server_view {
    int fds[SERVER_SHARDS];
    uint32_t shard_count;
    char id[PIL_RELEASE_ID_CHARS + 1];
    uint64_t generation;
    int64_t created_us;
    pil_status refusal; /* OK: granted */
};

struct server {
    char path[100];
    pthread_t thread;
    pthread_mutex_t mutex;
    _Atomic bool is_ending, is_silent; /* silent: neither heartbeats nor answers */
    int listener, page_fd;
    struct pil_mapped_control *control;
    int peers[SERVER_PEERS];
    uint32_t peer_count;
    struct server_view views[SERVER_VIEWS];
    uint32_t view_count;
    char catalog[8192];
    const char *hello_refusal;
    bool has_unsealed_page;
    bool is_strict; /* grants nothing to who has not dropped all that was granted before */
    _Atomic uint64_t grants, drops, hellos;
};

static inline void server_send(int fd, const struct pil_mapped_message *message, const int *fds, uint32_t fd_count) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(PIL_MAPPED_FDS_MAX * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = packet, .iov_len = pil_mapped_encode(message, packet)};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        head.msg_control = control.bytes;
        head.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *at = CMSG_FIRSTHDR(&head);
        at->cmsg_level = SOL_SOCKET;
        at->cmsg_type = SCM_RIGHTS;
        at->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(at), fds, fd_count * sizeof(int));
    }
    (void)sendmsg(fd, &head, MSG_NOSIGNAL);
}

static inline int server_memfd(struct pil_bytes content, int seals) {
    struct pil_error error;
    int fd = -1;
    PIL_ASSERT(pil_sys_memfd_create("server", &fd, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_write_all(fd, content, &error) == PIL_STATUS_OK);
    PIL_ASSERT(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static inline void server_refuse(int peer, uint32_t view, pil_status status, const char *why) {
    struct pil_mapped_message message = {
        .type = PIL_MAPPED_REFUSE, .view = view, .code = status, .text = pil_bytes_from_text(why)};
    server_send(peer, &message, NULL, 0);
}

static inline void server_grant(struct server *server, int peer, uint32_t number) {
    struct server_view *view = &server->views[number];
    if (view->refusal != PIL_STATUS_OK) {
        server_refuse(peer, number, view->refusal, "the test says no");
        return;
    }
    if (server->is_strict && server->grants != server->drops) {
        server_refuse(peer, number, PIL_STATUS_BUSY, "drop the other first");
        return;
    }
    for (uint32_t first = 0; first < view->shard_count; first += PIL_MAPPED_FDS_MAX) {
        uint32_t left = view->shard_count - first, count = left < PIL_MAPPED_FDS_MAX ? left : PIL_MAPPED_FDS_MAX;
        struct pil_mapped_message message = {.type = PIL_MAPPED_GRANT,
                                             .view = number,
                                             .index = first,
                                             .count = view->shard_count,
                                             .generation = view->generation,
                                             .number = (uint64_t)view->created_us,
                                             .text = pil_bytes_from_text(view->id)};
        server_send(peer, &message, &view->fds[first], count);
    }
    server->grants++;
}

static inline void server_answer(struct server *server, int peer, const struct pil_mapped_message *message) {
    struct pil_mapped_message answer = {.view = message->view};
    switch (message->type) {
    case PIL_MAPPED_HELLO:
        server->hellos++;
        if (server->hello_refusal != NULL) {
            server_refuse(peer, 0, PIL_STATUS_DENIED, server->hello_refusal);
            break;
        }
        answer = (struct pil_mapped_message){
            .type = PIL_MAPPED_WELCOME, .index = PIL_MAPPED_VERSION, .count = server->view_count};
        server_send(peer, &answer, &server->page_fd, 1);
        break;
    case PIL_MAPPED_CATALOG: {
        int fd = server_memfd(pil_bytes_from_text(server->catalog), 0);
        answer = (struct pil_mapped_message){.type = PIL_MAPPED_CATALOG,
                                             .generation = atomic_load(&server->control->catalog_generation)};
        server_send(peer, &answer, &fd, 1);
        close(fd);
        break;
    }
    case PIL_MAPPED_ACQUIRE: server_grant(server, peer, message->view); break;
    case PIL_MAPPED_LOCATE:
        answer.type = PIL_MAPPED_LOCATE;
        answer.text = message->text;
        answer.number = 1000; /* every release was made at 1000, but what is published says otherwise */
        server_send(peer, &answer, NULL, 0);
        break;
    case PIL_MAPPED_DROP: server->drops++; break;
    case PIL_MAPPED_WELCOME:
    case PIL_MAPPED_GRANT:
    case PIL_MAPPED_REFUSE: PIL_UNREACHABLE("a message that only servers send");
    }
}

static inline void server_serve(struct server *server, uint32_t index) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    struct pil_mapped_message message;
    struct pil_error error;
    ssize_t got = recv(server->peers[index], packet, sizeof packet, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        close(server->peers[index]);
        server->peers[index] = server->peers[--server->peer_count];
    } else if (got > 0) {
        PIL_ASSERT(pil_mapped_decode(pil_bytes_from(packet, (size_t)got), &message, &error) == PIL_STATUS_OK);
        server_answer(server, server->peers[index], &message);
    }
}

static inline void *server_run(void *context) {
    struct server *server = context;
    while (!server->is_ending) {
        struct pollfd fds[SERVER_PEERS + 1] = {{.fd = server->listener, .events = POLLIN}};
        for (uint32_t i = 0; i < server->peer_count; i++) {
            fds[i + 1] = (struct pollfd){.fd = server->peers[i], .events = POLLIN};
        }
        if (server->is_silent) {
            usleep(1000);
            continue;
        }
        atomic_store(&server->control->heartbeat_ns, pil_clock_monotonic_ns());
        (void)poll(fds, server->peer_count + 1, 20);
        pthread_mutex_lock(&server->mutex);
        for (uint32_t i = server->peer_count; i-- > 0;) {
            if (fds[i + 1].revents != 0) {
                server_serve(server, i);
            }
        }
        if (fds[0].revents != 0 && server->peer_count < SERVER_PEERS) {
            int peer = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
            if (peer >= 0) {
                server->peers[server->peer_count++] = peer;
            }
        }
        pthread_mutex_unlock(&server->mutex);
    }
    return NULL;
}

/* Takes the descriptors. */
static inline void server_publish(struct server *server, uint32_t number, const int *fds, uint32_t count,
                                  const char *id) {
    pthread_mutex_lock(&server->mutex);
    struct server_view *view = &server->views[number];
    for (uint32_t i = 0; i < view->shard_count; i++) {
        close(view->fds[i]);
    }
    memcpy(view->fds, fds, count * sizeof fds[0]);
    view->shard_count = count;
    view->generation++;
    view->created_us = (int64_t)view->generation * 500;
    snprintf(view->id, sizeof view->id, "%s", id);
    atomic_store_explicit(&server->control->views[number].generation, view->generation, memory_order_release);
    pthread_mutex_unlock(&server->mutex);
}

/* Rows 0 .. row_count - 1 with fixture_value(key, feature, seed); the id is the seed in hex. */
static inline void server_publish_seed(struct server *server, uint32_t number, const struct pil_view *view,
                                       uint64_t row_count, uint64_t seed, uint32_t shard_bits) {
    int fds[SERVER_SHARDS];
    char id[PIL_RELEASE_ID_CHARS + 1];
    for (uint32_t i = 0; i < 1u << shard_bits; i++) {
        fds[i] = fixture_shard(view, row_count, seed, i, shard_bits);
    }
    snprintf(id, sizeof id, "%016llx", (unsigned long long)seed);
    server_publish(server, number, fds, 1u << shard_bits, id);
}

static inline void server_make_page(struct server *server) {
    struct pil_mapped_control control = {.magic = PIL_MAPPED_CONTROL_MAGIC,
                                         .version = PIL_MAPPED_VERSION,
                                         .daemon_id = pil_clock_monotonic_ns(),
                                         .view_count = server->view_count};
    atomic_init(&control.state, PIL_MAPPED_SERVING);
    atomic_init(&control.catalog_generation, 1);
    atomic_init(&control.heartbeat_ns, pil_clock_monotonic_ns());
    server->page_fd = server_memfd(pil_bytes_from(&control, sizeof control), 0);
    server->control = mmap(NULL, sizeof control, PROT_READ | PROT_WRITE, MAP_SHARED, server->page_fd, 0);
    PIL_ASSERT(server->control != MAP_FAILED);
    int seals = PIL_SYS_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    PIL_ASSERT(server->has_unsealed_page || fcntl(server->page_fd, F_ADD_SEALS, seals) == 0);
}

/* The path stays when the server stops, so that another can follow. Knobs are set before. */
static inline void server_start(struct server *server, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(server->path, sizeof server->path, "%s", path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    unlink(path);
    server->is_ending = false;
    server->peer_count = 0;
    pthread_mutex_init(&server->mutex, NULL);
    server_make_page(server);
    server->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    PIL_ASSERT(server->listener >= 0);
    PIL_ASSERT(bind(server->listener, (const struct sockaddr *)&address, sizeof address) == 0);
    PIL_ASSERT(listen(server->listener, 16) == 0);
    PIL_ASSERT(pthread_create(&server->thread, NULL, server_run, server) == 0);
}

static inline void server_stop(struct server *server) {
    server->is_ending = true;
    pthread_join(server->thread, NULL);
    close(server->listener);
    close(server->page_fd);
    munmap(server->control, sizeof *server->control);
    for (uint32_t i = 0; i < server->peer_count; i++) {
        close(server->peers[i]);
    }
    for (uint32_t v = 0; v < SERVER_VIEWS; v++) {
        for (uint32_t i = 0; i < server->views[v].shard_count; i++) {
            close(server->views[v].fds[i]);
        }
        server->views[v].shard_count = 0;
        server->views[v].generation = 0;
    }
    unlink(server->path);
    pthread_mutex_destroy(&server->mutex);
}
