/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/type_alias.h"
#include "base/nearest.h"

#include "base/bounds.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_BYTES = 65, DEPTH_MAX = 4, NONE = PIL_TYPE_NO_SCALAR };

struct alias {
    const char *text; /* lower case */
    uint8_t value;    /* what to write for a feature, an element of a list or a key */
    uint8_t element;  /* what to write for an element of a vector; NONE: vectors have nothing like it */
    uint8_t narrow;   /* the scalar of half the width, where systems disagree on the width; else NONE */
};

#define S(name) PIL_SCALAR_##name
static const struct alias aliases[] = {
    /* Scalars of ours that not every place takes. */
    {"float16", S(FLOAT32), S(FLOAT16), NONE},
    {"bfloat16", S(FLOAT32), S(BFLOAT16), NONE},
    {"float64", S(FLOAT64), S(FLOAT32), NONE},
    {"int8", S(INT32), S(INT8), NONE},
    /* Floats. */
    {"float", S(FLOAT64), S(FLOAT32), S(FLOAT32)},
    {"real", S(FLOAT32), S(FLOAT32), NONE},
    {"single", S(FLOAT32), S(FLOAT32), NONE},
    {"float4", S(FLOAT32), S(FLOAT32), NONE},
    {"f4", S(FLOAT32), S(FLOAT32), NONE},
    {"f32", S(FLOAT32), S(FLOAT32), NONE},
    {"fp32", S(FLOAT32), S(FLOAT32), NONE},
    {"double", S(FLOAT64), S(FLOAT32), NONE},
    {"float8", S(FLOAT64), S(FLOAT32), NONE},
    {"f8", S(FLOAT64), S(FLOAT32), NONE},
    {"f64", S(FLOAT64), S(FLOAT32), NONE},
    {"fp64", S(FLOAT64), S(FLOAT32), NONE},
    {"number", S(FLOAT64), S(FLOAT32), NONE},
    {"numeric", S(FLOAT64), S(FLOAT32), NONE},
    {"decimal", S(FLOAT64), S(FLOAT32), NONE},
    {"decimal128", S(FLOAT64), S(FLOAT32), NONE},
    {"half", S(FLOAT32), S(FLOAT16), NONE},
    {"halffloat", S(FLOAT32), S(FLOAT16), NONE},
    {"f16", S(FLOAT32), S(FLOAT16), NONE},
    {"fp16", S(FLOAT32), S(FLOAT16), NONE},
    {"bf16", S(FLOAT32), S(BFLOAT16), NONE},
    /* Integers. */
    {"int", S(INT64), NONE, S(INT32)},
    {"integer", S(INT64), NONE, S(INT32)},
    {"int4", S(INT32), NONE, NONE},
    {"i32", S(INT32), NONE, NONE},
    {"i4", S(INT32), NONE, NONE},
    {"short", S(INT32), NONE, NONE},
    {"smallint", S(INT32), NONE, NONE},
    {"int16", S(INT32), NONE, NONE},
    {"int2", S(INT32), NONE, NONE},
    {"i16", S(INT32), NONE, NONE},
    {"uint16", S(INT32), NONE, NONE},
    {"tinyint", S(INT32), S(INT8), NONE},
    {"byte", S(INT32), S(INT8), NONE},
    {"i8", S(INT32), S(INT8), NONE},
    {"uint8", S(INT32), NONE, NONE},
    {"long", S(INT64), NONE, NONE},
    {"bigint", S(INT64), NONE, NONE},
    {"i64", S(INT64), NONE, NONE},
    {"uint32", S(INT64), NONE, NONE},
    {"uint64", S(INT64), NONE, NONE},
    {"uint", S(INT64), NONE, NONE},
    {"hugeint", S(INT64), NONE, NONE},
    /* Texts. */
    {"str", S(STRING), NONE, NONE},
    {"text", S(STRING), NONE, NONE},
    {"utf8", S(STRING), NONE, NONE},
    {"large_string", S(STRING), NONE, NONE},
    {"large_utf8", S(STRING), NONE, NONE},
    {"string_view", S(STRING), NONE, NONE},
    {"varchar", S(STRING), NONE, NONE},
    {"nvarchar", S(STRING), NONE, NONE},
    {"char", S(STRING), NONE, NONE},
    {"character", S(STRING), NONE, NONE},
    {"uuid", S(STRING), NONE, NONE},
    {"category", S(STRING), NONE, NONE},
    {"categorical", S(STRING), NONE, NONE},
    {"enum", S(STRING), NONE, NONE},
    {"object", S(STRING), NONE, NONE},
    /* Bytes. */
    {"binary", S(BYTES), NONE, NONE},
    {"large_binary", S(BYTES), NONE, NONE},
    {"varbinary", S(BYTES), NONE, NONE},
    {"blob", S(BYTES), NONE, NONE},
    {"fixed_size_binary", S(BYTES), NONE, NONE},
    {"bytea", S(BYTES), NONE, NONE},
    {"bytearray", S(BYTES), NONE, NONE},
    /* Truth values. */
    {"boolean", S(BOOL), NONE, NONE},
    {"logical", S(BOOL), NONE, NONE},
    {"bit", S(BOOL), NONE, NONE},
    /* Times. */
    {"timestamp", S(UNIX_TIMESTAMP), NONE, NONE},
    {"timestamptz", S(UNIX_TIMESTAMP), NONE, NONE},
    {"timestamp_ntz", S(UNIX_TIMESTAMP), NONE, NONE},
    {"datetime", S(UNIX_TIMESTAMP), NONE, NONE},
    {"datetime64", S(UNIX_TIMESTAMP), NONE, NONE},
    {"unixtimestamp", S(UNIX_TIMESTAMP), NONE, NONE},
    {"date", S(UNIX_TIMESTAMP), NONE, NONE},
    {"date32", S(UNIX_TIMESTAMP), NONE, NONE},
};
#undef S
enum { ALIAS_COUNT = sizeof aliases / sizeof aliases[0] };

/* ---- Scalars */

/* The text up to what parameters, units and further words begin with: varchar(20), datetime64[ns], int64 not null. */
static void cut_parameters(char *name) {
    name[strcspn(name, "([ ")] = '\0';
}

static bool has_use(uint8_t scalar, uint32_t use) {
    return scalar != NONE && (pil_scalar_uses((pil_scalar)scalar) & use) != 0;
}

static bool find_alias(const char *name, uint32_t use, struct pil_type_meaning *ret_meaning) {
    for (pil_scalar i = 0; i < PIL_SCALAR_COUNT; i++) {
        if (strcmp(pil_scalar_text(i), name) == 0 && has_use((uint8_t)i, use)) {
            *ret_meaning = (struct pil_type_meaning){.type.scalar = i, .narrow = NONE};
            return true;
        }
    }
    for (size_t i = 0; i < ALIAS_COUNT; i++) {
        const struct alias *alias = &aliases[i];
        uint8_t scalar = use == PIL_USE_VECTOR ? alias->element : alias->value;
        if (strcmp(alias->text, name) == 0 && has_use(scalar, use)) {
            uint8_t narrow = use == PIL_USE_VECTOR ? (uint8_t)NONE : alias->narrow;
            *ret_meaning = (struct pil_type_meaning){.type.scalar = (pil_scalar)scalar, .narrow = narrow};
            return true;
        }
    }
    return false;
}

static bool find_scalar(char *name, uint32_t use, struct pil_type_meaning *ret_meaning) {
    cut_parameters(name);
    if (find_alias(name, use, ret_meaning)) {
        return true;
    }
    const char *names[PIL_SCALAR_COUNT + ALIAS_COUNT];
    uint32_t count = 0;
    for (pil_scalar i = 0; i < PIL_SCALAR_COUNT; i++) {
        names[count++] = pil_scalar_text(i);
    }
    for (size_t i = 0; i < ALIAS_COUNT; i++) {
        names[count++] = aliases[i].text;
    }
    const char *nearest = pil_nearest(name, names, count);
    if (nearest == NULL || !find_alias(nearest, use, ret_meaning)) {
        return false;
    }
    ret_meaning->is_typo = true;
    return true;
}

/* ---- Shapes */

/* How other systems wrap the type of an element. */
struct wrapper {
    const char *name;
    bool is_list; /* else the type is that of its element */
};
static const struct wrapper wrappers[] = {
    {"list", true},      {"large_list", true},      {"array", true},  {"sequence", true},
    {"set", true},       {"fixed_size_list", true}, {"vector", true}, {"nullable", false},
    {"optional", false}, {"lowcardinality", false},
};
enum { WRAPPER_COUNT = sizeof wrappers / sizeof wrappers[0] };

/* Trims blanks in place, and what stands before the last dot of a scalar ("valuetype.", "pa.", "np."). */
static char *trimmed(char *text) {
    text += strspn(text, " ");
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == ' ') {
        text[--len] = '\0';
    }
    for (size_t begin = strcspn(text, "([<."); text[begin] == '.'; begin = strcspn(text, "([<.")) {
        text += begin + 1;
    }
    return text;
}

/* A dimension of decimal digits and nothing else; 0 if it is none or too large. */
static uint32_t parse_dimension(const char *text) {
    char *end;
    unsigned long value = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    return value > 0 && *(end + strspn(end, " ")) == '\0' && value <= PIL_VECTOR_DIMENSION_MAX ? (uint32_t)value : 0;
}

static bool find_sequence(char *element, uint32_t dimension, struct pil_type_meaning *ret_meaning) {
    element = trimmed(element);
    const char *colon = strchr(element, ':'); /* Arrow prints list<item: double> */
    element = trimmed(colon != NULL ? element + (colon - element) + 1 : element);
    struct pil_type_meaning found;
    if (!find_scalar(element, dimension > 0 ? PIL_USE_VECTOR : PIL_USE_VALUE, &found)) {
        return false;
    }
    found.type.shape = dimension > 0 ? PIL_SHAPE_VECTOR : PIL_SHAPE_LIST;
    found.type.dimension = dimension;
    *ret_meaning = found;
    return true;
}

/* float[], double[3], fixed_size_list<item: float>[4], int64_list. */
static bool find_suffix(char *name, struct pil_type_meaning *ret_meaning) {
    size_t len = strlen(name);
    static const char *const endings[] = {"_list", "_set"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t end = strlen(endings[i]);
        if (len > end && strcmp(name + len - end, endings[i]) == 0) {
            name[len - end] = '\0';
            return find_sequence(name, 0, ret_meaning);
        }
    }
    char *bracket = strrchr(name, '[');
    if (bracket == NULL || bracket == name || name[len - 1] != ']') {
        return false;
    }
    name[len - 1] = '\0';
    uint32_t dimension = parse_dimension(bracket + 1);
    if (dimension == 0 && bracket[1] != '\0') {
        name[len - 1] = ']';
        return false; /* datetime64[ns] */
    }
    *bracket = '\0';
    char *open = strchr(name, '<');
    if (open != NULL && bracket[-1] == '>') {
        bracket[-1] = '\0';
        name = open + 1;
    }
    return find_sequence(name, dimension, ret_meaning);
}

static bool find_meaning(char *name, uint32_t use, int depth, struct pil_type_meaning *ret_meaning);

/* list<double>, Array(Float32), vector<float, 4>, vector(768), Nullable(Int64). */
static bool find_wrapped(char *name, uint32_t use, int depth, struct pil_type_meaning *ret_meaning) {
    size_t len = strlen(name), head = strcspn(name, "<([");
    if (head == len || strchr(">)]", name[len - 1]) == NULL) {
        return false;
    }
    const char *names[WRAPPER_COUNT];
    char word[NAME_BYTES];
    snprintf(word, sizeof word, "%.*s", (int)head, name);
    for (size_t i = 0; i < WRAPPER_COUNT; i++) {
        names[i] = wrappers[i].name;
    }
    const char *nearest = pil_nearest(word, names, WRAPPER_COUNT);
    if (nearest == NULL) {
        return false;
    }
    const struct wrapper *wrapper = wrappers;
    while (wrapper->name != nearest) {
        wrapper++;
    }
    name[len - 1] = '\0';
    char *inside = name + head + 1, *comma = strrchr(inside, ',');
    if (!wrapper->is_list) {
        return depth < DEPTH_MAX && find_meaning(inside, use, depth + 1, ret_meaning);
    }
    uint32_t dimension = comma != NULL ? parse_dimension(comma + 1 + strspn(comma + 1, " ")) : 0;
    char float32[] = "float32";
    bool good;
    if (dimension > 0) {
        *comma = '\0';
        good = find_sequence(inside, dimension, ret_meaning);
    } else if (parse_dimension(inside) > 0) {
        good = find_sequence(float32, parse_dimension(inside), ret_meaning); /* of pgvector */
    } else {
        good = comma == NULL && find_sequence(inside, 0, ret_meaning);
    }
    ret_meaning->is_typo = good && (ret_meaning->is_typo || strcmp(word, nearest) != 0);
    return good;
}

static bool find_meaning(char *name, uint32_t use, int depth, struct pil_type_meaning *ret_meaning) {
    char copy[NAME_BYTES];
    name = trimmed(name);
    if (name[0] == '\0') {
        return false;
    }
    if (use != PIL_USE_KEY) {
        snprintf(copy, sizeof copy, "%s", name);
        if (find_suffix(copy, ret_meaning)) {
            return true;
        }
    }
    snprintf(copy, sizeof copy, "%s", name);
    if (find_wrapped(copy, use, depth, ret_meaning)) {
        return true;
    }
    return find_scalar(name, use, ret_meaning);
}

bool pil_type_meant(struct pil_bytes name, uint32_t use, struct pil_type_meaning *ret_meaning) {
    char lower[NAME_BYTES];
    struct pil_type_meaning meaning;
    if (name.len >= sizeof lower) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        lower[i] = (char)(name.data[i] >= 'A' && name.data[i] <= 'Z' ? name.data[i] | 0x20 : name.data[i]);
    }
    lower[name.len] = '\0';
    if (!find_meaning(lower, use, 0, &meaning) || (use == PIL_USE_KEY && meaning.type.shape != PIL_SHAPE_SCALAR)) {
        return false;
    }
    *ret_meaning = meaning;
    return true;
}
