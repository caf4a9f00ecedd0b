/* SPDX-License-Identifier: Apache-2.0
 * Goal: who writes a type as another system names it, or with a typo, is told the type to write; every advice can be
 * followed. Method: tables of names with the advice; the reader of types is asked for each. */
#include "schema/type.h"
#include "base/bounds.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

struct row {
    const char *name, *advice;
};

#define INT64 "write int64, or int32 if its values have 32 bits"
#define FLOAT "write float64, or float32 if its values have 32 bits"
static const struct row values[] = {
    /* SQL, Arrow, Python, numpy, pandas, Spark, C. */
    {"double", "write float64"},
    {"DOUBLE PRECISION", "write float64"},
    {"float", FLOAT},
    {"FLOAT", FLOAT},
    {"float8", "write float64"},
    {"float4", "write float32"},
    {"real", "write float32"},
    {"single", "write float32"},
    {"f4", "write float32"},
    {"f32", "write float32"},
    {"fp32", "write float32"},
    {"f8", "write float64"},
    {"f64", "write float64"},
    {"fp64", "write float64"},
    {"number", "write float64"},
    {"numeric(10, 2)", "write float64"},
    {"DECIMAL(10,2)", "write float64"},
    {"decimal128(10, 2)", "write float64"},
    {"half", "write float32"},
    {"halffloat", "write float32"},
    {"f16", "write float32"},
    {"fp16", "write float32"},
    {"bf16", "write float32"},
    {"float16", "write float32"},
    {"bfloat16", "write float32"},
    {"int", INT64},
    {"INTEGER", INT64},
    {"int(11)", INT64},
    {"int4", "write int32"},
    {"i32", "write int32"},
    {"i4", "write int32"},
    {"short", "write int32"},
    {"smallint", "write int32"},
    {"int16", "write int32"},
    {"int2", "write int32"},
    {"i16", "write int32"},
    {"uint16", "write int32"},
    {"tinyint", "write int32"},
    {"byte", "write int32"},
    {"i8", "write int32"},
    {"int8", "write int32"},
    {"uint8", "write int32"},
    {"long", "write int64"},
    {"bigint", "write int64"},
    {"BIGINT NOT NULL", "write int64"},
    {"i64", "write int64"},
    {"Int64", "write int64"},
    {"uint32", "write int64"},
    {"uint64", "write int64"},
    {"uint", "write int64"},
    {"hugeint", "write int64"},
    {"str", "write string"},
    {"text", "write string"},
    {"utf8", "write string"},
    {"large_string", "write string"},
    {"large_utf8", "write string"},
    {"string_view", "write string"},
    {"varchar", "write string"},
    {"VARCHAR(20)", "write string"},
    {"character varying(20)", "write string"},
    {"nvarchar(max)", "write string"},
    {"char(3)", "write string"},
    {"uuid", "write string"},
    {"category", "write string"},
    {"Categorical", "write string"},
    {"enum", "write string"},
    {"object", "write string"},
    {"binary", "write bytes"},
    {"large_binary", "write bytes"},
    {"fixed_size_binary[16]", "write bytes"},
    {"varbinary(8)", "write bytes"},
    {"BLOB", "write bytes"},
    {"bytea", "write bytes"},
    {"bytearray", "write bytes"},
    {"boolean", "write bool"},
    {"logical", "write bool"},
    {"bit", "write bool"},
    {"timestamp", "write unix_timestamp"},
    {"timestamp[us, tz=UTC]", "write unix_timestamp"},
    {"timestamp with time zone", "write unix_timestamp"},
    {"timestamptz", "write unix_timestamp"},
    {"timestamp_ntz", "write unix_timestamp"},
    {"datetime", "write unix_timestamp"},
    {"datetime64[ns, UTC]", "write unix_timestamp"},
    {"date", "write unix_timestamp"},
    {"date32[day]", "write unix_timestamp"},
    {"np.float32", "write float32"},
    {"pa.int64()", "write int64"},
    {"Nullable(Int64)", "write int64"},
    {"Optional[str]", "write string"},
    {"LowCardinality(String)", "write string"},
    /* Feast. */
    {"ValueType.INT64", "write int64"},
    {"ValueType.DOUBLE_LIST", "write list<float64>"},
    {"Int32", "write int32"},
    {"Float32", "write float32"},
    {"Float64", "write float64"},
    {"String", "write string"},
    {"Bytes", "write bytes"},
    {"Bool", "write bool"},
    {"UnixTimestamp", "write unix_timestamp"},
    {"UNIX_TIMESTAMP", "write unix_timestamp"},
    {"BYTES_LIST", "write list<bytes>"},
    {"STRING_LIST", "write list<string>"},
    {"INT32_LIST", "write list<int32>"},
    {"INT64_LIST", "write list<int64>"},
    {"DOUBLE_LIST", "write list<float64>"},
    {"BOOL_LIST", "write list<bool>"},
    {"UNIX_TIMESTAMP_LIST", "write list<unix_timestamp>"},
    {"INT64_SET", "write list<int64>"},
    {"Array(Float32)", "write list<float32>"},
    {"Set(String)", "write list<string>"},
    /* Sequences of others. */
    {"list<double>", "write list<float64>"},
    {"list<item: double>", "write list<float64>"},
    {"list<item: int64 not null>", "write list<int64>"},
    {"large_list<item: string>", "write list<string>"},
    {"list[str]", "write list<string>"},
    {"array(float)", "write list<float64>, or list<float32> if its values have 32 bits"},
    {"array<bigint>", "write list<int64>"},
    {"sequence<int32>", "write list<int32>"},
    {"double[]", "write list<float64>"},
    {"varchar(20)[]", "write list<string>"},
    {"double[3]", "write vector<float32,3>"},
    {"fixed_size_list<item: float>[4]", "write vector<float32,4>"},
    {"vector<double,3>", "write vector<float32,3>"},
    {"vector<float64, 3>", "write vector<float32,3>"},
    {"vector<half,3>", "write vector<float16,3>"},
    {"Vector<tinyint,3>", "write vector<int8,3>"},
    {"vector(768)", "write vector<float32,768>"},
    /* Typos. */
    {"flaot32", "did you mean float32?"},
    {"flot", "did you mean float64?"},
    {"strng", "did you mean string?"},
    {"itn64", "did you mean int64?"},
    {"unix_timestmap", "did you mean unix_timestamp?"},
    {"unix-timestamp", "did you mean unix_timestamp?"},
    {"doubel", "did you mean float64?"},
    {"list<flaot32>", "did you mean list<float32>?"},
    {"lsit<float32>", "did you mean list<float32>?"},
    {"vectr<float32,8>", "did you mean vector<float32,8>?"},
    {"vector<flaot32,8>", "did you mean vector<float32,8>?"},
};

static const struct row keys[] = {
    {"str", "write string"},
    {"int", INT64},
    {"varchar(20)", "write string"},
    {"ValueType.INT64", "write int64"},
    {"timestamp", "write unix_timestamp"},
    {"sting", "did you mean string?"},
    {"float", ""},
    {"float32", ""},
    {"double", ""},
    {"bool", ""},
    {"INT64_LIST", ""},
    {"list<int64>", ""},
    {"vector<float32,4>", ""},
};

static const char *const nothing[] = {
    "",
    " ",
    "money",
    "geometry",
    "map<string,int64>",
    "struct<a: int64>",
    "list",
    "list<",
    "list<>",
    "vector<>",
    "vector<string,3>",
    "vector<int64,3>",
    "vector<float32,0>",
    "[]",
    "[3]",
    "...",
    "a.b.c.",
    "<>",
    "())",
    "list<list<int64>>",
    "vector<float32,16385>",
    "Nullable(Nullable(Nullable(Nullable(Nullable(Nullable(money))))))",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
};

/* The type that an advice names, as text. */
static struct pil_bytes advised(const char *advice) {
    const char *begin = strstr(advice, "write ") != NULL ? advice + 6 : advice + strlen("did you mean ");
    size_t len = strcspn(begin, "?");
    const char *comma = strstr(begin, ", or ");
    return pil_bytes_from(begin, comma != NULL ? (size_t)(comma - begin) : len);
}

static void assert_row(const struct row *row, uint32_t use) {
    char advice[PIL_TYPE_ADVICE_BYTES];
    pil_type_advise(pil_bytes_from_text(row->name), use, advice);
    if (strcmp(advice, row->advice) != 0) {
        fail_msg("%s: %s; expected %s", row->name, advice, row->advice);
    }
}

static void names_the_type_to_write(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct pil_type type;
        struct pil_error error;
        assert_row(&values[i], PIL_USE_VALUE);
        assert_int_equal(pil_type_parse(advised(values[i].advice), &type, &error), PIL_STATUS_OK);
        assert_int_equal(pil_type_parse(pil_bytes_from_text(values[i].name), &type, &error), PIL_STATUS_INVALID);
        assert_non_null(strstr(error.text, values[i].advice));
    }
}

static void keys_get_types_of_keys(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct pil_type type;
        assert_row(&keys[i], PIL_USE_KEY);
        if (keys[i].advice[0] != '\0') {
            assert_int_equal(pil_type_parse(advised(keys[i].advice), &type, NULL), PIL_STATUS_OK);
            assert_true(type.shape == PIL_SHAPE_SCALAR && (pil_scalar_uses(type.scalar) & PIL_USE_KEY) != 0);
        }
    }
}

static void advises_nothing_for_what_resembles_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        struct pil_type type;
        struct pil_error error;
        assert_row(&(struct row){nothing[i], ""}, PIL_USE_VALUE);
        assert_int_equal(pil_type_parse(pil_bytes_from_text(nothing[i]), &type, &error), PIL_STATUS_INVALID);
        assert_non_null(strstr(error.text, "possible are bool, int32"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_the_type_to_write),
        cmocka_unit_test(keys_get_types_of_keys),
        cmocka_unit_test(advises_nothing_for_what_resembles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
