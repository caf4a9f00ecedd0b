/* SPDX-License-Identifier: Apache-2.0
 * Goal: a turn costs no allocation and no needless system call. Method: malloc and its kin are counted over 10^5 echoes
 * (not under a sanitizer, which has its own); system calls are the engine's own counters. */
#include "loop.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static uint64_t allocations;

#if COUNTS_ALLOCATIONS
/* glibc's own entries under these names stay reachable. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

void *malloc(size_t bytes) {
    allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
    allocations++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes) {
    allocations++;
    return __libc_realloc(old, bytes);
}
#endif

enum { PEERS = 8, ECHOES = 100000, REQUEST = 64 };

/* All clients ask at once and get their answers, `rounds` times. */
static void echo(struct loop *loop, struct peer **peers, int rounds) {
    uint8_t bytes[REQUEST] = "request";
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < PEERS; i++) {
            peers[i]->received = peers[i]->sent = 0;
            client_write(peers[i]->client, bytes, REQUEST);
        }
        for (int i = 0; i < PEERS; i++) {
            LOOP_UNTIL(loop, peers[i]->sent == REQUEST);
            assert_int_equal(client_read(peers[i]->client, bytes, REQUEST), REQUEST);
        }
    }
}

static void allocates_nothing_and_enters_once_a_turn(void **state) {
    struct loop *loop = loop_open(state);
    struct peer *peers[PEERS];
    for (int i = 0; i < PEERS; i++) {
        peers[i] = peer_open(loop, REQUEST);
    }
    echo(loop, peers, 10);
    struct pil_engine_stats before = loop_stats(loop);
    uint64_t allocations_before = allocations;
    echo(loop, peers, ECHOES / PEERS);
    struct pil_engine_stats after = loop_stats(loop);
    assert_int_equal(allocations, allocations_before);
    assert_true(!COUNTS_ALLOCATIONS || allocations > 0); /* the counter counts */
    assert_int_equal(after.sends - before.sends, ECHOES);
    assert_true(after.enters - before.enters <= after.turns - before.turns);
    /* Requests that are there together are one turn: receive, then the ends of the sends. */
    assert_in_range(after.turns - before.turns, 1, 3 * ECHOES / PEERS);
    assert_int_equal(after.multishot_ended + after.complete_overflows + after.buffers_empty, 0);
    print_message("%.2f turns and %.2f enters for %d requests\n", (double)(after.turns - before.turns) * PEERS / ECHOES,
                  (double)(after.enters - before.enters) * PEERS / ECHOES, PEERS);
    for (int i = 0; i < PEERS; i++) {
        peer_finish(peers[i]);
    }
    loop_close(loop);
}

static void flush_submits_without_a_turn(void **state) {
    struct loop *loop = loop_open(state);
    struct peer *peer = peer_open(loop, 64);
    client_write(peer->client, "x", 1);
    LOOP_UNTIL(loop, peer->receives == 1); /* the answer is queued, and sent at once by epoll only */
    uint64_t enters = loop_stats(loop).enters;
    uint8_t back;
    pil_engine_flush(loop->engine);
    assert_int_equal(client_read(peer->client, &back, 1), 1);
    pil_engine_flush(loop->engine); /* nothing is queued: no system call */
    bool is_uring = *(const pil_engine_kind *)*state == PIL_ENGINE_IO_URING;
    assert_int_equal(loop_stats(loop).enters - enters, is_uring ? 1 : 0);
    peer_finish(peer);
    loop_close(loop);
}

static void looking_without_waiting_costs_io_uring_no_call(void **state) {
    struct loop *loop = loop_open(state);
    struct peer *peer = peer_open(loop, 64);
    loop_turn_for(loop, 0, 0);
    uint64_t enters = loop_stats(loop).enters;
    for (int i = 0; i < 100; i++) {
        loop_turn_for(loop, 0, 0);
        assert_int_equal(loop->count, 0);
    }
    bool is_uring = *(const pil_engine_kind *)*state == PIL_ENGINE_IO_URING;
    assert_int_equal(loop_stats(loop).enters - enters, is_uring ? 0 : 100);
    client_write(peer->client, "x", 1); /* and is found all the same */
    loop_turn_for(loop, 0, 0);
    assert_int_equal(peer->receives, 1);
    peer_finish(peer);
    loop_close(loop);
}

static const struct CMUnitTest tests[] = {
    BOTH(allocates_nothing_and_enters_once_a_turn),
    BOTH(flush_submits_without_a_turn),
    BOTH(looking_without_waiting_costs_io_uring_no_call),
};

LOOP_MAIN(tests)
