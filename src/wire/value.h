/* SPDX-License-Identifier: Apache-2.0
 * The text of one feature value, as each protocol shows it. `raw` is the field's own bytes (fixed width,
 * pil_type_row_bytes) or, for references, the payload: the characters of a string; the packed little-endian elements of
 * a list (a bool is one byte); for list<string> and list<bytes> a u32 count, u32 end[count] (offsets from behind the
 * table), then the bytes. Payloads are checked, not trusted: a list ends early at an element that does not fit the
 * type. The caller handles null. */
#pragma once

#include "base/sink.h"
#include "schema/type.h"

/* RESP: bool 1 or 0; integers decimal; floats shortest ("0.1", "1.0", "nan", "inf", "-inf"), float32 with float32
 * digits; string and bytes as they are; unix_timestamp in seconds, ".ffffff" without trailing zeros when not whole;
 * lists and vectors as a JSON array of the same texts (true/false for bool, base64 for bytes, "NaN", "Infinity",
 * "-Infinity" quoted). */
void pil_value_put_resp(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw);
/* The same inside a bulk string: "$3\r\n1.0\r\n". A list or vector of more than 4 KiB of text is rendered twice. */
void pil_value_put_resp_bulk(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw);

/* JSON as Feast's server writes it: floats always with ".0" or an exponent, float32 widened to double first; NaN and
 * infinities as "NaN", "Infinity", "-Infinity", alone or in a list; bytes as base64; unix_timestamp as whole seconds
 * (floor). Never null: a value that is there is not nothing. */
void pil_value_put_json(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw);
/* Whether Feast's SDK reads that JSON back as the same value. It infers types from elements, so that it takes a NaN or
 * an infinity for a string, and an empty list, or a list with both numbers and strings, fails its whole reply. */
bool pil_value_is_readable_by_feast(struct pil_type type, struct pil_bytes raw);

/* A JSON string with its quotes: escapes as Python's json.dumps(ensure_ascii=False); a byte that is not part of valid
 * UTF-8 becomes U+FFFD. */
void pil_value_put_json_string(struct pil_sink *sink, struct pil_bytes text);
