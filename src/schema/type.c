/* SPDX-License-Identifier: Apache-2.0
 * The names of types, and the bytes that their values take in a row. Values are checked in default.c. */
#include "schema/type.h"
#include "base/bounds.h"
#include "base/panic.h"
#include "schema/type_alias.h"

#include <stdio.h>

static struct pil_bytes trim(struct pil_bytes text) {
    while (text.len > 0 && text.data[0] == ' ') {
        text = pil_bytes_from(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && text.data[text.len - 1] == ' ') {
        text.len--;
    }
    return text;
}

/* Finds a scalar by its name; returns whether there is one with this use. */
static bool parse_scalar(struct pil_bytes text, uint32_t use, pil_scalar *ret_scalar) {
    for (int i = 0; i < PIL_SCALAR_COUNT; i++) {
        if (pil_bytes_equal_text(text, pil_scalar_text((pil_scalar)i))) {
            *ret_scalar = (pil_scalar)i;
            return (pil_scalar_uses((pil_scalar)i) & use) != 0;
        }
    }
    return false;
}

/* Removes "name<" and ">"; returns false if the text does not have that form. */
static bool unwrap(struct pil_bytes text, const char *name, struct pil_bytes *ret_inside) {
    size_t name_len = strlen(name);
    if (text.len < name_len + 2 || memcmp(text.data, name, name_len) != 0 || text.data[name_len] != '<' ||
        text.data[text.len - 1] != '>') {
        return false;
    }
    *ret_inside = pil_bytes_from(text.data + name_len + 1, text.len - name_len - 2);
    return true;
}

static bool parse_dimension(struct pil_bytes text, uint32_t *ret_dimension) {
    uint32_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(text.data[i] - '0');
        if (value > PIL_VECTOR_DIMENSION_MAX) {
            return false;
        }
    }
    *ret_dimension = value;
    return value > 0;
}

static bool parse_vector(struct pil_bytes inside, struct pil_type *ret_type) {
    const uint8_t *comma = inside.len > 0 ? memchr(inside.data, ',', inside.len) : NULL;
    if (comma == NULL) {
        return false;
    }
    size_t element_len = (size_t)(comma - inside.data);
    struct pil_type type = {.shape = PIL_SHAPE_VECTOR};
    if (!parse_scalar(trim(pil_bytes_from(inside.data, element_len)), PIL_USE_VECTOR, &type.scalar) ||
        !parse_dimension(trim(pil_bytes_from(comma + 1, inside.len - element_len - 1)), &type.dimension)) {
        return false;
    }
    *ret_type = type;
    return true;
}

void pil_type_advise(struct pil_bytes name, uint32_t use, char ret_advice[PIL_TYPE_ADVICE_BYTES]) {
    struct pil_type_meaning meaning;
    char type[PIL_TYPE_TEXT_BYTES], narrow[PIL_TYPE_TEXT_BYTES];
    ret_advice[0] = '\0';
    if (!pil_type_meant(name, use, &meaning)) {
        return;
    }
    pil_type_format(meaning.type, type);
    if (meaning.is_typo) {
        snprintf(ret_advice, PIL_TYPE_ADVICE_BYTES, "did you mean %s?", type);
    } else if (meaning.narrow != PIL_TYPE_NO_SCALAR) {
        meaning.type.scalar = (pil_scalar)meaning.narrow;
        pil_type_format(meaning.type, narrow);
        snprintf(ret_advice, PIL_TYPE_ADVICE_BYTES, "write %s, or %s if its values have 32 bits", type, narrow);
    } else {
        snprintf(ret_advice, PIL_TYPE_ADVICE_BYTES, "write %s", type);
    }
}

static pil_status no_such_type(struct pil_bytes text, struct pil_error *error) {
    char advice[PIL_TYPE_ADVICE_BYTES], values[PIL_SCALAR_NAMES_BYTES], elements[PIL_SCALAR_NAMES_BYTES];
    if (error == NULL) {
        return PIL_STATUS_INVALID;
    }
    pil_type_advise(text, PIL_USE_VALUE, advice);
    if (advice[0] != '\0') {
        return pil_fail(error, PIL_STATUS_INVALID, "there is no such type; %s", advice);
    }
    pil_scalar_names(PIL_USE_VALUE, ", ", values);
    pil_scalar_names(PIL_USE_VECTOR, ", ", elements);
    return pil_fail(error, PIL_STATUS_INVALID,
                    "there is no such type; possible are %s, list<one of these> and vector<E,N> with E one of %s "
                    "and N from 1 to %d",
                    values, elements, PIL_VECTOR_DIMENSION_MAX);
}

pil_status pil_type_parse(struct pil_bytes text, struct pil_type *ret_type, struct pil_error *ret_error) {
    struct pil_bytes trimmed = trim(text), inside;
    struct pil_type type = {.shape = PIL_SHAPE_SCALAR};
    bool good;
    if (unwrap(trimmed, "vector", &inside)) {
        good = parse_vector(inside, &type);
    } else if (unwrap(trimmed, "list", &inside)) {
        type.shape = PIL_SHAPE_LIST;
        good = parse_scalar(trim(inside), PIL_USE_VALUE, &type.scalar);
    } else {
        good = parse_scalar(trimmed, PIL_USE_VALUE, &type.scalar);
    }
    if (!good) {
        return no_such_type(trimmed, ret_error);
    }
    *ret_type = type;
    return PIL_STATUS_OK;
}

int pil_type_format(struct pil_type type, char ret_text[PIL_TYPE_TEXT_BYTES]) {
    const char *scalar = pil_scalar_text(type.scalar);
    switch (type.shape) {
    case PIL_SHAPE_SCALAR: return snprintf(ret_text, PIL_TYPE_TEXT_BYTES, "%s", scalar);
    case PIL_SHAPE_LIST: return snprintf(ret_text, PIL_TYPE_TEXT_BYTES, "list<%s>", scalar);
    case PIL_SHAPE_VECTOR: return snprintf(ret_text, PIL_TYPE_TEXT_BYTES, "vector<%s,%u>", scalar, type.dimension);
    }
    PIL_UNREACHABLE("shape");
}

bool pil_type_equal(struct pil_type a, struct pil_type b) {
    return a.scalar == b.scalar && a.shape == b.shape && a.dimension == b.dimension;
}

uint32_t pil_type_row_bytes(struct pil_type type) {
    switch (type.shape) {
    case PIL_SHAPE_SCALAR: return pil_scalar_bytes(type.scalar);
    case PIL_SHAPE_LIST: return PIL_REF_BYTES;
    case PIL_SHAPE_VECTOR: return pil_scalar_bytes(type.scalar) * type.dimension;
    }
    PIL_UNREACHABLE("shape");
}

uint32_t pil_type_alignment(struct pil_type type) {
    return pil_type_is_reference(type) ? 8 : pil_scalar_bytes(type.scalar);
}

bool pil_type_is_reference(struct pil_type type) {
    return type.shape == PIL_SHAPE_LIST || (type.shape == PIL_SHAPE_SCALAR && pil_scalar_is_text(type.scalar));
}
