/* SPDX-License-Identifier: Apache-2.0
 * Goal: type names are read and written one way, and each type takes in a row what schemas/snapshot.md says.
 * Method: tables of names, good and bad. */
#include "schema/type.h"
#include "base/bounds.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static struct pil_type parsed(const char *text) {
    struct pil_type type = {0};
    struct pil_error error;
    assert_int_equal(pil_type_parse(pil_bytes_from_text(text), &type, &error), PIL_STATUS_OK);
    return type;
}

static void assert_canonical(const char *text, const char *canonical) {
    char written[PIL_TYPE_TEXT_BYTES];
    int len = pil_type_format(parsed(text), written);
    assert_string_equal(written, canonical);
    assert_int_equal(len, strlen(canonical));
}

static void writes_what_it_read(void **state) {
    (void)state;
    static const char *const names[] = {
        "bool",
        "int32",
        "int64",
        "float32",
        "float64",
        "string",
        "bytes",
        "unix_timestamp",
        "list<bool>",
        "list<int32>",
        "list<int64>",
        "list<float32>",
        "list<float64>",
        "list<string>",
        "list<bytes>",
        "list<unix_timestamp>",
        "vector<float32,32>",
        "vector<float16,1>",
        "vector<bfloat16,16384>",
        "vector<int8,7>",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_canonical(names[i], names[i]);
        assert_true(pil_type_equal(parsed(names[i]), parsed(names[i])));
        for (size_t k = 0; k < i; k++) {
            assert_false(pil_type_equal(parsed(names[i]), parsed(names[k])));
        }
    }
}

static void spaces_do_not_matter(void **state) {
    (void)state;
    assert_canonical(" vector< float32 , 32 > ", "vector<float32,32>");
    assert_canonical("list< string >", "list<string>");
    assert_canonical("vector<int8,007>", "vector<int8,7>");
}

static void refuses_what_is_no_type(void **state) {
    (void)state;
    static const char *const names[] = {
        "",
        " ",
        "int",
        "Int32",
        "float16",
        "bfloat16",
        "int8",
        "list",
        "list<>",
        "list<int8>",
        "list<list<int32>>",
        "list<int32",
        "vector",
        "vector<>",
        "vector<float32>",
        "vector<float32,>",
        "vector<float32,0>",
        "vector<float32,16385>",
        "vector<float32,-1>",
        "vector<float32,99999999999999999999>",
        "vector<float32,1,2>",
        "vector<float64,4>",
        "vector<,4>",
        "vector<float32,4>x",
        "int32 int32",
        "vector<string,2>",
        "vector<float32,4",
        "vector",
        "list<",
        "vector<",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct pil_type type = {.dimension = 77};
        struct pil_error error = {{0}};
        assert_int_equal(pil_type_parse(pil_bytes_from_text(names[i]), &type, &error), PIL_STATUS_INVALID);
        assert_int_equal(type.dimension, 77);
        assert_non_null(strstr(error.text, "there is no such type; "));
    }
    assert_int_equal(pil_type_parse(pil_bytes_from(NULL, 0), &(struct pil_type){0}, NULL), PIL_STATUS_INVALID);
}

static void takes_its_bytes_in_a_row(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t bytes, alignment;
        bool reference;
    } table[] = {
        {"bool", 1, 1, false},
        {"int32", 4, 4, false},
        {"int64", 8, 8, false},
        {"float32", 4, 4, false},
        {"float64", 8, 8, false},
        {"string", 16, 8, true},
        {"bytes", 16, 8, true},
        {"unix_timestamp", 8, 8, false},
        {"list<bool>", 16, 8, true},
        {"list<string>", 16, 8, true},
        {"vector<float32,3>", 12, 4, false},
        {"vector<float16,3>", 6, 2, false},
        {"vector<bfloat16,16384>", 32768, 2, false},
        {"vector<int8,5>", 5, 1, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct pil_type type = parsed(table[i].name);
        assert_int_equal(pil_type_row_bytes(type), table[i].bytes);
        assert_int_equal(pil_type_alignment(type), table[i].alignment);
        assert_int_equal(pil_type_is_reference(type), table[i].reference);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_it_read),
        cmocka_unit_test(spaces_do_not_matter),
        cmocka_unit_test(refuses_what_is_no_type),
        cmocka_unit_test(takes_its_bytes_in_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
