/* SPDX-License-Identifier: Apache-2.0
 * Results and error texts for the caller of libpillion. For this module only. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "pillion/client.h"

pillion_result pil_result_from_status(pil_status status);
/* Formats into *error, which may be NULL; returns `result`. */
pillion_result pil_result_fail(struct pillion_error *error, pillion_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));
/* The result for a status other than OK, with the sentence of *why. */
pillion_result pil_result_fail_status(struct pillion_error *error, pil_status status, const struct pil_error *why)
    __attribute__((cold));
/* Copies the sentence of a server for the caller, cut to `bytes` with its NUL: control characters become '?', and what
 * is empty says the status. */
void pil_result_copy_sentence(struct pil_bytes sentence, pil_status status, char *ret_text, size_t bytes);
