/* SPDX-License-Identifier: Apache-2.0
 * Goal: every kind of message comes out of the decoder as it went into the encoder; nothing else comes out: no wrong
 * route, length, number of descriptors or value of a field. Method: random messages made from the same table, each
 * shortened, lengthened and changed byte by byte. PIL_SEED replays. */
#include "support/message_fixture.h"

#include "base/sys.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t seed_of_this_run(void) {
    const char *text = getenv("PIL_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    printf("PIL_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

#define EACH_KIND(kind) \
    for (pil_message_kind kind = PIL_MESSAGE_NONE + 1; kind < PIL_MESSAGE_KIND_COUNT; \
         kind = (pil_message_kind)(kind + 1))

static bool decodes(const uint8_t *bytes, size_t len, uint32_t fd_count, pil_message_route route) {
    struct pil_message ignored;
    return pil_message_decode(pil_bytes_from(bytes, len), fd_count, route, &ignored) == PIL_STATUS_OK;
}

static void every_kind_comes_out_as_it_went_in(void **state) {
    uint64_t seed = seed_of_this_run();
    (void)state;
    EACH_KIND(kind) {
        for (int i = 0; i < 200; i++) {
            uint8_t bytes[PIL_MESSAGE_BYTES_MAX];
            struct pil_message message = message_fixture_make(kind, &seed), decoded;
            size_t len = pil_message_encode(&message, bytes);
            memset(&decoded, 0, sizeof decoded);
            assert_int_equal(pil_message_decode(pil_bytes_from(bytes, len), pil_message_has_fd(kind),
                                                message_fixture_route(kind), &decoded),
                             PIL_STATUS_OK);
            uint8_t again[PIL_MESSAGE_BYTES_MAX];
            assert_int_equal(decoded.kind, kind);
            assert_int_equal(pil_message_encode(&decoded, again), len);
            assert_memory_equal(again, bytes, len);
        }
    }
}

static void fields_arrive_in_their_places(void **state) {
    uint8_t bytes[PIL_MESSAGE_BYTES_MAX];
    struct pil_message report = {.kind = PIL_MESSAGE_REPORT,
                                 .report = {.view_index = 3,
                                            .release = "0123456789abcdef",
                                            .outcome = PIL_OUTCOME_WILL_NOT_FIT,
                                            .was_fetched = true,
                                            .copy_ns = 1,
                                            .verify_ns = 2,
                                            .collapse_ns = 3,
                                            .why = "because"}},
                       got;
    (void)state;
    size_t len = pil_message_encode(&report, bytes);
    assert_int_equal(pil_message_decode(pil_bytes_from(bytes, len), 0, PIL_ROUTE_FROM_FETCHER, &got), PIL_STATUS_OK);
    assert_int_equal(got.report.view_index, 3);
    assert_string_equal(got.report.release, "0123456789abcdef");
    assert_string_equal(pil_fetch_outcome_text(got.report.outcome), "will_not_fit");
    assert_true(got.report.was_fetched);
    assert_int_equal(got.report.copy_ns, 1);
    assert_int_equal(got.report.verify_ns, 2);
    assert_int_equal(got.report.collapse_ns, 3);
    assert_string_equal(got.report.why, "because");
    assert_int_equal(got.fd, -1);
}

static void a_kind_is_taken_only_from_where_the_table_says(void **state) {
    static const pil_message_route routes[] = {PIL_ROUTE_TO_SERVER, PIL_ROUTE_TO_FETCHER, PIL_ROUTE_FROM_SERVER,
                                               PIL_ROUTE_FROM_FETCHER};
    uint64_t seed = 7;
    (void)state;
    EACH_KIND(kind) {
        uint8_t bytes[PIL_MESSAGE_BYTES_MAX];
        struct pil_message message = message_fixture_make(kind, &seed);
        size_t len = pil_message_encode(&message, bytes);
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(decodes(bytes, len, pil_message_has_fd(kind), routes[i]),
                             (message_fixture_routes[kind] & routes[i]) != 0);
        }
    }
}

static void another_length_or_number_of_descriptors_is_refused(void **state) {
    uint64_t seed = 9;
    (void)state;
    EACH_KIND(kind) {
        uint8_t bytes[PIL_MESSAGE_BYTES_MAX + 1] = {0};
        struct pil_message message = message_fixture_make(kind, &seed);
        size_t len = pil_message_encode(&message, bytes);
        pil_message_route route = message_fixture_route(kind);
        assert_true(decodes(bytes, len, pil_message_has_fd(kind), route));
        assert_false(decodes(bytes, len, !pil_message_has_fd(kind), route));
        assert_false(decodes(bytes, len, 2, route));
        assert_false(decodes(bytes, len + 1, pil_message_has_fd(kind), route));
        for (size_t shorter = 0; shorter < len; shorter++) {
            uint8_t *exact = malloc(shorter + 1); /* the sanitizer sees reads past the end */
            memcpy(exact, bytes, shorter);
            exact = realloc(exact, shorter > 0 ? shorter : 1);
            assert_false(decodes(exact, shorter, pil_message_has_fd(kind), route));
            free(exact);
        }
    }
}

/* Whatever is taken is within the bounds of the table, and says again what it said. */
static void what_a_changed_byte_makes_is_refused_or_valid(void **state) {
    uint64_t seed = seed_of_this_run();
    (void)state;
    EACH_KIND(kind) {
        uint8_t bytes[PIL_MESSAGE_BYTES_MAX], again[PIL_MESSAGE_BYTES_MAX];
        struct pil_message message = message_fixture_make(kind, &seed), got;
        size_t len = pil_message_encode(&message, bytes);
        for (size_t at = 0; at < len * 4; at++) {
            uint8_t before = bytes[at % len];
            bytes[at % len] = (uint8_t)message_fixture_next(&seed);
            if (pil_message_decode(pil_bytes_from(bytes, len), pil_message_has_fd(kind), message_fixture_route(kind),
                                   &got) == PIL_STATUS_OK) {
                assert_int_equal(pil_message_encode(&got, again), len); /* asserts the bounds */
                assert_memory_equal(again, bytes, len);
            }
            bytes[at % len] = before;
        }
    }
}

/* Encodes, writes `value` at `at` (of 4 bytes), and says whether it is still a message. */
static bool decodes_with(struct pil_message message, size_t at, uint32_t value) {
    uint8_t bytes[PIL_MESSAGE_BYTES_MAX];
    size_t len = pil_message_encode(&message, bytes);
    pil_store_u32(bytes + at, value);
    return decodes(bytes, len, pil_message_has_fd(message.kind), message_fixture_route(message.kind));
}

static void values_that_cannot_be_are_refused(void **state) {
    struct pil_message shard = {.kind = PIL_MESSAGE_SHARD, .shard = {1, "0123456789abcdef", {2, 4}}};
    struct pil_message ready = {.kind = PIL_MESSAGE_READINESS, .readiness = {true}};
    struct pil_message answer = {.kind = PIL_MESSAGE_ADMITTED, .admitted = {1, "0123456789abcdef", false, "no room"}};
    struct pil_message report = {.kind = PIL_MESSAGE_REPORT, .report = {.outcome = PIL_OUTCOME_OK}};
    (void)state;
    assert_true(decodes_with(shard, 8, PIL_SERVED_VIEWS_MAX - 1));
    assert_false(decodes_with(shard, 8, PIL_SERVED_VIEWS_MAX));
    assert_false(decodes_with(shard, 8, UINT32_MAX));
    assert_false(decodes_with(shard, 12, 0x41414141)); /* "AAAA": not digits of a release */
    assert_false(decodes_with(shard, 12, 0));          /* a release that is cut short */
    assert_true(decodes_with(shard, 28, 3));
    assert_false(decodes_with(shard, 28, 4)); /* the fifth of four shards */
    assert_false(decodes_with(shard, 32, (1u << PIL_SHARD_BITS_MAX) + 1));
    assert_false(decodes_with(shard, 0, 0)); /* the magic */
    assert_false(decodes_with(shard, 4, PIL_MESSAGE_KIND_COUNT));
    assert_false(decodes_with(shard, 4, PIL_MESSAGE_NONE));
    assert_false(decodes_with(report, 28, PIL_OUTCOME_COUNT));
    assert_false(decodes_with(answer, 29, 8)); /* longer than the message */
    assert_false(decodes_with(answer, 29, UINT32_MAX));
    assert_false(decodes_with(answer, 33, 0x00414141)); /* ends in the middle */
    uint8_t bytes[PIL_MESSAGE_BYTES_MAX];
    size_t len = pil_message_encode(&ready, bytes);
    bytes[len - 1] = 2; /* neither false nor true */
    assert_false(decodes(bytes, len, 0, PIL_ROUTE_FROM_SERVER));
}

static void descriptors_go_along_and_none_is_left_behind(void **state) {
    int pair[2], blob = -1;
    struct pil_message got;
    struct pil_error error;
    struct stat sent, received;
    (void)state;
    assert_int_equal(pil_message_pair(pair, &error), PIL_STATUS_OK);
    assert_int_equal(pil_message_blob("content", 7, &blob, &error), PIL_STATUS_OK);
    assert_true(pil_sys_memfd_is_sealed(blob));
    struct pil_message project = {.kind = PIL_MESSAGE_PROJECT, .fd = blob, .project = {.view_index = 5}};
    assert_int_equal(pil_message_send(pair[0], &project), PIL_STATUS_OK);
    assert_int_equal(pil_message_receive(pair[1], PIL_ROUTE_TO_SERVER, true, &got), PIL_STATUS_OK);
    assert_int_equal(got.project.view_index, 5);
    assert_int_equal(fstat(blob, &sent) + fstat(got.fd, &received), 0);
    assert_int_equal(sent.st_ino, received.st_ino);
    assert_int_equal(fcntl(got.fd, F_GETFD), FD_CLOEXEC);
    int next = got.fd;
    close(got.fd);
    /* Not a message: its descriptor is closed, and the next message is taken. */
    assert_int_equal(pil_message_send(pair[0], &project), PIL_STATUS_OK);
    assert_int_equal(pil_message_receive(pair[1], PIL_ROUTE_FROM_SERVER, true, &got), PIL_STATUS_CORRUPT);
    assert_int_equal(fcntl(next, F_GETFD), -1);
    char large[PIL_MESSAGE_BYTES_MAX + 1] = {0};
    assert_int_equal(send(pair[0], large, sizeof large, 0), sizeof large);
    assert_int_equal(pil_message_receive(pair[1], PIL_ROUTE_TO_SERVER, true, &got), PIL_STATUS_CORRUPT);
    assert_int_equal(pil_message_receive(pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_AGAIN);
    close(pair[0]);
    assert_int_equal(pil_message_receive(pair[1], PIL_ROUTE_TO_SERVER, true, &got), PIL_STATUS_CLOSED);
    assert_int_equal(pil_message_send(pair[1], &project), PIL_STATUS_CLOSED);
    close(pair[1]), close(blob);
}

static void a_descriptor_that_is_lost_is_told_with_its_message(void **state) {
    struct pil_message got;
    struct pil_error error;
    struct rlimit limit;
    int pair[2], blob = -1;
    (void)state;
    assert_int_equal(pil_message_pair(pair, &error), PIL_STATUS_OK);
    assert_int_equal(pil_message_blob("content", 7, &blob, &error), PIL_STATUS_OK);
    struct pil_message project = {.kind = PIL_MESSAGE_PROJECT, .fd = blob, .project = {.view_index = 5}};
    assert_int_equal(pil_message_send(pair[0], &project), PIL_STATUS_OK);
    assert_int_equal(pil_message_send(pair[0], &project), PIL_STATUS_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, limit.rlim_max}), 0);
    pil_status status = pil_message_receive(pair[1], PIL_ROUTE_TO_SERVER, false, &got);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(status, PIL_STATUS_OK);
    assert_int_equal(got.kind, PIL_MESSAGE_PROJECT);
    assert_int_equal(got.project.view_index, 5);
    assert_int_equal(got.fd, -1);
    assert_int_equal(pil_message_receive(pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_OK);
    assert_true(got.fd >= 0);
    close(got.fd), close(pair[0]), close(pair[1]), close(blob);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_out_as_it_went_in),
        cmocka_unit_test(fields_arrive_in_their_places),
        cmocka_unit_test(a_kind_is_taken_only_from_where_the_table_says),
        cmocka_unit_test(another_length_or_number_of_descriptors_is_refused),
        cmocka_unit_test(what_a_changed_byte_makes_is_refused_or_valid),
        cmocka_unit_test(values_that_cannot_be_are_refused),
        cmocka_unit_test(descriptors_go_along_and_none_is_left_behind),
        cmocka_unit_test(a_descriptor_that_is_lost_is_told_with_its_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
