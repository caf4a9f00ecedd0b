/* SPDX-License-Identifier: Apache-2.0
 * Answers that explain what is wrong with a request. */
#include "protocol/feast/internal.h"

void pil_feast_fail(struct pil_turn *turn, struct pil_feast_call *call, pil_feast_error error, struct pil_bytes first,
                    struct pil_bytes second) {
    struct pil_sink sink = pil_exchange_error_sink(turn);
    pil_feast_put_error(&sink, error, first, second);
    pil_exchange_keep(turn, call->request, pil_feast_error_http_status(error), &sink);
}

void pil_feast_reject(struct pil_turn *turn, struct pil_feast_call *call, const struct pil_feast_rejection *rejection) {
    struct pil_sink sink = pil_exchange_error_sink(turn);
    pil_feast_put_rejection(&sink, rejection);
    pil_exchange_keep(turn, call->request, rejection->http_status, &sink);
}
