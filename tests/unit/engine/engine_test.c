/* SPDX-License-Identifier: Apache-2.0
 * Goal: both back ends keep the contract of engine.h: what arrives, in which order, what closing, pausing, half-closing
 * and waking mean. Method: each test runs on io_uring and on epoll, with real sockets whose other end is in the same
 * thread. */
#include "loop.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>

static void expect_echo(struct loop *loop, struct peer *peer, size_t len) {
    uint8_t back[65536];
    size_t got = 0;
    uint64_t until_ns = pil_clock_monotonic_ns() + 10 * (uint64_t)SECOND_NS;
    while (got < len) {
        assert_true(pil_clock_monotonic_ns() < until_ns);
        loop_turn(loop);
        ssize_t more = client_read(peer->client, back, sizeof back);
        for (ssize_t i = 0; i < more; i++) {
            assert_int_equal(back[i], peer->bytes[got + (size_t)i]);
        }
        got += more > 0 ? (size_t)more : 0;
    }
    assert_int_equal(got, len);
}

static void echoes_over_pair_unix_and_tcp(void **state) {
    struct loop *loop = loop_open(state);
    const int families[] = {AF_UNSPEC, AF_UNIX, AF_INET};
    for (size_t i = 0; i < 3; i++) {
        struct peer *peer;
        if (families[i] == AF_UNSPEC) {
            peer = peer_open(loop, 65536);
        } else {
            struct sockaddr_storage name;
            socklen_t len;
            int listener = listen_at(families[i], &name, &len);
            pil_engine_handle handle;
            assert_int_equal(pil_engine_listen(loop->engine, listener, NULL, &handle), PIL_STATUS_OK);
            int client = connect_to(&name, len);
            LOOP_UNTIL(loop, loop->accepted_count == 1);
            peer = peer_attach(loop, loop->accepted[0], client, 65536);
            loop->accepted_count = 0;
            pil_engine_close(loop->engine, handle);
            loop_turn(loop);
            close(listener);
        }
        client_write(peer->client, "hello engine", 12);
        expect_echo(loop, peer, 12);
        assert_memory_equal(peer->bytes, "hello engine", 12);
        peer_finish(peer);
    }
    loop_close(loop);
}

static void takes_one_byte_at_a_time(void **state) {
    struct loop *loop = loop_open(state);
    struct peer *peer = peer_open(loop, 512);
    for (int i = 0; i < 300; i++) {
        uint8_t byte = pattern(1, (uint64_t)i), back;
        client_write(peer->client, &byte, 1);
        LOOP_UNTIL(loop, peer->sent == (size_t)i + 1);
        assert_int_equal(client_read(peer->client, &back, 1), 1);
        assert_int_equal(back, byte);
    }
    assert_int_equal(peer->receives, 300);
    peer_finish(peer);
    loop_close(loop);
}

static void answers_after_half_close(void **state) {
    struct loop *loop = loop_open(state);
    struct peer *peer = peer_open(loop, 64);
    peer->echoes = false;
    client_write(peer->client, "last words", 10);
    shutdown(peer->client, SHUT_WR);
    LOOP_UNTIL(loop, peer->ends == 1);
    assert_int_equal(peer->ends_failed, 0);
    assert_int_equal(peer->received, 10);
    for (int i = 0; i < 3; i++) { /* the end is told once and does not keep the loop awake */
        loop_turn(loop);
        assert_int_equal(loop->count, 0);
    }
    assert_true(loop_stats(loop).parks > 0);
    peer->echoes = true;
    peer_flush(peer);
    expect_echo(loop, peer, 10);
    peer_finish(peer);
    loop_close(loop);
}

/* A receive that waits is woken by bytes and end together; having taken the last bytes, a kernel may forget the end. */
static void sees_end_right_behind_bytes(void **state) {
    enum { PIECE = 64, PIECES_MAX = 120 };
    struct loop *loop = loop_open_with(state, (struct pil_engine_options){.buffer_bytes = PIECE, .buffer_count = 256});
    uint8_t bytes[PIECE * PIECES_MAX] = {0};
    for (size_t len = 3; len < sizeof bytes; len += len < 200 ? 3 : PIECE - 1) {
        struct peer *peer = peer_open(loop, sizeof bytes);
        peer->echoes = false;
        loop_turn_for(loop, 0, 0); /* the receive waits */
        client_write(peer->client, bytes, len);
        if (len % 2 == 0) {
            shutdown(peer->client, SHUT_WR);
        } else {
            close(peer->client);
            peer->client = -1;
        }
        LOOP_UNTIL(loop, peer->ends == 1);
        assert_int_equal(peer->received, len);
        peer_finish(peer);
    }
    loop_close(loop);
}

static void reports_reset_as_failed_end(void **state) {
    struct loop *loop = loop_open(state);
    struct peer *peer = peer_open(loop, 64);
    peer->echoes = false;
    struct iovec part = {"unread", 6};
    peer->is_sending = true;
    peer->sending = 6;
    pil_engine_send(loop->engine, peer->handle, &part, 1);
    LOOP_UNTIL(loop, peer->sents == 1);
    close(peer->client); /* with unread bytes: a reset */
    peer->client = -1;
    LOOP_UNTIL(loop, peer->ends == 1);
    assert_int_equal(peer->ends_failed, 1);
    peer->is_sending = true;
    pil_engine_send(loop->engine, peer->handle, &part, 1);
    LOOP_UNTIL(loop, peer->sents == 2);
    assert_int_equal(peer->sends_failed, 1);
    peer_finish(peer);
    loop_close(loop);
}

static void sends_more_than_socket_holds_to_slow_reader(void **state) {
    enum { LEN = 4 << 20 };
    struct loop *loop = loop_open(state);
    struct peer *peer = peer_open(loop, LEN), *other = peer_open(loop, 4096);
    for (size_t i = 0; i < LEN; i++) {
        peer->bytes[i] = pattern(2, i);
    }
    peer->received = LEN;
    peer_flush(peer);
    uint8_t back[50000];
    size_t got = 0;
    while (got < LEN) {
        client_write(other->client, "x", 1); /* somebody else is served all the while */
        LOOP_UNTIL(loop, other->sent == other->received && other->received > 0);
        assert_int_equal(client_read(other->client, back, sizeof back), 1);
        other->received = other->sent = 0;
        ssize_t more = client_read(peer->client, back, sizeof back);
        for (ssize_t i = 0; i < more; i++) {
            if (back[i] != pattern(2, got + (size_t)i)) {
                fail_msg("byte %zu is wrong", got + (size_t)i);
            }
        }
        got += more > 0 ? (size_t)more : 0;
    }
    LOOP_UNTIL(loop, peer->sents == 1);
    assert_int_equal(peer->sent, LEN);
    assert_int_equal(loop_stats(loop).send_bytes, LEN + other->sents);
    peer_finish(peer);
    peer_finish(other);
    loop_close(loop);
}

static uint32_t thread_count(void) {
    uint32_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    while (readdir(tasks) != NULL) {
        count++;
    }
    closedir(tasks);
    return count - 2; /* . and .. */
}

/* Where io_uring polls by itself, the peer's half-close makes it believe that there is room all the time. */
static void waits_quietly_for_half_closed_peer_to_read(void **state) {
    enum { LEN = 1 << 20 };
    struct loop *loop = loop_open(state);
    struct peer *peer = peer_open(loop, LEN);
    uint32_t threads = thread_count();
    for (size_t i = 0; i < LEN; i++) {
        peer->bytes[i] = pattern(5, i);
    }
    shutdown(peer->client, SHUT_WR);
    peer->received = LEN;
    peer_flush(peer);
    LOOP_UNTIL(loop, peer->ends == 1);
    loop_turn(loop);
    loop_turn(loop);
    struct pil_engine_stats before = loop_stats(loop);
    for (int i = 0; i < 10; i++) {
        loop_turn(loop);
        assert_int_equal(loop->count, 0);
    }
    assert_in_range(loop_stats(loop).enters - before.enters, 0, 10);
    assert_int_equal(loop_stats(loop).parks - before.parks, 10);
    assert_int_equal(thread_count(), threads);
    uint8_t back[5000];
    for (size_t got = 0; got < LEN;) {
        ssize_t more = client_read(peer->client, back, sizeof back);
        for (ssize_t i = 0; i < more; i++) {
            if (back[i] != pattern(5, got + (size_t)i)) {
                fail_msg("byte %zu is wrong", got + (size_t)i);
            }
        }
        got += more > 0 ? (size_t)more : 0;
        loop_turn_for(loop, 0, more > 0 ? 0 : SECOND_NS / 100);
    }
    LOOP_UNTIL(loop, peer->sents == 1);
    assert_int_equal(peer->sends_failed, 0);
    assert_int_equal(thread_count(), threads);
    peer_finish(peer);
    loop_close(loop);
}

/* A send that waited once must not make those after it believe that there is room. */
static void waits_quietly_each_time_the_socket_is_full(void **state) {
    enum { LEN = 1 << 20 };
    struct loop *loop = loop_open(state);
    for (int round = 0; round < 2; round++) {
        struct peer *peer = peer_open(loop, LEN);
        static uint8_t back[65536];
        for (int time = 0; time < 3; time++) {
            peer->received = LEN;
            peer->sent = 0;
            peer_flush(peer);
            loop_turn_for(loop, 0, 0);
            struct pil_engine_stats before = loop_stats(loop);
            for (int i = 0; i < 5; i++) {
                loop_turn(loop);
                assert_int_equal(loop->count, 0);
            }
            assert_in_range(loop_stats(loop).enters - before.enters, 5, 6);
            for (size_t got = 0; got < LEN;) {
                ssize_t more = client_read(peer->client, back, sizeof back);
                got += more > 0 ? (size_t)more : 0;
                loop_turn_for(loop, 0, more > 0 ? 0 : SECOND_NS / 100);
            }
            LOOP_UNTIL(loop, peer->sents == (uint32_t)time + 1);
        }
        peer_finish(peer);
    }
    loop_close(loop);
}

static void sends_nothing_at_once(void **state) {
    struct loop *loop = loop_open(state);
    struct peer *peer = peer_open(loop, 64);
    peer->is_sending = true;
    pil_engine_send(loop->engine, peer->handle, &(struct iovec){"", 0}, 1);
    loop_turn_for(loop, 0, UINT64_MAX);
    assert_int_equal(peer->sents, 1);
    peer_finish(peer);
    loop_close(loop);
}

static void pause_keeps_bytes_until_resume(void **state) {
    struct loop *loop = loop_open_with(state, (struct pil_engine_options){.buffer_bytes = 64, .buffer_count = 8});
    struct peer *peer = peer_open(loop, 65536);
    peer->echoes = false;
    uint8_t sent[4000];
    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = pattern(3, i);
    }
    client_write(peer->client, sent, 1000);
    loop->capacity = 1;
    LOOP_UNTIL(loop, peer->received > 0);
    pil_engine_pause(loop->engine, peer->handle);
    pil_engine_pause(loop->engine, peer->handle);
    loop->capacity = LOOP_EVENTS;
    client_write(peer->client, sent + 1000, 3000);
    shutdown(peer->client, SHUT_WR);
    size_t before = peer->received;
    for (int i = 0; i < 5; i++) {
        loop_turn(loop);
        assert_int_equal(loop->count, 0);
    }
    assert_int_equal(peer->received, before);
    /* Its bytes occupy none of the eight buffers: somebody else is served. */
    struct peer *other = peer_open(loop, 4096);
    client_write(other->client, sent, 2000);
    LOOP_UNTIL(loop, other->sent == 2000);
    pil_engine_resume(loop->engine, peer->handle);
    pil_engine_resume(loop->engine, peer->handle);
    LOOP_UNTIL(loop, peer->ends == 1);
    assert_int_equal(peer->received, sizeof sent);
    assert_memory_equal(peer->bytes, sent, sizeof sent);
    peer_finish(peer);
    peer_finish(other);
    loop_close(loop);
}

/* The bytes of the RECEIVE event that this turn has for the peer. */
static struct pil_bytes received_now(struct loop *loop, const struct peer *peer) {
    for (uint32_t i = 0; i < loop->count; i++) {
        if (loop->events[i].kind == PIL_EVENT_RECEIVE && loop->events[i].owner == peer) {
            return loop->events[i].data;
        }
    }
    fail_msg("nothing was received");
    return (struct pil_bytes){0};
}

/* Of four buffers, all are kept in turn: others are served from the rest, the kept bytes stay, and all come back. */
static void kept_bytes_stay_until_they_are_given_back(void **state) {
    enum { BUFFER = 64, COUNT = 4, OTHER = 4000 };
    struct loop *loop =
        loop_open_with(state, (struct pil_engine_options){.buffer_bytes = BUFFER, .buffer_count = COUNT});
    struct peer *peer = peer_open(loop, 4096), *other = peer_open(loop, COUNT * OTHER);
    struct pil_piece *kept = NULL;
    const uint8_t *places[COUNT - 1];
    uint8_t sent[OTHER];
    peer->echoes = false;
    for (uint32_t i = 0; i < COUNT - 1; i++) {
        uint8_t bytes[BUFFER];
        memset(bytes, 'a' + (int)i, sizeof bytes);
        client_write(peer->client, bytes, sizeof bytes);
        LOOP_UNTIL(loop, peer->received == (i + 1) * sizeof bytes);
        places[i] = received_now(loop, peer).data;
        pil_engine_keep(loop->engine, bytes, &kept); /* no bytes of the engine */
        pil_engine_keep(loop->engine, places[i] + 1, &kept);
        pil_engine_keep(loop->engine, places[i], &kept); /* kept already */
        for (uint32_t k = 0; k < sizeof sent; k++) {
            sent[k] = pattern(i, k);
        }
        client_write(other->client, sent, sizeof sent);
        LOOP_UNTIL(loop, other->sent == (i + 1) * sizeof sent);
        assert_memory_equal(other->bytes + i * sizeof sent, sent, sizeof sent);
        for (uint32_t k = 0; k <= i; k++) {
            memset(bytes, 'a' + (int)k, sizeof bytes);
            assert_memory_equal(places[k], bytes, sizeof bytes);
        }
    }
    pil_engine_give_back(loop->engine, &kept);
    assert_null(kept);
    for (uint32_t i = 0; i < COUNT; i++) { /* four at once */
        client_write(peer->client, sent, BUFFER);
    }
    LOOP_UNTIL(loop, peer->received == (2 * COUNT - 1) * BUFFER);
    peer_finish(peer);
    peer_finish(other);
    loop_close(loop);
}

static void pause_and_resume_at_random_lose_nothing(void **state) {
    enum { LEN = 300000 };
    struct loop *loop = loop_open_with(state, (struct pil_engine_options){.buffer_bytes = 128, .buffer_count = 4});
    struct peer *peer = peer_open(loop, LEN);
    peer->echoes = false;
    uint8_t chunk[1000];
    size_t written = 0;
    while (peer->received < LEN) {
        size_t len = LEN - written < sizeof chunk ? LEN - written : sizeof chunk;
        for (size_t i = 0; i < len; i++) {
            chunk[i] = pattern(4, written + i);
        }
        ssize_t more = send(peer->client, chunk, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        written += more > 0 ? (size_t)more : 0;
        uint64_t step = loop_stats(loop).turns % 7;
        if (step == 1 || step == 4 || step == 5) {
            pil_engine_pause(loop->engine, peer->handle);
        }
        if (step == 2 || step == 5 || step == 6) {
            pil_engine_resume(loop->engine, peer->handle);
        }
        loop_turn_for(loop, 0, 0);
    }
    for (size_t i = 0; i < LEN; i++) {
        assert_int_equal(peer->bytes[i], pattern(4, i));
    }
    peer_finish(peer);
    loop_close(loop);
}

static void hands_out_in_later_turns_what_finds_no_room(void **state) {
    enum { PEERS = 20, LEN = 200 };
    struct loop *loop = loop_open_with(state, (struct pil_engine_options){.buffer_bytes = 16, .buffer_count = 8});
    loop->capacity = 1;
    struct peer *peers[PEERS];
    for (size_t i = 0; i < PEERS; i++) {
        peers[i] = peer_open(loop, LEN);
        uint8_t bytes[LEN];
        for (size_t j = 0; j < LEN; j++) {
            bytes[j] = pattern(i, j);
        }
        client_write(peers[i]->client, bytes, LEN);
        shutdown(peers[i]->client, SHUT_WR);
    }
    for (size_t i = 0; i < PEERS; i++) {
        LOOP_UNTIL(loop, peers[i]->ends == 1 && peers[i]->sent == LEN);
        for (size_t j = 0; j < LEN; j++) {
            assert_int_equal(peers[i]->bytes[j], pattern(i, j));
        }
    }
    for (size_t i = 0; i < PEERS; i++) {
        peer_finish(peers[i]);
    }
    loop_close(loop);
}

static void refuses_beyond_connections_max(void **state) {
    struct loop *loop = loop_open_with(state, (struct pil_engine_options){.connections_max = 2});
    struct sockaddr_storage name;
    socklen_t len;
    int listener = listen_at(AF_UNIX, &name, &len), clients[5];
    pil_engine_handle handle;
    assert_int_equal(pil_engine_listen(loop->engine, listener, NULL, &handle), PIL_STATUS_OK);
    for (int i = 0; i < 5; i++) {
        clients[i] = connect_to(&name, len);
    }
    LOOP_UNTIL(loop, loop_stats(loop).refused == 3);
    assert_int_equal(loop->accepted_count, 2);
    struct peer *first = peer_attach(loop, loop->accepted[0], clients[0], 64);
    struct peer *second = peer_attach(loop, loop->accepted[1], clients[1], 64);
    for (int i = 2; i < 5; i++) {
        char byte;
        assert_int_equal(client_read(clients[i], &byte, 1), 0);
        close(clients[i]);
    }
    assert_int_equal(loop_stats(loop).connections, 2);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pil_engine_handle none = 0;
    assert_int_equal(pil_engine_attach(loop->engine, pair[0], NULL, &none), PIL_STATUS_TOO_LARGE);
    assert_int_equal(none, 0);
    char byte;
    assert_int_equal(client_read(pair[1], &byte, 1), 0); /* closed on failure, too */
    close(pair[1]);
    peer_finish(first);
    int late = connect_to(&name, len);
    loop->accepted_count = 0;
    LOOP_UNTIL(loop, loop->accepted_count == 1);
    first = peer_attach(loop, loop->accepted[0], late, 64);
    client_write(late, "in", 2);
    expect_echo(loop, first, 2);
    peer_finish(first);
    peer_finish(second);
    close(listener);
    loop_close(loop);
}

/* Those that the kernel has accepted for the listener by then belong to nobody. */
static void clients_of_a_closing_listener_see_the_end(void **state) {
    enum { CLIENTS = 5 };
    struct loop *loop = loop_open(state);
    for (int round = 0; round < 20; round++) {
        struct sockaddr_storage name;
        socklen_t len;
        int listener = listen_at(AF_UNIX, &name, &len), clients[CLIENTS];
        pil_engine_handle handle;
        assert_int_equal(pil_engine_listen(loop->engine, listener, NULL, &handle), PIL_STATUS_OK);
        loop_turn_for(loop, 0, 0); /* the accept waits */
        for (int i = 0; i < CLIENTS; i++) {
            clients[i] = connect_to(&name, len);
        }
        pil_engine_close(loop->engine, handle);
        for (int i = 0; i < 3; i++) {
            loop_turn_for(loop, 0, 0);
        }
        assert_int_equal(loop->accepted_count, 0);
        close(listener);
        for (int i = 0; i < CLIENTS; i++) {
            char byte;
            struct pollfd wait = {.fd = clients[i], .events = POLLIN};
            assert_int_equal(poll(&wait, 1, 10000), 1);
            assert_true(client_read(clients[i], &byte, 1) == 0 || errno == ECONNRESET);
            close(clients[i]);
        }
    }
    loop_close(loop);
}

static void handles_never_name_a_later_owner(void **state) {
    struct loop *loop = loop_open_with(state, (struct pil_engine_options){.connections_max = 1});
    pil_engine_handle handles[100];
    for (size_t i = 0; i < 100; i++) {
        struct peer *peer = peer_open(loop, 64);
        handles[i] = peer->handle;
        assert_int_not_equal(peer->handle, 0);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(handles[j], handles[i]);
            pil_engine_close(loop->engine, handles[j]); /* of former owners: nothing happens */
            pil_engine_pause(loop->engine, handles[j]);
        }
        client_write(peer->client, "ping", 4);
        expect_echo(loop, peer, 4);
        peer_finish(peer);
    }
    loop_close(loop);
}

static void closes_with_receive_and_send_in_flight(void **state) {
    enum { LEN = 1 << 20 };
    struct loop *loop = loop_open(state);
    for (int round = 0; round < 50; round++) {
        struct peer *peer = peer_open(loop, LEN), *other = peer_open(loop, 64);
        memset(peer->bytes, round, LEN);
        peer->received = LEN;
        peer_flush(peer); /* more than the socket takes: it stays in flight */
        if (round % 2 == 0) {
            loop_turn_for(loop, 0, 0);
        }
        peer->received = 0;
        client_write(peer->client, "late", 4);
        if (round % 3 == 0) {
            loop_turn_for(loop, 0, 0);
        }
        peer_close(peer);
        peer_close(peer);
        LOOP_UNTIL(loop, peer->closes == 1);
        assert_int_equal(peer->sents, 0);
        client_write(other->client, "still here", 10);
        LOOP_UNTIL(loop, other->sent == 10);
        peer_free(peer);
        peer_finish(other);
    }
    assert_int_equal(loop_stats(loop).connections, 0);
    loop_close(loop);
}

static void destroy_lets_go_of_everything_in_flight(void **state) {
    enum { LEN = 1 << 20 };
    for (int round = 0; round < 20; round++) {
        struct loop *loop = loop_open(state);
        struct peer *peers[8];
        for (int i = 0; i < 8; i++) {
            peers[i] = peer_open(loop, LEN);
            if (i % 2 == 0) {
                peers[i]->received = LEN;
                peer_flush(peers[i]);
            }
            if (i % 3 == 0) {
                pil_engine_close(loop->engine, peers[i]->handle);
            }
        }
        if (round % 2 == 0) {
            uint32_t count;
            assert_int_equal(pil_engine_wait(loop->engine, loop->events, 3, 0, 0, &count), PIL_STATUS_OK);
        }
        loop_close(loop);
        for (int i = 0; i < 8; i++) {
            char skipped[4096];
            ssize_t got;
            while ((got = client_read(peers[i]->client, skipped, sizeof skipped)) > 0) {
            }
            assert_int_equal(got, 0); /* closed: the end of the stream, not "nothing yet" */
            peer_free(peers[i]);
        }
    }
}

static void address_is_free_at_once_after_destroy(void **state) {
    const int families[] = {AF_UNIX, AF_INET};
    for (size_t f = 0; f < 2; f++) {
        struct sockaddr_storage name;
        socklen_t len;
        int listener = listen_at(families[f], &name, &len);
        for (int round = 0; round < 1000; round++) {
            struct loop *loop = loop_open(state);
            pil_engine_handle handle;
            assert_int_equal(pil_engine_listen(loop->engine, listener, NULL, &handle), PIL_STATUS_OK);
            loop_turn_for(loop, 0, 0);
            loop_close(loop);
            close(listener);
            listener = socket(families[f], SOCK_STREAM | SOCK_CLOEXEC, 0);
            if (bind(listener, (struct sockaddr *)&name, len) != 0) {
                fail_msg("round %d: %s", round, strerror(errno));
            }
            assert_int_equal(listen(listener, 16), 0);
        }
        close(listener);
    }
}

static void watch_is_level_triggered(void **state) {
    struct loop *loop = loop_open(state);
    int pipe_fds[2], owner;
    assert_int_equal(pipe(pipe_fds), 0);
    pil_engine_handle handle;
    assert_int_equal(pil_engine_watch(loop->engine, pipe_fds[0], &owner, &handle), PIL_STATUS_OK);
    loop_turn_for(loop, 0, 0);
    assert_int_equal(loop->count, 0);
    assert_int_equal(write(pipe_fds[1], "ab", 2), 2);
    for (int i = 0; i < 5; i++) { /* unread: reported each time */
        loop_turn(loop);
        assert_int_equal(loop->count, 1);
        assert_int_equal(loop->events[0].kind, PIL_EVENT_READABLE);
        assert_ptr_equal(loop->events[0].owner, &owner);
        assert_int_equal(loop->events[0].handle, handle);
    }
    char bytes[2];
    assert_int_equal(read(pipe_fds[0], bytes, 2), 2);
    loop_turn(loop);
    loop_turn(loop);
    assert_int_equal(loop->count, 0);
    pil_engine_close(loop->engine, handle);
    for (loop->count = 0; loop->count == 0;) {
        uint32_t count = 0;
        assert_int_equal(pil_engine_wait(loop->engine, loop->events, 8, 0, SECOND_NS, &count), PIL_STATUS_OK);
        loop->count = count;
    }
    assert_int_equal(loop->events[0].kind, PIL_EVENT_CLOSED);
    assert_int_equal(write(pipe_fds[1], "c", 1), 1); /* still open: it is the caller's */
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    loop_close(loop);
}

static void *wake_often(void *argument) {
    struct loop *loop = argument;
    for (int i = 0; i < 10000; i++) {
        pil_engine_wake(loop->engine);
    }
    return NULL;
}

static struct pil_engine *engine_of_signal;
static void wake_from_signal(int number) {
    (void)number;
    pil_engine_wake(engine_of_signal);
}

static void wakes_from_threads_and_signals(void **state) {
    struct loop *loop = loop_open(state);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wake_often, loop), 0);
    }
    LOOP_UNTIL(loop, loop->wakes > 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    loop_turn_for(loop, 0, 0);
    loop_turn_for(loop, 0, 0);
    uint32_t wakes = loop->wakes;
    loop_turn_for(loop, 0, 0);
    assert_int_equal(loop->wakes, wakes); /* told, and over */
    pil_engine_wake(loop->engine);
    loop_turn_for(loop, 0, UINT64_MAX);
    assert_int_equal(loop->wakes, wakes + 1);
    engine_of_signal = loop->engine;
    struct sigaction action = {.sa_handler = wake_from_signal};
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    raise(SIGUSR1);
    LOOP_UNTIL(loop, loop->wakes == wakes + 2);
    loop_close(loop);
}

static void spins_before_it_parks(void **state) {
    struct loop *loop = loop_open(state);
    struct peer *peer = peer_open(loop, 64);
    loop_turn_for(loop, 0, 0);
    struct pil_engine_stats before = loop_stats(loop);
    assert_int_equal(before.parks, 0);
    loop_turn_for(loop, SECOND_NS / 1000, SECOND_NS / 500);
    assert_int_equal(loop_stats(loop).parks, 1);
    assert_int_equal(loop_stats(loop).spins_hit, 0);
    assert_int_equal(loop->parked, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_often, loop), 0);
    loop_turn_for(loop, 20 * (uint64_t)SECOND_NS, 20 * (uint64_t)SECOND_NS); /* found while it spins */
    assert_int_equal(loop_stats(loop).parks, 1);
    pthread_join(thread, NULL);
    peer_finish(peer);
    loop_close(loop);
}

static void timeout_is_kept(void **state) {
    struct loop *loop = loop_open(state);
    uint64_t slept_ns = 0;
    /* Rings that the tests before have left end in the kernel about now; each interrupts system calls like a signal.
     */
    for (int tries = 0; tries < 100 && slept_ns < SECOND_NS / 50; tries++) {
        uint64_t start_ns = pil_clock_monotonic_ns();
        loop_turn_for(loop, 0, SECOND_NS / 50);
        assert_int_equal(loop->count, 0);
        slept_ns = pil_clock_monotonic_ns() - start_ns;
    }
    assert_true(slept_ns >= SECOND_NS / 50);
    loop_close(loop);
}

static void rejects_options_that_cannot_work(void **state) {
    struct pil_engine_options bad[] = {{.connections_max = 0},
                                       {.connections_max = UINT32_MAX},
                                       {.connections_max = 1, .buffer_count = 3},
                                       {.connections_max = 1, .buffer_count = 65536}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bad[i].kind = *(const pil_engine_kind *)*state;
        struct pil_engine *engine = NULL;
        struct pil_error error = {0};
        assert_int_equal(pil_engine_create(&bad[i], &engine, &error), PIL_STATUS_INVALID);
        assert_null(engine);
        assert_true(strlen(error.text) > 0);
    }
}

static const struct CMUnitTest tests[] = {
    BOTH(echoes_over_pair_unix_and_tcp),
    BOTH(takes_one_byte_at_a_time),
    BOTH(answers_after_half_close),
    BOTH(sees_end_right_behind_bytes),
    BOTH(reports_reset_as_failed_end),
    BOTH(sends_more_than_socket_holds_to_slow_reader),
    BOTH(waits_quietly_for_half_closed_peer_to_read),
    BOTH(waits_quietly_each_time_the_socket_is_full),
    BOTH(sends_nothing_at_once),
    BOTH(pause_keeps_bytes_until_resume),
    BOTH(kept_bytes_stay_until_they_are_given_back),
    BOTH(pause_and_resume_at_random_lose_nothing),
    BOTH(hands_out_in_later_turns_what_finds_no_room),
    BOTH(refuses_beyond_connections_max),
    BOTH(clients_of_a_closing_listener_see_the_end),
    BOTH(handles_never_name_a_later_owner),
    BOTH(closes_with_receive_and_send_in_flight),
    BOTH(destroy_lets_go_of_everything_in_flight),
    BOTH(address_is_free_at_once_after_destroy),
    BOTH(watch_is_level_triggered),
    BOTH(wakes_from_threads_and_signals),
    BOTH(spins_before_it_parks),
    BOTH(timeout_is_kept),
    BOTH(rejects_options_that_cannot_work),
};

LOOP_MAIN(tests)
