/* SPDX-License-Identifier: Apache-2.0
 * Goal: under any mix of connects, short and long writes, half-closes, resets, pauses and server-side closes, each
 * client gets back exactly what it sent, in order, and every handle is closed once. Method: an echo server on an engine
 * with random, mostly too small, sizes; a client thread that does random things and checks each byte against the
 * pattern of its stream. The model of a stream is three numbers: bytes sent, bytes echoed, whether the server chose to
 * hang up. Seeds are printed; PIL_SEED= repeats one (threads still interleave as they like), PIL_STEPS= makes it
 * longer. */
#include "unit/engine/loop.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    STREAMS_MAX = 4096, /* connections of one run */
    OPEN_MAX = 48,      /* at a time */
    BACKLOG_MAX = 8192, /* a connection with more to send is paused */
    BUFFER_BYTES = 1 << 16,
    ID_BYTES = 4, /* a stream begins with its number */
};

struct random {
    uint64_t state;
};

/* Source: Marsaglia, "Xorshift RNGs", 2003 (xorshift64*). */
static uint32_t next(struct random *random, uint32_t below) {
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return (uint32_t)((random->state * 0x2545F4914F6CDD1D) >> 33) % below;
}

struct shared {
    _Atomic(bool) was_hung_up[STREAMS_MAX]; /* set before the server closes a stream of its own will */
    _Atomic(bool) is_done;
    struct sockaddr_storage names[2];
    socklen_t name_lens[2];
    uint64_t seed;
    uint32_t steps;
    uint64_t echoed, whole_streams;
    char failure[200];
};

/* ---- the client thread ---- */

struct client {
    int fd; /* -1: none */
    uint32_t id;
    uint64_t sent, echoed;
    bool is_shut;
};

static uint8_t stream_byte(uint32_t id, uint64_t i) {
    return (uint8_t)(i < ID_BYTES ? id >> (8 * i) : pattern(id, i));
}

static bool is_over(struct shared *shared, struct client *client, bool is_clean) {
    bool was_hung_up = atomic_load(&shared->was_hung_up[client->id]);
    bool is_whole = is_clean && client->is_shut && client->echoed == client->sent;
    shared->whole_streams += is_whole;
    close(client->fd);
    client->fd = -1;
    if (!was_hung_up && !is_whole) {
        snprintf(shared->failure, sizeof shared->failure, "stream %u ended after %lu of %lu bytes", client->id,
                 (unsigned long)client->echoed, (unsigned long)client->sent);
        return false;
    }
    return true;
}

static bool client_sends(struct client *client, struct random *random) {
    uint8_t bytes[20000];
    size_t len = 1 + next(random, next(random, 8) == 0 ? sizeof bytes - 1 : 200);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = stream_byte(client->id, client->sent + i);
    }
    ssize_t sent = send(client->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    client->sent += sent > 0 ? (uint64_t)sent : 0;
    return true; /* an error shows at the next receive */
}

static bool client_receives(struct shared *shared, struct client *client, int flags) {
    uint8_t bytes[8192];
    ssize_t got = recv(client->fd, bytes, sizeof bytes, flags);
    if (got < 0 && errno == EAGAIN) {
        return true;
    }
    if (got <= 0) {
        return is_over(shared, client, got == 0);
    }
    for (ssize_t i = 0; i < got; i++, client->echoed++) {
        if (client->echoed >= client->sent || bytes[i] != stream_byte(client->id, client->echoed)) {
            snprintf(shared->failure, sizeof shared->failure, "stream %u: byte %lu is wrong", client->id,
                     (unsigned long)client->echoed);
            return false;
        }
    }
    shared->echoed += (uint64_t)got;
    return true;
}

static bool client_connects(struct shared *shared, struct client *client, struct random *random, uint32_t id) {
    uint32_t which = next(random, 2);
    *client = (struct client){.fd = connect_to(&shared->names[which], shared->name_lens[which]), .id = id};
    struct timeval limit = {.tv_sec = 20};
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    for (uint8_t byte; client->sent < ID_BYTES; client->sent++) {
        byte = stream_byte(id, client->sent);
        if (send(client->fd, &byte, 1, MSG_NOSIGNAL) != 1) {
            return false;
        }
    }
    return true;
}

static bool client_acts(struct shared *shared, struct client *client, struct random *random, uint32_t *used) {
    if (client->fd < 0) {
        return *used == STREAMS_MAX || client_connects(shared, client, random, (*used)++);
    }
    uint32_t choice = next(random, 100);
    if (choice < 45 && !client->is_shut) {
        return client_sends(client, random);
    }
    if (choice < 93) {
        return client_receives(shared, client, MSG_DONTWAIT);
    }
    if (choice < 98) {
        client->is_shut = shutdown(client->fd, SHUT_WR) == 0 || client->is_shut;
        return true;
    }
    close(client->fd); /* with or without unread bytes: an end or a reset */
    client->fd = -1;
    return true;
}

static void *run_clients(void *argument) {
    struct shared *shared = argument;
    struct random random = {shared->seed};
    struct client clients[OPEN_MAX];
    uint32_t used = 0;
    bool is_good = true;
    for (int i = 0; i < OPEN_MAX; i++) {
        clients[i].fd = -1;
    }
    for (uint32_t step = 0; step < shared->steps && is_good; step++) {
        is_good = client_acts(shared, &clients[next(&random, OPEN_MAX)], &random, &used);
    }
    /* Those who are left are played to their end: all that was sent comes back. */
    for (int i = 0; i < OPEN_MAX && is_good; i++) {
        if (clients[i].fd >= 0) {
            shutdown(clients[i].fd, SHUT_WR);
            clients[i].is_shut = true;
        }
        while (clients[i].fd >= 0 && is_good) {
            uint64_t before = clients[i].echoed;
            is_good = client_receives(shared, &clients[i], MSG_WAITALL);
            if (is_good && clients[i].fd >= 0 && clients[i].echoed == before) { /* SO_RCVTIMEO passed */
                snprintf(shared->failure, sizeof shared->failure, "stream %u is stuck", clients[i].id);
                is_good = false;
            }
        }
    }
    atomic_store(&shared->is_done, true);
    return NULL;
}

/* ---- the server ---- */

struct session {
    struct session *next;
    pil_engine_handle handle;
    bool is_sending, is_paused, has_ended, is_closing;
    uint64_t received;
    uint32_t id;
    size_t begin, end, sending; /* what is to be echoed of the bytes */
    uint8_t bytes[BUFFER_BYTES];
};

struct server {
    struct loop *loop;
    struct shared *shared;
    struct random random;
    struct session *sessions;
    uint64_t received, attached, closed;
};

static void hang_up(struct server *server, struct session *session) {
    if (!session->is_closing) {
        session->is_closing = true;
        pil_engine_close(server->loop->engine, session->handle);
    }
}

static void session_flush(struct server *server, struct session *session) {
    if (session->is_closing || session->is_sending) {
        return;
    }
    if (session->begin == session->end) {
        session->begin = session->end = 0;
        if (session->has_ended) {
            hang_up(server, session);
        }
        return;
    }
    size_t len = session->end - session->begin, cut = next(&server->random, (uint32_t)len);
    uint8_t *from = session->bytes + session->begin;
    struct iovec parts[] = {{from, cut}, {from + cut, len - cut}};
    session->is_sending = true;
    session->sending = len;
    pil_engine_send(server->loop->engine, session->handle, parts, 2);
}

static void session_received(struct server *server, struct session *session, struct pil_bytes data) {
    assert_false(session->has_ended);
    assert_true(data.len <= BUFFER_BYTES - session->end);
    memcpy(session->bytes + session->end, data.data, data.len);
    session->end += data.len;
    for (size_t i = 0; i < data.len && session->received + i < ID_BYTES; i++) {
        session->id |= (uint32_t)data.data[i] << (8 * (session->received + i));
    }
    session->received += data.len;
    server->received += data.len;
    /* Paused for its backlog, or for the fun of it. */
    if (session->end - session->begin > BACKLOG_MAX || session->end > BUFFER_BYTES / 2 ||
        next(&server->random, 50) == 0) {
        pil_engine_pause(server->loop->engine, session->handle);
        session->is_paused = true;
    }
    if (session->received >= ID_BYTES && next(&server->random, 300) == 0) {
        atomic_store(&server->shared->was_hung_up[session->id], true);
        hang_up(server, session);
    }
}

static void session_event(struct server *server, struct session *session, const struct pil_event *event) {
    assert_int_equal(event->handle, session->handle);
    if (event->kind == PIL_EVENT_CLOSED) {
        assert_true(session->is_closing);
        struct session **link = &server->sessions;
        while (*link != session) {
            link = &(*link)->next;
        }
        *link = session->next;
        free(session);
        server->closed++;
        return;
    }
    if (event->kind == PIL_EVENT_RECEIVE && session->is_closing) {
        server->received += event->data.len; /* of the same turn */
    }
    if (session->is_closing) {
        return;
    }
    if (event->kind == PIL_EVENT_RECEIVE) {
        session_received(server, session, event->data);
    } else if (event->kind == PIL_EVENT_END) {
        session->has_ended = true;
        if (event->failed) {
            hang_up(server, session);
        }
    } else {
        assert_int_equal(event->kind, PIL_EVENT_SENT);
        assert_true(session->is_sending);
        session->is_sending = false;
        if (event->failed) {
            hang_up(server, session);
            return;
        }
        assert_int_equal(event->bytes, session->sending);
        session->begin += event->bytes;
    }
    session_flush(server, session);
}

static void resume_some(struct server *server) {
    for (struct session *session = server->sessions; session != NULL; session = session->next) {
        if (session->is_paused && session->begin == session->end && next(&server->random, 3) == 0) {
            session->is_paused = false;
            pil_engine_resume(server->loop->engine, session->handle);
        }
    }
}

static void server_turn(struct server *server) {
    struct loop *loop = server->loop;
    uint32_t count = 0;
    uint64_t spin_ns = next(&server->random, 4) == 0 ? 20000 : 0;
    assert_int_equal(pil_engine_wait(loop->engine, loop->events, loop->capacity, spin_ns, 1000000, &count),
                     PIL_STATUS_OK);
    for (uint32_t i = 0; i < count; i++) {
        const struct pil_event *event = &loop->events[i];
        if (event->kind != PIL_EVENT_ACCEPT) {
            session_event(server, event->owner, event);
            continue;
        }
        struct session *session = calloc(1, sizeof *session);
        assert_non_null(session);
        assert_int_equal(pil_engine_attach(loop->engine, event->fd, session, &session->handle), PIL_STATUS_OK);
        session->next = server->sessions;
        server->sessions = session;
        server->attached++;
    }
    resume_some(server);
    if (next(&server->random, 10) == 0) {
        pil_engine_flush(loop->engine);
    }
}

static void run(void **state, uint64_t seed, uint32_t steps) {
    struct random random = {seed};
    const uint32_t completions[] = {8, 64, 0};
    struct pil_engine_options options = {
        .connections_max = 2 * OPEN_MAX + 1024,
        .submit_entries = 4U << next(&random, 6),
        .complete_entries = completions[next(&random, 3)],
        .buffer_count = 1U << next(&random, 8),
        .buffer_bytes = 64U << next(&random, 7),
        .receive_bytes_per_turn_max = 4096,
    };
    struct shared *shared = calloc(1, sizeof *shared);
    assert_non_null(shared);
    shared->seed = seed + 1;
    shared->steps = steps;
    struct server server = {.loop = loop_open_with(state, options), .shared = shared, .random = {seed + 2}};
    server.loop->capacity = 1 + next(&random, LOOP_EVENTS - 1);
    int listeners[2];
    for (int i = 0; i < 2; i++) {
        pil_engine_handle handle;
        listeners[i] = listen_at(i == 0 ? AF_UNIX : AF_INET, &shared->names[i], &shared->name_lens[i]);
        assert_int_equal(pil_engine_listen(server.loop->engine, listeners[i], NULL, &handle), PIL_STATUS_OK);
    }
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_clients, shared), 0);
    while (!atomic_load(&shared->is_done)) {
        server_turn(&server);
    }
    pthread_join(thread, NULL);
    if (shared->failure[0] != '\0') {
        fail_msg("%s", shared->failure);
    }
    for (uint64_t until_ns = pil_clock_monotonic_ns() + 10 * (uint64_t)SECOND_NS; server.sessions != NULL;) {
        assert_true(pil_clock_monotonic_ns() < until_ns); /* all clients are gone: so are their sessions soon */
        server_turn(&server);
    }
    struct pil_engine_stats stats = loop_stats(server.loop);
    print_message("%lu streams, %lu whole, %lu bytes echoed; overflows %lu, ended %lu, no buffer %lu\n",
                  (unsigned long)server.attached, (unsigned long)shared->whole_streams, (unsigned long)shared->echoed,
                  (unsigned long)stats.complete_overflows, (unsigned long)stats.multishot_ended,
                  (unsigned long)stats.buffers_empty);
    assert_int_equal(server.attached, server.closed);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.accepts, server.attached);
    assert_int_equal(stats.receive_bytes, server.received);
    assert_true(shared->echoed > 0 && shared->whole_streams > 0);
    loop_close(server.loop);
    close(listeners[0]);
    close(listeners[1]);
    free(shared);
}

static uint64_t number_from_environment(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void streams_come_back_whole(void **state) {
    uint64_t given = number_from_environment("PIL_SEED", 0);
    uint64_t seed = given != 0 ? given : pil_clock_monotonic_ns();
    uint32_t steps = (uint32_t)number_from_environment("PIL_STEPS", 20000);
    for (uint64_t round = 0; round < (given != 0 ? 1 : 10); round++, seed += 1000) {
        print_message("PIL_SEED=%lu\n", (unsigned long)seed);
        run(state, seed, steps);
    }
}

static const struct CMUnitTest tests[] = {
    BOTH(streams_come_back_whole),
};

LOOP_MAIN(tests)
