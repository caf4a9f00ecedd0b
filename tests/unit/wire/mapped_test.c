/* SPDX-License-Identifier: Apache-2.0
 * Goal: every message comes back as it was; a packet that is not a message is refused with a sentence and never read
 * past its end. Method: exact-size heap copies, so that the sanitizers see any byte too far. */
#include "wire/mapped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static pil_status decode_copy(const uint8_t *packet, size_t len, struct pil_mapped_message *ret_message,
                              struct pil_error *error) {
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, packet, len);
    pil_status status = pil_mapped_decode(pil_bytes_from(copy, len), ret_message, error);
    free(copy);
    return status;
}

static void messages_come_back_as_they_were(void **state) {
    (void)state;
    for (uint32_t type = PIL_MAPPED_HELLO; type <= PIL_MAPPED_LOCATE; type++) {
        struct pil_mapped_message message = {.type = (pil_mapped_type)type,
                                             .view = 63,
                                             .index = 7,
                                             .count = UINT32_MAX,
                                             .code = PIL_STATUS_DENIED,
                                             .generation = UINT64_MAX,
                                             .number = 1ull << 63,
                                             .text = pil_bytes_from_text("view v is regulated")},
                                  decoded;
        uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
        size_t len = pil_mapped_encode(&message, packet);
        assert_int_equal(len, PIL_MAPPED_HEAD_BYTES + message.text.len);
        assert_int_equal(pil_mapped_decode(pil_bytes_from(packet, len), &decoded, NULL), PIL_STATUS_OK);
        assert_int_equal(decoded.type, type);
        assert_int_equal(decoded.view, 63);
        assert_int_equal(decoded.index, 7);
        assert_int_equal(decoded.count, UINT32_MAX);
        assert_int_equal(decoded.code, PIL_STATUS_DENIED);
        assert_true(decoded.generation == UINT64_MAX && decoded.number == 1ull << 63);
        assert_true(pil_bytes_equal(decoded.text, message.text));
    }
}

static void long_texts_are_cut(void **state) {
    (void)state;
    char text[2 * PIL_MAPPED_TEXT_BYTES_MAX];
    memset(text, 'x', sizeof text);
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    struct pil_mapped_message message = {.type = PIL_MAPPED_REFUSE, .text = pil_bytes_from(text, sizeof text)}, decoded;
    assert_int_equal(pil_mapped_encode(&message, packet), sizeof packet);
    assert_int_equal(pil_mapped_decode(pil_bytes_from(packet, sizeof packet), &decoded, NULL), PIL_STATUS_OK);
    assert_int_equal(decoded.text.len, PIL_MAPPED_TEXT_BYTES_MAX);
}

static void what_is_not_a_message_is_refused(void **state) {
    (void)state;
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX], damaged[PIL_MAPPED_MESSAGE_BYTES_MAX];
    struct pil_mapped_message message = {.type = PIL_MAPPED_GRANT, .text = pil_bytes_from_text("0123456789abcdef")};
    struct pil_error error;
    size_t len = pil_mapped_encode(&message, packet);
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(decode_copy(packet, cut, &message, &error), PIL_STATUS_CORRUPT);
    }
    const struct {
        size_t at;
        uint8_t byte;
        const char *why;
    } cases[] = {
        {0, 'Q', "start with PILM"}, {4, 0, "type 0"}, {4, 9, "type 9"}, {5, 1, "type 261"}, {6, 17, "17 bytes"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memcpy(damaged, packet, len);
        damaged[cases[i].at] = cases[i].byte;
        assert_int_equal(decode_copy(damaged, len, &message, &error), PIL_STATUS_CORRUPT);
        assert_non_null(strstr(error.text, cases[i].why));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_back_as_they_were),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(what_is_not_a_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
