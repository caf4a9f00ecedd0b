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

static bool (*meanwhile)(void *context); /* pil_output_sink.pause of each answer */

static pil_output_failure write_answer(size_t bytes, uint8_t fill, uint64_t bytes_max) {
    struct pil_output_sink sink;
    pil_output_begin(&sink, &output, &pool, &use, bytes_max);
    sink.pause = meanwhile;
    for (size_t at = 0; at < bytes; at++) {
        pil_sink_put(&sink.sink, fill);
        if (!sink.sink.failed) {
            assert_int_equal(pil_output_position(&sink), at + 1);
        }
    }
    pil_output_failure failure = pil_output_finish(&sink);
    if (failure != PIL_OUTPUT_OK) {
        uint64_t whole = pil_output_whole_bytes(&output);
        pil_output_undo(&sink);
        assert_int_equal(output.bytes, whole);
    }
    assert_int_equal(pil_output_whole_bytes(&output), output.bytes);
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

/* While an answer is written, what is before it is sent, and nothing of it; then it may still be taken back. */
static void an_answer_is_sent_when_it_is_whole(void **state) {
    (void)state;
    struct pil_output_sink sink;
    uint8_t sent[PIL_CHUNK_BYTES + 100];
    assert_int_equal(write_answer(10, 'a', ANSWER_MAX), PIL_OUTPUT_OK);
    for (int round = 0; round < 2; round++) {
        pil_output_begin(&sink, &output, &pool, &use, ANSWER_MAX);
        for (size_t i = 0; i < PIL_CHUNK_BYTES; i++) {
            pil_sink_put(&sink.sink, 'b');
        }
        assert_int_equal(pil_output_whole_bytes(&output), round == 0 ? 10 : 0);
        assert_int_equal(send_some(sent), round == 0 ? 10 : 0);
        pil_output_sent(&output, &pool, &use);
        assert_int_equal(send_some(sent), 0);
        if (round == 0) {
            pil_output_undo(&sink);
            assert_int_equal(output.bytes, 0);
            assert_int_equal(output.chunk_count, 0);
        }
    }
    assert_int_equal(pil_output_finish(&sink), PIL_OUTPUT_OK);
    assert_int_equal(send_some(sent), PIL_CHUNK_BYTES);
    assert_int_equal(sent[0], 'b');
    pil_output_sent(&output, &pool, &use);
    assert_int_equal(output.chunk_count, 0);
}

static bool want_no_more(void *context) {
    (void)context;
    return false;
}

static void an_answer_that_is_not_wanted_any_more_ends(void **state) {
    (void)state;
    meanwhile = want_no_more;
    assert_int_equal(write_answer(100, 'a', ANSWER_MAX), PIL_OUTPUT_UNWANTED);
    meanwhile = NULL;
    assert_null(output.first);
}

static struct {
    uint8_t wanted[MODEL_BYTES], got[MODEL_BYTES];
    size_t wanted_len, got_len;
    bool is_in_flight;
    uint64_t seed;
} model;

static bool send_randomly(void *context) {
    (void)context;
    if (model.is_in_flight && fixture_below(&model.seed, 2) == 0) {
        pil_output_sent(&output, &pool, &use);
        model.is_in_flight = false;
    } else if (!model.is_in_flight && fixture_below(&model.seed, 3) == 0) {
        uint64_t sent = send_some(model.got + model.got_len);
        model.got_len += sent;
        model.is_in_flight = sent > 0;
    }
    if (fixture_below(&model.seed, 7) == 0) {
        pil_output_charge(&output, &use);
    }
    assert_true(pil_output_validate(&output));
    return fixture_below(&model.seed, 100) != 0;
}

static void random_steps_equal_a_plain_buffer(void **state) {
    (void)state;
    model.seed = fixture_seed(5);
    meanwhile = send_randomly;
    for (int i = 0; i < 2000 && model.wanted_len < MODEL_BYTES - 2 * ANSWER_MAX; i++) {
        size_t bytes = fixture_below(&model.seed, i % 10 == 0 ? 2 * ANSWER_MAX : 3000);
        if (write_answer(bytes, (uint8_t)i, ANSWER_MAX) == PIL_OUTPUT_OK) {
            memset(model.wanted + model.wanted_len, (uint8_t)i, bytes);
            model.wanted_len += bytes;
        }
        send_randomly(NULL);
    }
    meanwhile = NULL;
    pil_output_sent(&output, &pool, &use);
    for (uint64_t sent; (sent = send_some(model.got + model.got_len)) > 0; model.got_len += sent) {
        pil_output_sent(&output, &pool, &use);
    }
    assert_int_equal(model.got_len, model.wanted_len);
    assert_memory_equal(model.got, model.wanted, model.wanted_len);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_does_not_fit_leaves_no_trace, setup, teardown),
        cmocka_unit_test_setup_teardown(the_limit_is_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(a_share_that_is_used_up_refuses_the_next_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(chunks_are_charged_but_for_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(chunks_that_stay_free_are_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_is_sent_when_it_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_that_is_not_wanted_any_more_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(random_steps_equal_a_plain_buffer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
