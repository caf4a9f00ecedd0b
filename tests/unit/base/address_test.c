/* SPDX-License-Identifier: Apache-2.0
 * Goal: an address is read as people mean it, or refused with a sentence that quotes it and shows both forms. */
#include "base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void reads_both_kinds(void **state) {
    (void)state;
    struct pil_address address;
    assert_int_equal(pil_address_parse("unix:/run/pillion.sock", &address, NULL), PIL_STATUS_OK);
    assert_int_equal(address.kind, PIL_ADDRESS_UNIX);
    assert_string_equal(address.path, "/run/pillion.sock");
    static const struct {
        const char *text, *host, *port;
    } cases[] = {{"tcp:127.0.0.1:6379", "127.0.0.1", "6379"},
                 {"tcp:localhost:1", "localhost", "1"},
                 {"tcp:[::1]:65535", "::1", "65535"},
                 {"tcp:::1:80", "::1", "80"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(pil_address_parse(cases[i].text, &address, NULL), PIL_STATUS_OK);
        assert_int_equal(address.kind, PIL_ADDRESS_TCP);
        assert_string_equal(address.host, cases[i].host);
        assert_string_equal(address.port, cases[i].port);
    }
}

static void the_longest_path_fits(void **state) {
    (void)state;
    struct pil_address address;
    char text[128] = "unix:/";
    memset(text + 6, 'x', 106);
    assert_int_equal(pil_address_parse(text, &address, NULL), PIL_STATUS_OK);
    assert_int_equal(strlen(address.path), 107);
    text[112] = 'x';
    assert_int_equal(pil_address_parse(text, &address, NULL), PIL_STATUS_INVALID);
}

static void anything_else_is_refused_by_name(void **state) {
    (void)state;
    static const char *const texts[] = {"",          "unix:",    "nowhere", "tcp:",        "tcp:6379",
                                        "tcp::6379", "tcp:h:",   "tcp:h:0", "tcp:h:65536", "tcp:h:123456",
                                        "tcp:h:80x", "tcp:h:-1", "UNIX:/x", "http://h:80"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct pil_address address = {.kind = PIL_ADDRESS_TCP, .host = "untouched"};
        struct pil_error error;
        char quoted[64];
        snprintf(quoted, sizeof quoted, "'%s' is not an address; write unix:/PATH", texts[i]);
        assert_int_equal(pil_address_parse(texts[i], &address, &error), PIL_STATUS_INVALID);
        assert_non_null(strstr(error.text, quoted));
        assert_string_equal(address.host, "untouched");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_both_kinds),
        cmocka_unit_test(the_longest_path_fits),
        cmocka_unit_test(anything_else_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
