/* SPDX-License-Identifier: Apache-2.0
 * Goal: an answer that does not fit leaves no trace, chunks are charged to who holds them, and every byte that was
 * written is sent in order. Method: random writes, refusals and sends against a plain buffer. */
#include "server/output.h"

#include "support/shard_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BUDGET = 64 << 20, ANSWER_MAX = 200000, MODEL_BYTES = 8 << 20 };

static struct pil_accounts accounts;
static struct pil_account_use use;
static struct pil_chunk_pool pool;
static struct pil_output output;

static int setup(void **state) {
    struct pil_peer_identity peer = {.known = PIL_PEER_UID | PIL_PEER_PID, .uid = 1, .pid = 1};
    (void)state;
    pil_accounts_init(&accounts, BUDGET, 10, 7);
    pil_chunk_pool_init(&pool, &accounts);
    output = (struct pil_output){0};
    return pil_accounts_enter(&accounts, &peer, &use) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    pil_output_clear(&output, &pool, &use);
    assert_int_equal(use.bytes, 0);
    pil_chunk_pool_deinit(&pool);
    assert_int_equal(accounts.allocated, 0);
    return 0;
}

static pil_output_failure write_answer(size_t bytes, uint8_t fill, uint64_t bytes_max) {
    struct pil_output_sink sink;
    pil_output_begin(&sink, &output, &pool, &use, bytes_max);
    uint64_t before = pil_output_position(&sink);
    for (size_t at = 0; at < bytes; at++) {
        pil_sink_put(&sink.sink, fill);
    }
    pil_output_failure failure = pil_output_finish(&sink);
    if (failure != PIL_OUTPUT_OK) {
        pil_output_undo(&sink);
        assert_int_equal(output.bytes, before);
    }
    assert_true(pil_output_validate(&output));
    return failure;
}

static uint64_t send_some(uint8_t *ret_sent) {
    struct iovec parts[4];
    uint64_t bytes = 0;
    uint32_t count = pil_output_take(&output, parts, 4);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(ret_sent + bytes, parts[i].iov_base, parts[i].iov_len);
        bytes += parts[i].iov_len;
    }
    return bytes;
}

static void what_does_not_fit_leaves_no_trace(void **state) {
    (void)state;
    assert_int_equal(write_answer(10, 'a', ANSWER_MAX), PIL_OUTPUT_OK);
    assert_int_equal(write_answer(2 * ANSWER_MAX, 'b', ANSWER_MAX), PIL_OUTPUT_TOO_LARGE);
    assert_int_equal(output.bytes, 10);
    assert_int_equal(output.chunk_count, 1);
    assert_int_equal(write_answer(10, 'c', ANSWER_MAX), PIL_OUTPUT_OK);
    uint8_t sent[64];
    assert_int_equal(send_some(sent), 20);
    assert_memory_equal(sent, "aaaaaaaaaacccccccccc", 20);
    pil_output_sent(&output, &pool, &use);
    assert_int_equal(write_answer(2 * ANSWER_MAX, 'b', ANSWER_MAX), PIL_OUTPUT_TOO_LARGE); /* from nothing */
    assert_null(output.first);
}

static void the_limit_is_exact(void **state) {
    (void)state;
    assert_int_equal(write_answer(ANSWER_MAX + 1, 'a', ANSWER_MAX), PIL_OUTPUT_TOO_LARGE);
    assert_int_equal(write_answer(ANSWER_MAX, 'b', ANSWER_MAX), PIL_OUTPUT_OK);
    assert_int_equal(write_answer(10, 'c', 9), PIL_OUTPUT_TOO_LARGE);
    assert_int_equal(write_answer(9, 'd', 9), PIL_OUTPUT_OK);
    assert_int_equal(output.bytes, ANSWER_MAX + 9);
}

static void a_share_that_is_used_up_refuses_the_next_chunk(void **state) {
    (void)state;
    pil_account_add(&use, BUDGET); /* by other connections of the peer */
    assert_int_equal(write_answer(100, 'a', ANSWER_MAX), PIL_OUTPUT_OK);
    assert_int_equal(write_answer(PIL_CHUNK_BYTES, 'b', ANSWER_MAX), PIL_OUTPUT_NO_MEMORY);
    pil_account_remove(&use, BUDGET);
    assert_int_equal(write_answer(PIL_CHUNK_BYTES, 'b', ANSWER_MAX), PIL_OUTPUT_OK);
}

/* The first chunk is free until it waits. */
static void chunks_are_charged_but_for_the_first(void **state) {
    (void)state;
    uint8_t sent[3 * PIL_CHUNK_BYTES];
    assert_int_equal(write_answer(100, 'a', ANSWER_MAX), PIL_OUTPUT_OK);
    assert_int_equal(use.bytes, 0);
    pil_output_charge(&output, &use);
    assert_int_equal(use.bytes, PIL_CHUNK_BYTES);
    assert_int_equal(write_answer(PIL_CHUNK_BYTES, 'b', ANSWER_MAX), PIL_OUTPUT_OK);
    assert_int_equal(use.bytes, 2 * PIL_CHUNK_BYTES);
    assert_int_equal(send_some(sent), 100 + PIL_CHUNK_BYTES);
    pil_output_sent(&output, &pool, &use);
    assert_int_equal(use.bytes, 0);
}

static void chunks_that_stay_free_are_given_back(void **state) {
    (void)state;
    assert_int_equal(write_answer(100 * PIL_CHUNK_BYTES, 'a', 2 * MODEL_BYTES), PIL_OUTPUT_OK);
    pil_output_clear(&output, &pool, &use);
    uint64_t full = accounts.allocated;
    pil_chunk_pool_trim(&pool); /* they were needed since the last trim */
    assert_int_equal(accounts.allocated, full);
    for (int i = 0; i < 50; i++) {
        pil_chunk_pool_trim(&pool);
    }
    assert_in_range(accounts.allocated, 1, full / 5);
}

static void random_steps_equal_a_plain_buffer(void **state) {
    (void)state;
    static uint8_t wanted[MODEL_BYTES], got[MODEL_BYTES];
    size_t wanted_len = 0, got_len = 0;
    bool is_in_flight = false;
    uint64_t seed = fixture_seed(5);
    for (int i = 0; i < 2000 && wanted_len < MODEL_BYTES - 2 * ANSWER_MAX; i++) {
        size_t bytes = fixture_below(&seed, i % 10 == 0 ? 2 * ANSWER_MAX : 3000);
        if (write_answer(bytes, (uint8_t)i, ANSWER_MAX) == PIL_OUTPUT_OK) {
            memset(wanted + wanted_len, (uint8_t)i, bytes);
            wanted_len += bytes;
        }
        if (is_in_flight && fixture_below(&seed, 2) == 0) {
            pil_output_sent(&output, &pool, &use);
            is_in_flight = false;
        } else if (!is_in_flight && fixture_below(&seed, 3) == 0) {
            uint64_t sent = send_some(got + got_len);
            got_len += sent;
            is_in_flight = sent > 0;
        }
        if (fixture_below(&seed, 7) == 0) {
            pil_output_charge(&output, &use);
        }
        assert_true(pil_output_validate(&output));
    }
    pil_output_sent(&output, &pool, &use);
    for (uint64_t sent; (sent = send_some(got + got_len)) > 0; got_len += sent) {
        pil_output_sent(&output, &pool, &use);
    }
    assert_int_equal(got_len, wanted_len);
    assert_memory_equal(got, wanted, wanted_len);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_does_not_fit_leaves_no_trace, setup, teardown),
        cmocka_unit_test_setup_teardown(the_limit_is_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(a_share_that_is_used_up_refuses_the_next_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(chunks_are_charged_but_for_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(chunks_that_stay_free_are_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(random_steps_equal_a_plain_buffer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
