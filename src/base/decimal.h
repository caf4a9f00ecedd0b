/* SPDX-License-Identifier: Apache-2.0
 * Floating-point numbers as text: the shortest decimal digits that read back as the same number, in the form of
 * Python's repr(float): "1.0", "0.023668857291340828", "1e+16", "1e-05", "-0.0", "nan", "inf", "-inf". Source:
 * Raffaello Giulietti, "The Schubfach way to render doubles" (2020). */
#pragma once

enum { PIL_DECIMAL_BYTES = 40 };

/* Both return the length of the text, at most 24; they add no NUL and may overwrite the bytes after the text. No
 * locale, no allocation; about 30 ns. */
int pil_decimal_f64(double value, char ret_text[PIL_DECIMAL_BYTES]);
/* The shortest digits that identify the float ("0.1", not "0.10000000149011612"). */
int pil_decimal_f32(float value, char ret_text[PIL_DECIMAL_BYTES]);
