/* SPDX-License-Identifier: Apache-2.0
 * Goal: whatever is too small (completion ring, submission ring, buffers, descriptors, an unfair sender's patience),
 * nothing is lost or reordered and nobody starves. Method: engines made too small on purpose, the counters that prove
 * that the narrow place was met, and turns counted instead of time. */
#include "loop.h"

#include <sys/resource.h>
#include <sys/wait.h>

enum { PEERS = 32, LEN = 4000 };

static bool is_uring(void **state) {
    return *(const pil_engine_kind *)*state == PIL_ENGINE_IO_URING;
}

static void fill(uint8_t *bytes, size_t len, uint64_t stream) {
    for (size_t i = 0; i < len; i++) {
        bytes[i] = pattern(stream, i);
    }
}

/* Many clients send LEN bytes each in pieces of `piece`; all echoes must be whole. */
static void exchange(struct loop *loop, size_t piece) {
    struct peer *peers[PEERS];
    uint8_t bytes[LEN];
    for (size_t i = 0; i < PEERS; i++) {
        peers[i] = peer_open(loop, LEN);
    }
    for (size_t at = 0; at < LEN; at += piece) {
        for (size_t i = 0; i < PEERS; i++) {
            fill(bytes, LEN, i);
            client_write(peers[i]->client, bytes + at, LEN - at < piece ? LEN - at : piece);
        }
        loop_turn_for(loop, 0, 0);
    }
    for (size_t i = 0; i < PEERS; i++) {
        shutdown(peers[i]->client, SHUT_WR);
        LOOP_UNTIL(loop, peers[i]->sent == LEN && peers[i]->ends == 1);
        fill(bytes, LEN, i);
        assert_memory_equal(peers[i]->bytes, bytes, LEN);
        uint8_t back[LEN];
        assert_int_equal(client_read(peers[i]->client, back, LEN), LEN);
        assert_memory_equal(back, bytes, LEN);
    }
    for (size_t i = 0; i < PEERS; i++) {
        peer_finish(peers[i]);
    }
}

static void loses_nothing_with_completion_ring_of_8(void **state) {
    struct pil_engine_options options = {
        .submit_entries = 8, .complete_entries = 8, .buffer_bytes = 64, .buffer_count = 256};
    struct loop *loop = loop_open_with(state, options);
    exchange(loop, 500);
    struct pil_engine_stats stats = loop_stats(loop);
    if (is_uring(state)) {
        assert_true(stats.complete_overflows > 0);
        assert_true(stats.multishot_ended > 0); /* a full ring ends multishot receives without an error */
    }
    assert_int_equal(stats.receive_bytes, (uint64_t)PEERS * LEN);
    assert_int_equal(stats.send_bytes, (uint64_t)PEERS * LEN);
    loop_close(loop);
}

static void loses_nothing_with_two_buffers(void **state) {
    struct pil_engine_options options = {.buffer_bytes = 64, .buffer_count = 2};
    struct loop *loop = loop_open_with(state, options);
    exchange(loop, 1000);
    assert_true(loop_stats(loop).buffers_empty > 0);
    assert_int_equal(loop_stats(loop).receive_bytes, (uint64_t)PEERS * LEN);
    loop_close(loop);
}

static void loses_nothing_when_everything_is_tiny(void **state) {
    struct pil_engine_options options = {.submit_entries = 2,
                                         .complete_entries = 2,
                                         .buffer_bytes = 16,
                                         .buffer_count = 1,
                                         .receive_bytes_per_turn_max = 1};
    struct loop *loop = loop_open_with(state, options);
    loop->capacity = 1;
    exchange(loop, 4000);
    loop_close(loop);
}

/* Keeps the flooder's socket full. */
static void flood(int client) {
    static const uint8_t bytes[65536];
    while (send(client, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
}

static void answers_others_while_one_floods(void **state) {
    enum { TURNS_MAX = 16, PINGS = 100, FLOODERS = 3 };
    /* Fewer buffers than one flooder fills, and few events a turn: every way to be crowded out. */
    struct pil_engine_options options = {.buffer_bytes = 1024, .buffer_count = 16, .receive_bytes_per_turn_max = 4096};
    struct loop *loop = loop_open_with(state, options);
    loop->capacity = 8;
    struct peer *flooders[FLOODERS];
    for (int i = 0; i < FLOODERS; i++) {
        flooders[i] = peer_open(loop, 1 << 20);
        flooders[i]->echoes = false;
        flood(flooders[i]->client);
    }
    loop_turn_for(loop, 0, 0);
    struct peer *pinger = peer_open(loop, PINGS); /* behind all of them */
    for (int ping = 0; ping < PINGS; ping++) {
        client_write(pinger->client, "p", 1);
        uint8_t back;
        int turns = 0;
        while (client_read(pinger->client, &back, 1) != 1) {
            for (int i = 0; i < FLOODERS; i++) {
                flood(flooders[i]->client);
                flooders[i]->received = 0;
            }
            assert_in_range(++turns, 1, TURNS_MAX);
            loop_turn_for(loop, 0, 0);
        }
    }
    for (int i = 0; i < FLOODERS; i++) {
        peer_finish(flooders[i]);
    }
    peer_finish(pinger);
    loop_close(loop);
}

static void share_of_one_turn_is_bounded(void **state) {
    struct pil_engine_options options = {.buffer_bytes = 1024, .buffer_count = 64, .receive_bytes_per_turn_max = 4096};
    struct loop *loop = loop_open_with(state, options);
    struct peer *peer = peer_open(loop, 1 << 20);
    peer->echoes = false;
    for (int i = 0; i < 100; i++) {
        size_t before = peer->received = 0;
        flood(peer->client);
        loop_turn_for(loop, 0, 0);
        assert_in_range(peer->received - before, 0, 4096);
    }
    assert_true(loop_stats(loop).receive_bytes >= 90 * 4096);
    peer_finish(peer);
    loop_close(loop);
}

static void survives_ten_thousand_connects(void **state) {
    struct loop *loop = loop_open(state);
    struct sockaddr_storage name;
    socklen_t len;
    int listener = listen_at(AF_UNIX, &name, &len);
    pil_engine_handle handle;
    assert_int_equal(pil_engine_listen(loop->engine, listener, NULL, &handle), PIL_STATUS_OK);
    for (int i = 0; i < 10000; i++) {
        int client = connect_to(&name, len);
        LOOP_UNTIL(loop, loop->accepted_count == 1);
        struct peer *peer = peer_attach(loop, loop->accepted[0], client, 64);
        loop->accepted_count = 0;
        if (i % 3 == 0) {
            client_write(client, "x", 1);
        }
        if (i % 2 == 0) {
            close(client);
            peer->client = -1;
            LOOP_UNTIL(loop, peer->ends == 1);
        }
        peer_finish(peer);
    }
    struct pil_engine_stats stats = loop_stats(loop);
    assert_int_equal(stats.accepts, 10000);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.accept_failures + stats.refused, 0);
    close(listener);
    loop_close(loop);
}

/* The server of sheds_clients_when_descriptors_run_out, in a process of its own because of its limit. Asserts by abort.
 */
static void serve_with_few_descriptors(struct loop *loop, int listener, int commands) {
    struct rlimit limit = {24, 24};
    pil_engine_handle listening, watching;
    bool is_good = setrlimit(RLIMIT_NOFILE, &limit) == 0 &&
                   pil_engine_listen(loop->engine, listener, NULL, &listening) == PIL_STATUS_OK &&
                   pil_engine_watch(loop->engine, commands, NULL, &watching) == PIL_STATUS_OK;
    uint32_t turns = 0;
    while (is_good) {
        uint32_t count = 0;
        is_good = pil_engine_wait(loop->engine, loop->events, LOOP_EVENTS, 0, UINT64_MAX, &count) == PIL_STATUS_OK;
        turns++;
        for (uint32_t i = 0; i < count; i++) {
            if (loop->events[i].kind == PIL_EVENT_ACCEPT) {
                loop->accepted[loop->accepted_count++] = loop->events[i].fd;
            } else if (loop->events[i].kind == PIL_EVENT_READABLE) {
                char command = 0;
                if (read(commands, &command, 1) != 1) {
                    /* No wild turning while there were no descriptors. */
                    _exit(loop_stats(loop).accept_failures > 0 && turns < 500 ? 0 : 1);
                }
                while (loop->accepted_count > 0) { /* any command: let go of all */
                    close(loop->accepted[--loop->accepted_count]);
                }
            }
        }
    }
    _exit(2);
}

static void expect_end(int client) {
    char byte;
    struct pollfd pollfd = {.fd = client, .events = POLLIN};
    assert_int_equal(poll(&pollfd, 1, 10000), 1);
    assert_int_equal(recv(client, &byte, 1, 0), 0);
}

static void sheds_clients_when_descriptors_run_out(void **state) {
    enum { CLIENTS = 40 };
    if (is_uring(state) && !loop_has_uring) {
        skip();
    }
    struct sockaddr_storage name;
    socklen_t len;
    int listener = listen_at(AF_UNIX, &name, &len), commands[2], clients[CLIENTS];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, commands), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(commands[1]);
        serve_with_few_descriptors(loop_open(state), listener, commands[0]);
    }
    close(commands[0]);
    close(listener);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = connect_to(&name, len);
    }
    expect_end(clients[CLIENTS - 1]); /* there was no number for it: it is told so, instead of waiting */
    client_write(commands[1], "!", 1);
    for (int i = 0; i < CLIENTS; i++) {
        expect_end(clients[i]);
        close(clients[i]);
    }
    clients[0] = connect_to(&name, len); /* and the listener lives */
    client_write(commands[1], "!", 1);
    usleep(300000); /* longer than a rest: it is accepted by now */
    client_write(commands[1], "!", 1);
    expect_end(clients[0]);
    close(clients[0]);
    close(commands[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static const struct CMUnitTest tests[] = {
    BOTH(loses_nothing_with_completion_ring_of_8),
    BOTH(loses_nothing_with_two_buffers),
    BOTH(loses_nothing_when_everything_is_tiny),
    BOTH(answers_others_while_one_floods),
    BOTH(share_of_one_turn_is_bounded),
    BOTH(survives_ten_thousand_connects),
    BOTH(sheds_clients_when_descriptors_run_out),
};

LOOP_MAIN(tests)
