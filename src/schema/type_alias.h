/* SPDX-License-Identifier: Apache-2.0
 * What a type name of another system (Arrow, pandas, SQL, Spark, Feast, C, Java) means, or one with a typo. Such names
 * are refused, not taken: they mean other widths in other systems. Messages name the type to write. */
#pragma once

#include "schema/type.h"

enum { PIL_TYPE_NO_SCALAR = PIL_SCALAR_COUNT };

struct pil_type_meaning {
    struct pil_type type;
    uint8_t narrow; /* the scalar of half the width, where systems disagree on the width; else PIL_TYPE_NO_SCALAR */
    bool is_typo;
};

/* Finds what a name that is no type was meant to be, for `use`: PIL_USE_VALUE (any shape) or PIL_USE_KEY (a scalar).
 * Returns false when it resembles nothing. Thread: any. Cost: microseconds; names of more than 64 bytes are not looked
 * at. */
bool pil_type_meant(struct pil_bytes name, uint32_t use, struct pil_type_meaning *ret_meaning);
