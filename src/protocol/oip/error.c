/* SPDX-License-Identifier: Apache-2.0
 * Errors of the Open Inference Protocol. */
#include "protocol/oip/internal.h"

#include <stdarg.h>
#include <stdio.h>

void pil_oip_fail(struct pil_turn *turn, struct pil_oip_call *call, int status, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct pil_sink sink = pil_exchange_error_sink(turn);
    pil_oip_put_error(&sink, pil_bytes_from_text(text));
    pil_exchange_keep(turn, call->request, status, &sink);
    call->is_routed = false;
}
