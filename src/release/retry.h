/* SPDX-License-Identifier: Apache-2.0
 * Compare-and-swap on a document of a store: read it, change it, put it on condition that the store still has the
 * version that was read; if others were first, start again. Used only in this module. */
#pragma once

#include "base/status.h"

#include <stdint.h>

enum { PIL_RETRY_ATTEMPTS_MAX = 16 };

/* One attempt, from the read to the put. Others were first: CONFLICT, or EXISTS if the document was to be created. */
typedef pil_status (*pil_retry_fn)(void *context, struct pil_error *ret_error);

/* Returns the last attempt's status; CONFLICT: others were first in every attempt. */
static inline pil_status pil_retry(pil_retry_fn attempt, void *context, struct pil_error *ret_error) {
    pil_status status = PIL_STATUS_CONFLICT;
    for (uint32_t i = 0; i < PIL_RETRY_ATTEMPTS_MAX && status == PIL_STATUS_CONFLICT; i++) {
        status = attempt(context, ret_error);
        status = status == PIL_STATUS_EXISTS ? PIL_STATUS_CONFLICT : status;
    }
    return status;
}
